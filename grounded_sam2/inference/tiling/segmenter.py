"""A segmenter that looks at the small things of large images from near.

SAM 2 draws a mask on a grid of 256 by 256, whatever the size of the image: of one 10 000 pixels
wide, a cell of that grid is 40 pixels. So each box is asked of the whole image and, unless it is
large itself, of a window around it, and the better answer stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.inference.tiling.box_windows import windows_around
from grounded_sam2.inference.tiling.mask_selection import Answer, better
from grounded_sam2.inference.tiling.tiles import in_batches, is_large
from grounded_sam2.models.protocols import DeferredMaskSegmenter, Segmenter
from grounded_sam2.results import Image, SegmentedMasks

__all__ = ["TiledSegmenter"]

Boxes: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TiledSegmenter:
    """Any segmenter, for images of any size; itself a `DeferredMaskSegmenter`.

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

        Images that are not large go to the segmenter as they are, in one call. Of large ones,
        each box is also asked of a window that shows it with a quarter of its size around it, all
        boxes of a window together. Which answer stays: see `grounded_sam2.inference.tiling.mask_selection`.
        """
        return self.start_segment_boxes(images, boxes_xyxy)()

    def start_segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        """As `segment_boxes`: see `grounded_sam2.models.protocols.DeferredMaskSegmenter`."""
        large = [i for i, image in enumerate(images) if is_large(image.shape, self.options)]
        if not large or len(images) != len(boxes_xyxy):  # the segmenter says what is wrong
            return self._start(images, boxes_xyxy)
        others = [i for i in range(len(images)) if i not in large]
        at_once: Callable[[], Sequence[SegmentedMasks]] = tuple
        if others:
            at_once = self._start([images[i] for i in others], [boxes_xyxy[i] for i in others])
        in_turn = {i: self._look_near(images[i], boxes_xyxy[i]) for i in large}

        def finish() -> list[SegmentedMasks]:
            answers = dict(zip(others, at_once(), strict=True))
            answers.update((i, of_large()) for i, of_large in in_turn.items())
            return [answers[i] for i in range(len(answers))]

        return finish

    def _look_near(self, image: Image, boxes_xyxy: Boxes) -> Callable[[], SegmentedMasks]:
        size_hw = (image.shape[0], image.shape[1])
        from_afar = self._start([image], [boxes_xyxy])
        from_near = []
        places = windows_around(boxes_xyxy, size_hw, self.options)
        for some in in_batches(
            list(places),
            count=self.options.tiles_per_batch,
            pixels=self.options.tiles_per_batch * self.options.tile_size**2,
        ):
            crops = [np.ascontiguousarray(view.crop(image)) for view in some]
            boxes = [
                (boxes_xyxy[places[view]] - np.array(view.origin_xy * 2)).astype(np.float32)
                for view in some
            ]
            from_near.append((some, self._start(crops, boxes)))

        def finish() -> SegmentedMasks:
            (whole,) = from_afar()
            best = _each(whole)
            for some, answers in from_near:
                for view, answer in zip(some, answers(), strict=True):
                    pairs = zip(places[view].tolist(), _each(answer), strict=True)
                    for place, (mask, quality, complement) in pairs:
                        near = rle.paste(mask, view.origin_xy, size_hw), quality, complement
                        best[place] = better(near, best[place], view, boxes_xyxy[place])
            return SegmentedMasks(
                masks=tuple(mask for mask, _, _ in best),
                quality=np.array([quality for _, quality, _ in best], np.float32),
                complement=np.array([complement for _, _, complement in best], np.bool_),
            )

        return finish

    def _start(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        if isinstance(self.segmenter, DeferredMaskSegmenter):
            return self.segmenter.start_segment_boxes(images, boxes_xyxy)
        masks = self.segmenter.segment_boxes(images, boxes_xyxy)
        return lambda: masks


def _each(answers: SegmentedMasks) -> list[Answer]:
    return [
        (mask, float(quality), bool(complement))
        for mask, quality, complement in zip(
            answers.masks, answers.quality, answers.complement, strict=True
        )
    ]
