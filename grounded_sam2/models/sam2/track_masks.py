"""Features of one frame, and the masks of tracked objects on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.sam2.decoder import DecoderFeatures
from grounded_sam2.models.sam2.masks import to_rles
from grounded_sam2.models.sam2.memory import NO_OBJECT_LOGIT

__all__ = ["Sam2FrameFeatures", "Sam2FrameMasks"]

_MIN_NESTED_SHARE = 0.7
_MAX_COVERING_SHARE = 0.6
"""A mask of which another covers at least the first share, while it covers at most the second share
of the other, is nested in a mask that has grown over it."""
_MIN_KEPT_SHARE = 0.3
"""Share of its mask that an object must keep when overlaps are removed; with less it is absent, as
in SAM 2's own predictors."""


@dataclass(frozen=True, slots=True, eq=False)
class Sam2FrameFeatures:
    """Output of the vision encoder for one frame."""

    cells: Tensor
    """``(1, L, C)``: raw coarse features."""
    first: DecoderFeatures
    """Inputs of the mask decoder, not conditioned on memory."""
    size_hw: tuple[int, int]
    """Height and width of the image."""


@dataclass(frozen=True, slots=True, eq=False)
class Sam2FrameMasks:
    """Masks of ``n`` objects on one frame."""

    ids: tuple[int, ...]
    """The objects' ids."""
    quality: NDArray[np.float32]
    """``(n,)``: predicted IoU of the mask."""
    score: NDArray[np.float32]
    """``(n,)``: object score, a logit; the object is present where it is above 0."""
    logits: Tensor
    """``(n, s, s)`` ``float32``: mask logits, `NO_OBJECT_LOGIT` where the object is absent."""
    pointers: Tensor
    """``(n, C)``: object pointers."""
    size_hw: tuple[int, int]
    """Height and width of the frame."""
    threshold: float
    """Logit above which a pixel belongs to the mask."""
    prompted: frozenset[int] = frozenset()
    """Objects that were prompted on this frame."""
    corrected: frozenset[int] = frozenset()
    """Prompted objects whose mask was predicted from their memory as well."""
    given: Mapping[int, Tensor] = field(default_factory=dict)
    """Mask prompts by object id, ``(S, S)`` logits at the size of the model's input."""

    def __len__(self) -> int:
        return len(self.ids)

    def to_rles(self) -> tuple[Rle, ...]:
        """The masks at the size of the frame; empty for absent objects."""
        return tuple(to_rles(self.logits, self.size_hw, threshold=self.threshold))

    def without_overlaps(
        self,
        groups: Sequence[Collection[int]],
        yielding: Collection[int] = (),
        owners: Collection[tuple[int, int]] = (),
    ) -> Sam2FrameMasks:
        """These masks without overlaps between objects of a group.

        A pixel of two masks goes to the one with the higher logit, so that the border between them
        lies where the logits are equal. A mask that lies in another that has grown over it keeps
        its pixels. An object that keeps little of its mask was confused with another: it is absent.

        Args:
            groups: ids of objects, which may be absent here; no id is in two groups.
            yielding: ids of objects that yield all shared pixels to the others.
            owners: pairs of ids; the first of a pair gets all pixels that both share.
        """
        logits, confused = self.logits, set[int]()
        for group in groups:
            rows = [row for row, each in enumerate(self.ids) if each in group]
            margins = logits[rows] - self.threshold  # (r, s, s)
            inside = margins > 0
            if not (inside.sum(0) > 1).any():
                continue  # no overlap, as on most frames: nothing is copied
            keeping = torch.tensor([self.ids[row] not in yielding for row in rows])
            precedes = _precedence(inside, keeping.to(margins.device))
            places = {self.ids[row]: place for place, row in enumerate(rows)}
            for owner, other in owners:
                if owner in places and other in places:
                    precedes[places[owner], places[other]] = True
                    precedes[places[other], places[owner]] = False
            separated = _separate(margins, precedes)
            kept = (separated > 0).sum((1, 2)) > _MIN_KEPT_SHARE * inside.sum((1, 2))
            confused.update(
                self.ids[row]
                for row, is_kept in zip(rows, kept.tolist(), strict=True)
                if not is_kept
            )
            logits = logits.clone() if logits is self.logits else logits
            logits[rows] = separated + self.threshold
        return self if logits is self.logits else replace(self, logits=logits).mark_absent(confused)

    def mark_absent(self, ids: Collection[int]) -> Sam2FrameMasks:
        """These masks with some objects marked as absent."""
        rows = [row for row, each in enumerate(self.ids) if each in ids]
        if not rows:
            return self
        logits, score = self.logits.clone(), self.score.copy()
        logits[rows] = NO_OBJECT_LOGIT
        score[rows] = -np.abs(score[rows])
        return replace(self, logits=logits, score=score)

    def select(self, ids: Collection[int]) -> Sam2FrameMasks:
        """The masks of some objects, in the order that they have here."""
        return self._rows([row for row, each in enumerate(self.ids) if each in ids])

    def in_order(self, ids: Sequence[int]) -> Sam2FrameMasks:
        """The masks of some objects, in the order of the given ids.

        Raises:
            ValueError: an id that is not here.
        """
        return self._rows([self.ids.index(each) for each in ids])

    def _rows(self, rows: list[int]) -> Sam2FrameMasks:
        if rows == list(range(len(self))):
            return self  # all of them, as on nearly every frame: nothing is copied
        ids = tuple(self.ids[row] for row in rows)
        return replace(
            self,
            ids=ids,
            quality=self.quality[rows],
            score=self.score[rows],
            logits=self.logits[rows],
            pointers=self.pointers[rows],
            prompted=self.prompted.intersection(ids),
            corrected=self.corrected.intersection(ids),
            given={each: mask for each, mask in self.given.items() if each in ids},
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Sam2FrameMasks]) -> Sam2FrameMasks:
        """The masks of different objects of one frame as one value; at least one part."""
        parts = [part for part in parts if part.ids] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        return cls(
            tuple(each for part in parts for each in part.ids),
            np.concatenate([part.quality for part in parts]),
            np.concatenate([part.score for part in parts]),
            torch.cat([part.logits for part in parts]),
            torch.cat([part.pointers for part in parts]),
            parts[0].size_hw,
            parts[0].threshold,
            frozenset(each for part in parts for each in part.prompted),
            frozenset(each for part in parts for each in part.corrected),
            {each: mask for part in parts for each, mask in part.given.items()},
        )


def _precedence(inside: Tensor, keeping: Tensor) -> Tensor:
    """Whether a mask gets the pixels that it shares with another: ``(n, n)`` ``bool``.

    Args:
        inside: ``(n, s, s)`` ``bool``.
        keeping: ``(n,)`` ``bool``: the object does not yield.
    """
    flat = inside.flatten(1).float()
    intersection = flat @ flat.T
    share = intersection / flat.sum(1, keepdim=True).clamp(
        min=1
    )  # of the first that the second covers
    nested = (share >= _MIN_NESTED_SHARE) & (share.T <= _MAX_COVERING_SHARE)
    alike = keeping[:, None] == keeping[None]
    return torch.where(alike, nested, keeping[:, None])


def _separate(margins: Tensor, precedes: Tensor) -> Tensor:
    """``(n, s, s)`` margins of which at most one is above 0 at each pixel."""
    shared = margins.clone()
    for row in precedes.any(0).nonzero()[:, 0].tolist():
        highest = margins[precedes[:, row]].amax(0)
        shared[row] = torch.where(highest > 0, torch.minimum(shared[row], -highest), shared[row])
    highest, winner = shared.max(0, keepdim=True)
    second = shared.scatter(0, winner, -torch.inf).amax(0, keepdim=True)
    rows = torch.arange(len(shared), device=shared.device)[:, None, None]
    others = torch.where(rows == winner, second, highest)
    return torch.minimum(shared, shared - others)
