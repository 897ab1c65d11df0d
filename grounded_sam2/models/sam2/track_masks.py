"""A frame as the tracker sees it, and where it finds objects in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.sam2.decoder import CellFeatures
from grounded_sam2.models.sam2.masks import to_rles
from grounded_sam2.models.sam2.memory import NO_OBJECT_LOGIT

__all__ = ["Sam2FrameFeatures", "Sam2FrameMasks"]

NESTED = 0.7
SPILLING = 0.6
"""A mask that another covers by at least the first share, and of which it covers at most the
second, lies in a mask that has spilled over it."""
LEAST_LEFT = 0.3
"""Share of its mask that an object keeps, or it is taken for another one's. As SAM 2's predictors
do."""


@dataclass(frozen=True, slots=True, eq=False)
class Sam2FrameFeatures:
    """One frame, seen once by the vision encoder."""

    cells: Tensor
    """``(1, L, C)``: raw coarse features."""
    first: CellFeatures
    """For the mask decoder, without any memory."""
    size_hw: tuple[int, int]
    """Height and width of the image."""


@dataclass(frozen=True, slots=True, eq=False)
class Sam2FrameMasks:
    """Where ``n`` objects are in one frame."""

    ids: tuple[int, ...]
    quality: NDArray[np.float32]
    """``(n,)``: predicted IoU of the mask."""
    score: NDArray[np.float32]
    """``(n,)``: logit that the object is in the image; it is where this is above 0."""
    logits: Tensor
    """``(n, s, s)`` ``float32``: mask logits, `NO_OBJECT_LOGIT` where the object is absent."""
    pointers: Tensor
    """``(n, C)``."""
    size_hw: tuple[int, int]
    threshold: float
    """Logit above which a pixel belongs to the mask."""
    prompted: frozenset[int] = frozenset()
    """Those of `ids` that were prompted on this frame."""
    corrected: frozenset[int] = frozenset()
    """Those of `prompted` that were looked for in the light of their memory as well."""
    given: Mapping[int, Tensor] = field(default_factory=dict)
    """Masks given by hand, ``(S, S)`` logits at the size of the model's input."""

    def __len__(self) -> int:
        return len(self.ids)

    def to_rles(self) -> tuple[Rle, ...]:
        """The masks at the size of the image; empty where the object is absent."""
        return tuple(to_rles(self.logits, self.size_hw, threshold=self.threshold))

    def without_overlaps(
        self,
        groups: Sequence[Collection[int]],
        yielding: Collection[int] = (),
        owners: Collection[tuple[int, int]] = (),
    ) -> Sam2FrameMasks:
        """The same where objects of a group share no pixel.

        What two claim belongs to the one whose logit is higher, and the border between them lies
        where these are equal. An object that is left with little of its mask was mistaken for
        another: it is absent.

        Args:
            groups: ids of objects, of these or of others; no id in two of them.
            yielding: ids of objects that leave to the others whatever those claim.
            owners: pairs of ids; what both claim belongs to the first, whatever the logits.
        """
        logits, taken = self.logits, set[int]()
        for group in groups:
            rows = [row for row, each in enumerate(self.ids) if each in group]
            over = logits[rows] - self.threshold  # (r, s, s)
            claimed = over > 0
            if not (claimed.sum(0) > 1).any():
                continue  # nothing is copied where nothing overlaps, as on most frames
            firm = torch.tensor([self.ids[row] not in yielding for row in rows])
            before = _before(claimed, firm.to(over.device))
            places = {self.ids[row]: place for place, row in enumerate(rows)}
            for owner, other in owners:
                if owner in places and other in places:
                    before[places[owner], places[other]] = True
                    before[places[other], places[owner]] = False
            left = _shared_out(over, before)
            kept = (left > 0).sum((1, 2)) > LEAST_LEFT * claimed.sum((1, 2))
            taken.update(
                self.ids[row]
                for row, is_kept in zip(rows, kept.tolist(), strict=True)
                if not is_kept
            )
            logits = logits.clone() if logits is self.logits else logits
            logits[rows] = left + self.threshold
        return self if logits is self.logits else replace(self, logits=logits).mark_absent(taken)

    def mark_absent(self, ids: Collection[int]) -> Sam2FrameMasks:
        """The same, but some objects are not in the image."""
        rows = [row for row, each in enumerate(self.ids) if each in ids]
        if not rows:
            return self
        logits, score = self.logits.clone(), self.score.copy()
        logits[rows] = NO_OBJECT_LOGIT
        score[rows] = -np.abs(score[rows])
        return replace(self, logits=logits, score=score)

    def select(self, ids: Collection[int]) -> Sam2FrameMasks:
        """The answers about these objects, in the order they have here."""
        return self._rows([row for row, each in enumerate(self.ids) if each in ids])

    def in_order(self, ids: Sequence[int]) -> Sam2FrameMasks:
        """The answers about these objects, in the order given.

        Raises:
            ValueError: an id that is none of these.
        """
        return self._rows([self.ids.index(each) for each in ids])

    def _rows(self, rows: list[int]) -> Sam2FrameMasks:
        if rows == list(range(len(self))):
            return self  # nothing is copied where all are meant, as on nearly every frame
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
        """All objects of several answers about one frame; at least one."""
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


def _before(claimed: Tensor, firm: Tensor) -> Tensor:
    """Which of ``(n, s, s)`` masks have, where they meet others, a better right: ``(n, n)``."""
    flat = claimed.flatten(1).float()
    both = flat @ flat.T
    share = both / flat.sum(1, keepdim=True).clamp(min=1)  # of the first that the second claims
    nested = (share >= NESTED) & (share.T <= SPILLING)
    alike = firm[:, None] == firm[None]
    return torch.where(alike, nested, firm[:, None])


def _shared_out(logits: Tensor, before: Tensor) -> Tensor:
    """``(n, s, s)`` so that at most one is above 0 anywhere, where some go ``before`` others."""
    shared = logits.clone()
    for row in before.any(0).nonzero()[:, 0].tolist():
        highest = logits[before[:, row]].amax(0)
        shared[row] = torch.where(highest > 0, torch.minimum(shared[row], -highest), shared[row])
    highest, whose = shared.max(0, keepdim=True)
    second = shared.scatter(0, whose, -torch.inf).amax(0, keepdim=True)
    rows = torch.arange(len(shared), device=shared.device)[:, None, None]
    others = torch.where(rows == whose, second, highest)
    return torch.minimum(shared, shared - others)
