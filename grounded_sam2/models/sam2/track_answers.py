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

__all__ = ["EncodedFrame", "TrackAnswers"]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedFrame:
    """One frame, seen once by the vision encoder."""

    cells: Tensor
    """``(1, L, C)``: raw coarse features."""
    first: CellFeatures
    """For the mask decoder, without any memory."""
    size_hw: tuple[int, int]
    """Height and width of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackAnswers:
    """Where ``n`` objects are in one frame."""

    ids: tuple[int, ...]
    quality: NDArray[np.float32]
    """``(n,)``: predicted IoU of the mask."""
    score: NDArray[np.float32]
    """``(n,)``: logit that the object is in the picture; it is where this is above 0."""
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

    def masks(self) -> tuple[Rle, ...]:
        """The masks at the size of the picture; empty where the object is absent."""
        return tuple(to_rles(self.logits, self.size_hw, threshold=self.threshold))

    def only(self, ids: Collection[int]) -> TrackAnswers:
        """The answers about these objects, in the order they have here."""
        return self._rows([row for row, each in enumerate(self.ids) if each in ids])

    def in_order(self, ids: Sequence[int]) -> TrackAnswers:
        """The answers about these objects, in the order given.

        Raises:
            ValueError: an id that is none of these.
        """
        return self._rows([self.ids.index(each) for each in ids])

    def _rows(self, rows: list[int]) -> TrackAnswers:
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
    def joined(cls, parts: Sequence[TrackAnswers]) -> TrackAnswers:
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
