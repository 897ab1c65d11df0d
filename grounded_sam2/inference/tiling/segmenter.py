"""Segmentation of the small objects of large images in windows around them.

SAM 2 predicts a mask on a grid of 256 by 256, whatever the size of the image: in one 10 000 pixels
wide, a cell of that grid is 40 pixels. So each box is segmented in the whole image and, unless it
is large itself, in a window around it, and the better mask is kept.

The model predicts how good a mask is, not whether it is the mask of the object in the box. In the
whole image, a small object is little more than a point on its background, and SAM 2 may well
segment the background: with a high predicted quality, rightly, as it is a good mask of the wrong
object. So before qualities are compared, the masks must be of the object in the box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.geometry import boxes, rle
from grounded_sam2.geometry.overlap import mask_containment
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.inference.tiling.tiles import Tile, is_large, tile_batches
from grounded_sam2.models.protocols import DeferredMaskSegmenter, Segmenter
from grounded_sam2.results import Image, SegmentedMasks

__all__ = ["TiledSegmenter"]

_CONTEXT = 0.25
"""Margin around a box in its window on each side, as a share of the box's longer side."""
_MIN_INSIDE = 0.5
"""Share of a mask inside its box; a mask with less is of another object."""
_MIN_FIT_LEAD = 0.05
"""Difference in IoU with the box from which on a mask fits it better: boxes of detectors are not
more exact."""

Boxes: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TiledSegmenter:
    """A segmenter that segments small objects of large images in windows around them; itself a
    `DeferredMaskSegmenter`.

    Example:
        >>> segmenter = TiledSegmenter(Sam2Segmenter.from_pretrained("demo"))
        >>> segmenter.segment_boxes([aerial_image], [boxes])[0].masks[0].size_hw
        (8000, 10000)
    """

    segmenter: Segmenter
    options: TilingConfig = field(default_factory=TilingConfig)

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> list[SegmentedMasks]:
        """See `grounded_sam2.models.protocols.Segmenter`.

        Images that are not large go to the segmenter unchanged, in one call. In large ones, each
        box is also segmented in a window with a margin of a quarter of its side, all boxes of a
        window together, and the better of the two masks is kept.
        """
        return self.start_segment_boxes(images, boxes_xyxy)()

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        """As `segment_boxes`: see `grounded_sam2.models.protocols.DeferredMaskSegmenter`."""
        large = [i for i, image in enumerate(images) if is_large(image.shape, self.options)]
        if not large or len(images) != len(boxes_xyxy):  # the segmenter raises for unequal lengths
            return self._start(images, boxes_xyxy)
        others = [i for i in range(len(images)) if i not in large]
        finish_others: Callable[[], Sequence[SegmentedMasks]] = tuple
        if others:
            finish_others = self._start(
                [images[i] for i in others], [boxes_xyxy[i] for i in others]
            )
        finish_large = {i: self._start_large(images[i], boxes_xyxy[i]) for i in large}

        def finish() -> list[SegmentedMasks]:
            segmented = dict(zip(others, finish_others(), strict=True))
            segmented.update((i, finish_one()) for i, finish_one in finish_large.items())
            return [segmented[i] for i in range(len(segmented))]

        return finish

    def _start_large(self, image: Image, boxes_xyxy: Boxes) -> Callable[[], SegmentedMasks]:
        size_hw = (image.shape[0], image.shape[1])
        finish_image = self._start([image], [boxes_xyxy])
        finish_windows = []
        boxes_of = _windows_around(boxes_xyxy, size_hw, self.options)
        for batch in tile_batches(
            list(boxes_of),
            max_tiles=self.options.tiles_per_batch,
            max_area=self.options.tiles_per_batch * self.options.tile_size**2,
        ):
            crops = [np.ascontiguousarray(window.crop(image)) for window in batch]
            window_boxes = [
                (boxes_xyxy[boxes_of[window]] - np.array(window.origin_xy * 2)).astype(np.float32)
                for window in batch
            ]
            finish_windows.append((batch, self._start(crops, window_boxes)))

        def finish() -> SegmentedMasks:
            (whole,) = finish_image()
            best = _split(whole)
            for batch, finish_batch in finish_windows:
                for window, segmented in zip(batch, finish_batch(), strict=True):
                    pairs = zip(boxes_of[window].tolist(), _split(segmented), strict=True)
                    for index, found in pairs:
                        mask = rle.paste(found.mask, window.origin_xy, size_hw)
                        best[index] = _better_mask(
                            found._replace(mask=mask), best[index], window, boxes_xyxy[index]
                        )
            return SegmentedMasks(
                masks=tuple(each.mask for each in best),
                quality=np.array([each.quality for each in best], np.float32),
                complement=np.array([each.is_complement for each in best], np.bool_),
            )

        return finish

    def _start(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        if isinstance(self.segmenter, DeferredMaskSegmenter):
            return self.segmenter.start_segment_boxes(images, boxes_xyxy)
        masks = self.segmenter.segment_boxes(images, boxes_xyxy)
        return lambda: masks


class _SegmentedMask(NamedTuple):
    """One mask of `SegmentedMasks`."""

    mask: Rle
    quality: float
    is_complement: bool


def _split(segmented: SegmentedMasks) -> list[_SegmentedMask]:
    return [
        _SegmentedMask(mask, float(quality), bool(complement))
        for mask, quality, complement in zip(
            segmented.masks, segmented.quality, segmented.complement, strict=True
        )
    ]


def _windows_around(
    boxes_xyxy: NDArray[np.float32], size_hw: tuple[int, int], options: TilingConfig
) -> dict[Tile, NDArray[np.intp]]:
    """Windows around boxes, with the indices of the boxes to segment in each.

    A window has the side of a tile, or twice, four times … that, for larger boxes. It is centered
    on the first box that has none yet, and takes all others that lie in it with their margin.
    """
    height, width = size_hw
    boxes_float = boxes_xyxy.astype(np.float64)
    longer = (boxes_float[:, 2:] - boxes_float[:, :2]).max(axis=1, initial=0)
    windows: dict[Tile, NDArray[np.intp]] = {}
    unassigned = np.ones(len(boxes_float), np.bool_)
    side = options.tile_size
    # Windows of more than half the image would show little more than the whole.
    while side <= max(options.tile_size, max(size_hw) / 2):
        fits_side = unassigned & (longer * (1 + 2 * _CONTEXT) <= side)
        for first in np.flatnonzero(fits_side).tolist():
            if not unassigned[first]:
                continue
            x, y = (boxes_float[first, :2] + boxes_float[first, 2:]) / 2
            left, right = _centered_span(x, side, width)
            top, bottom = _centered_span(y, side, height)
            # An edge of the image needs no margin: there is no context beyond it.
            edges = np.array([left, top, right, bottom], np.float64)
            edges[:2][edges[:2] == 0] = -np.inf
            edges[2:][edges[2:] == [width, height]] = np.inf
            margins = np.concatenate(
                (boxes_float[:, :2] - edges[:2], edges[2:] - boxes_float[:, 2:]), axis=1
            )
            taken = fits_side & unassigned & (margins.min(axis=1) >= _CONTEXT * longer)
            taken[first] = True
            unassigned &= ~taken
            window = Tile(left, top, right, bottom, side)
            before = windows.get(window, np.zeros(0, np.intp))  # shifted into the same corner
            windows[window] = np.concatenate((before, np.flatnonzero(taken)))
        side *= 2
    return windows


def _centered_span(center: float, side: int, length: int) -> tuple[int, int]:
    """Start and end of a window along an axis, shifted to lie inside the image."""
    size = min(side, length)
    start = min(max(round(center - size / 2), 0), length - size)
    return start, start + size


def _better_mask(
    near: _SegmentedMask, far: _SegmentedMask, window: Tile, box_xyxy: NDArray[np.float32]
) -> _SegmentedMask:
    """The better of two masks of one box: from the window (`near`) or the whole image (`far`).

    In this order: a mask that is not the complement of what the box shows wins over one that is;
    one that lies mostly in its box, and does not run into the edge of its window, over one that
    does not; one that fills its box clearly better, since a window may cut the tips of an object;
    the higher quality; at a tie the near one, which is finer. Where both masks exceed the box, the
    object is larger: the far mask shows it whole, if it covers the box at all.
    """
    box = _box_mask(box_xyxy, near.mask.size_hw)
    near_fits = _containment(near.mask, box) >= _MIN_INSIDE and not _is_cut_off(near.mask, window)
    near_rank = not near.is_complement, near_fits
    far_rank = not far.is_complement, _containment(far.mask, box) >= _MIN_INSIDE
    if near_rank != far_rank:
        return near if near_rank > far_rank else far
    if not near_fits:
        return far if _containment(box, far.mask) >= _MIN_INSIDE else near
    near_fit, far_fit = _box_fit([near.mask, far.mask], box_xyxy)
    if abs(near_fit - far_fit) > _MIN_FIT_LEAD:
        return near if near_fit > far_fit else far
    # Rounded as it is stored: numerical noise must not decide
    return near if round(near.quality, 4) >= round(far.quality, 4) else far


def _containment(mask: Rle, other: Rle) -> float:
    """Share of a mask that lies in another."""
    return float(mask_containment([mask], [other])[0, 0])


def _box_fit(masks: Sequence[Rle], box_xyxy: NDArray[np.float32]) -> list[float]:
    """IoU of each mask's bounding box with a box."""
    ious: list[float] = boxes.box_iou(rle.bounding_boxes(masks), box_xyxy[None])[:, 0].tolist()
    return ious


def _is_cut_off(mask: Rle, window: Tile) -> bool:
    """Whether a mask runs into an edge of its window that is no edge of the image."""
    height, width = mask.size_hw
    ends = np.array(mask.bbox_xyxy) == (window.left, window.top, window.right, window.bottom)
    inner = np.array([window.left, window.top, width - window.right, height - window.bottom]) > 0
    return bool((ends & inner).any())


def _box_mask(box_xyxy: NDArray[np.float32], size_hw: tuple[int, int]) -> Rle:
    """The pixels that a box covers, in part or whole."""
    outer = np.concatenate((np.floor(box_xyxy[:2]), np.ceil(box_xyxy[2:])))
    left, top, right, bottom = boxes.clip(outer[None], size_hw)[0].astype(int).tolist()
    return rle.rectangle((left, top, max(left, right), max(top, bottom)), size_hw)
