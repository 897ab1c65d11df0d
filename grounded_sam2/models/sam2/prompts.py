"""Prompts for SAM 2: boxes, points, mask logits of an earlier prediction, and their combinations.

Images have different numbers of prompts. Padding all to the largest number would spend decoder time
on padding, and SAM 2 has no padding for boxes. So the prompts of all images are laid out as rows,
one per mask, each with the index of its image: the cost is the number of prompts. Rows are decoded
together with others of the same form (number of points, box or none), never padded to it, so that a
mask does not depend on the other prompts of the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.errors import PromptError

__all__ = ["PromptRows", "Prompts", "rows_by_form"]

_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """The prompts of one image: ``n`` prompts, each for one mask; none by default.

    A prompt may combine a box, points and mask logits; those given have the same ``n``.

    Raises:
        PromptError: wrong shape, values that are not finite, a box with x1 > x2 or y1 > y2, a label
            other than 1, 0 and -1, or different ``n``.
    """

    boxes_xyxy: NDArray[np.float32] | None = None
    """``(n, 4)``, pixels of the image, half-open."""
    points_xy: NDArray[np.float32] | None = None
    """``(n, p, 2)``, pixels of the image; ``p`` at least 1."""
    point_labels: NDArray[np.int64] | None = None
    """``(n, p)``: 1 inside the object, 0 outside, -1 ignored."""
    mask_logits: NDArray[np.float32] | None = None
    """``(n, h, w)``: `SegmentedMasks.low_res_logits` of an earlier prediction, to be refined."""

    def __post_init__(self) -> None:
        self._check("boxes_xyxy", np.float32, ("n", 4))
        self._check("points_xy", np.float32, ("n", "p", 2))
        self._check("point_labels", np.int64, ("n", "p"))
        self._check("mask_logits", np.float32, ("n", "h", "w"))
        if (self.points_xy is None) != (self.point_labels is None):
            raise PromptError("points_xy and point_labels belong together; give both or neither")
        counts = {name: len(values) for name, values in self._given().items()}
        if len(set(counts.values())) > 1:
            raise PromptError(f"numbers of prompts differ: {counts}; give the same number of each")
        if self.boxes_xyxy is not None:
            reversed_sides = self.boxes_xyxy[:, :2] > self.boxes_xyxy[:, 2:]
            for index in np.flatnonzero(reversed_sides.any(axis=1))[:1]:
                raise PromptError(
                    f"boxes_xyxy[{index}] is {self.boxes_xyxy[index].tolist()}: "
                    "expected x1 ≤ x2 and y1 ≤ y2"
                )
        if self.points_xy is not None and self.point_labels is not None:
            if self.points_xy.shape[:2] != self.point_labels.shape or not self.points_xy.shape[1]:
                raise PromptError(
                    f"points_xy of shape {self.points_xy.shape} need point_labels of shape "
                    f"(n, p) with p ≥ 1, not {self.point_labels.shape}"
                )
            for label in np.setdiff1d(self.point_labels, (-1, 0, 1))[:1]:
                raise PromptError(f"point label {label}: expected 1, 0 or -1")

    def __len__(self) -> int:
        return next((len(values) for values in self._given().values()), 0)

    @property
    def form(self) -> tuple[bool, int, bool]:
        """Whether each prompt has a box, its number of points, whether it has mask logits."""
        points = 0 if self.points_xy is None else self.points_xy.shape[1]
        return self.boxes_xyxy is not None, points, self.mask_logits is not None

    def _given(self) -> dict[str, NDArray[Any]]:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {name: values for name, values in fields.items() if values is not None}

    def _check(self, name: str, dtype: type[np.generic], shape: tuple[str | int, ...]) -> None:
        """Convert a field to its dtype and check its shape; letters stand for any size."""
        given = getattr(self, name)
        if given is None:
            return
        try:
            values = np.asarray(given, dtype)
        except (TypeError, ValueError) as error:
            raise PromptError(f"{name} is not an array of numbers: {error}") from error
        if values.shape == (0,):  # an empty list has lost its other axes
            values = values.reshape(
                0, *(size if isinstance(size, int) else 1 for size in shape[1:])
            )
        fits = len(shape) == values.ndim and all(
            isinstance(want, str) or want == have
            for want, have in zip(shape, values.shape, strict=True)
        )
        if not fits:
            expected = ", ".join(map(str, shape))
            raise PromptError(f"{name} has shape {values.shape}; expected ({expected})")
        for index in np.argwhere(~np.isfinite(values))[:1].tolist():
            raise PromptError(f"{name}{index} is {values[tuple(index)]}; give finite values")
        object.__setattr__(self, name, values)


@dataclass(frozen=True, slots=True, eq=False)
class PromptRows:
    """Prompts of one form, of any number of images, in pixels of the model's input."""

    image: NDArray[np.int64]
    """``(n,)``, ascending: index of the image of each row. Its prompts keep their order."""
    boxes_xyxy: NDArray[np.float32] | None
    points_xy: NDArray[np.float32] | None
    point_labels: NDArray[np.int64] | None
    mask_logits: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.image)

    def by_image(self) -> Iterator[tuple[int, slice]]:
        """Each image and the slice of its rows."""
        images, begins = np.unique(self.image, return_index=True)
        ends = [*begins[1:].tolist(), len(self)]
        for image, begin, end in zip(images.tolist(), begins.tolist(), ends, strict=True):
            yield image, slice(begin, end)

    def take(self, index: slice | NDArray[np.int64]) -> PromptRows:
        """The rows of a slice or of indices."""
        return PromptRows(
            self.image[index],
            _take(self.boxes_xyxy, index),
            _take(self.points_xy, index),
            _take(self.point_labels, index),
            _take(self.mask_logits, index),
        )


def rows_by_form(
    prompts: Sequence[Prompts], sizes_hw: Sequence[tuple[int, int]], side: int
) -> list[PromptRows]:
    """Lay out the prompts of several images as rows, grouped by form.

    Args:
        prompts: one per image.
        sizes_hw: heights and widths of the images.
        side: of the model's input, to which every image is stretched.
    """
    images_by_form: dict[tuple[bool, int, bool], list[int]] = {}
    for index, of_image in enumerate(prompts):
        if len(of_image):
            images_by_form.setdefault(of_image.form, []).append(index)
    groups = []
    for images in images_by_form.values():
        counts = [len(prompts[image]) for image in images]
        boxes, points, labels, masks = (
            None if parts[0] is None else np.concatenate(parts)
            for parts in zip(
                *(_to_model_pixels(prompts[i], sizes_hw[i], side) for i in images), strict=True
            )
        )
        image = np.repeat(np.array(images, np.int64), counts)
        groups.append(PromptRows(image, boxes, points, labels, masks))
    return groups


def _to_model_pixels(
    prompts: Prompts, size_hw: tuple[int, int], side: int
) -> tuple[NDArray[Any] | None, ...]:
    height, width = size_hw
    scale = np.array([side / width, side / height], np.float32)
    boxes, points = prompts.boxes_xyxy, prompts.points_xy
    return (
        None if boxes is None else boxes * np.tile(scale, 2),
        None if points is None else points * scale,
        prompts.point_labels,
        prompts.mask_logits,
    )


def _take(
    values: NDArray[_Number] | None, index: slice | NDArray[np.int64]
) -> NDArray[_Number] | None:
    return None if values is None else values[index]
