"""A segmenter that looks at the small things of large pictures from near.

SAM 2 draws a mask on a grid of 256 by 256, whatever the size of the picture: of one 10 000 pixels
wide, a cell of that grid is 40 pixels. So each box is asked of the whole picture and, where that
is nearer, of a window around it; the answer stays whose quality the model predicts to be higher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.geometry import rle
from grounded_sam2.geometry.boxes import clip
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.models.protocols import Segmenter, TwoStepSegmenter
from grounded_sam2.results import Image, SegmentedMasks
from grounded_sam2.tiling.views import View, in_batches, is_large, views_of, windows

__all__ = ["TiledSegmenter"]

_CONTEXT = 0.25
"""What a window shows around a box on each side, as a share of the box's longer side."""

_IN_ITS_BOX = 0.5
"""A mask of which less lies in its box is of another thing. Seen from afar, a small thing is little
more than a point on what is behind it, and SAM 2 may well take that to be meant: it predicts a high
quality, rightly, for a good mask of the wrong thing."""

Boxes: TypeAlias = NDArray[np.float32]
Answer: TypeAlias = tuple[Rle, float, bool]
"""Mask, quality, and whether it is a complement."""


@dataclass(frozen=True, slots=True)
class TiledSegmenter:
    """Any segmenter, for pictures of any size; itself a `TwoStepSegmenter`.

    Example:
        >>> segmenter = TiledSegmenter(Sam2Segmenter.from_pretrained("demo"))
        >>> segmenter.segment_boxes([aerial_picture], [boxes])[0].masks[0].size_hw
        (8000, 10000)
    """

    segmenter: Segmenter
    options: TilingConfig = field(default_factory=TilingConfig)

    def segment_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> list[SegmentedMasks]:
        """See `grounded_sam2.models.protocols.Segmenter`.

        Pictures that are not large go to the segmenter as they are, in one call. Of large ones,
        each box is also asked of the smallest window that shows it with a quarter of its size
        around it, many boxes of one window together. A mask that is not the complement of what was
        asked for wins over one that is, then one that lies mostly in its box over one that does
        not, then the higher quality; at a tie the window's, or the whole picture's where both
        masks leave their box.
        """
        return self.start_boxes(images, boxes_xyxy)()

    def start_boxes(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        """As `segment_boxes`: see `grounded_sam2.models.protocols.TwoStepSegmenter`."""
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
        *views, _ = views_of(size_hw, self.options)
        nearest = _nearest(boxes_xyxy, views, size_hw)
        pixels = self.options.tiles_per_batch * self.options.tile_size**2
        from_afar = self._start([image], [boxes_xyxy])
        from_near = []
        used = [views[number] for number in np.unique(nearest[nearest >= 0])]
        for some in in_batches(used, count=self.options.tiles_per_batch, pixels=pixels):
            asked = [np.flatnonzero(nearest == views.index(view)) for view in some]
            crops = [np.ascontiguousarray(view.crop(image)) for view in some]
            boxes = [
                (boxes_xyxy[index] - np.array(view.origin_xy * 2)).astype(np.float32)
                for view, index in zip(some, asked, strict=True)
            ]
            from_near.append((some, asked, self._start(crops, boxes)))

        def finish() -> SegmentedMasks:
            (whole,) = from_afar()
            best = _each(whole)
            for some, asked, answers in from_near:
                for view, places, answer in zip(some, asked, answers(), strict=True):
                    pairs = zip(places.tolist(), _each(answer), strict=True)
                    for place, (mask, quality, complement) in pairs:
                        near = rle.paste(mask, view.origin_xy, size_hw), quality, complement
                        box = _filled(boxes_xyxy[place], size_hw)
                        best[place] = _better(near, best[place], box)
            return SegmentedMasks(
                masks=tuple(mask for mask, _, _ in best),
                quality=np.array([quality for _, quality, _ in best], np.float32),
                complement=np.array([complement for _, _, complement in best], np.bool_),
            )

        return finish

    def _start(
        self, images: Sequence[Image], boxes_xyxy: Sequence[Boxes]
    ) -> Callable[[], list[SegmentedMasks]]:
        if isinstance(self.segmenter, TwoStepSegmenter):
            return self.segmenter.start_boxes(images, boxes_xyxy)
        masks = self.segmenter.segment_boxes(images, boxes_xyxy)
        return lambda: masks


def _each(answers: SegmentedMasks) -> list[Answer]:
    return [
        (mask, float(quality), bool(complement))
        for mask, quality, complement in zip(
            answers.masks, answers.quality, answers.complement, strict=True
        )
    ]


def _nearest(
    boxes_xyxy: Boxes, views: Sequence[View], size_hw: tuple[int, int]
) -> NDArray[np.intp]:
    """The window to ask for each box, -1 where only the whole picture will do: ``(n,)``.

    Of the smallest that show the box and what is around it, the one that shows most around it.
    """
    edges = windows(views)
    longest = (edges[:, 2:] - edges[:, :2]).max(axis=1)
    # Beyond the border of the picture there is nothing to see: that edge is infinitely far.
    border = edges == np.array([0, 0, size_hw[1], size_hw[0]])
    nearest = np.full(len(boxes_xyxy), -1, np.intp)
    for index, box in enumerate(boxes_xyxy.astype(np.float64)):
        room = np.concatenate((box[:2] - edges[:, :2], edges[:, 2:] - box[2:]), axis=1)
        least = np.where(border, np.inf, room).min(axis=1)
        fits = np.flatnonzero(least >= _CONTEXT * (box[2:] - box[:2]).max())
        if len(fits):
            smallest = fits[longest[fits] == longest[fits].min()]
            nearest[index] = smallest[least[smallest].argmax()]
    return nearest


def _better(near: Answer, far: Answer, box: Rle) -> Answer:
    """The better one of two answers to a box, given as the pixels that it covers."""

    def soundness(answer: Answer) -> tuple[bool, bool]:
        mask, _, complement = answer
        return not complement, bool(rle.containment([mask], [box])[0, 0] >= _IN_ITS_BOX)

    if soundness(near) != soundness(far):
        return max(near, far, key=soundness)
    if not soundness(near)[1]:
        return far  # no window cuts it off where it leaves its box
    # Rounded as it is stored: noise of the arithmetic must not decide
    return near if round(near[1], 4) >= round(far[1], 4) else far


def _filled(box_xyxy: NDArray[np.float32], size_hw: tuple[int, int]) -> Rle:
    """The pixels that a box covers."""
    outer = np.concatenate((np.floor(box_xyxy[:2]), np.ceil(box_xyxy[2:])))
    left, top, right, bottom = clip(outer[None], size_hw)[0].astype(int).tolist()
    return rle.rectangle((left, top, max(left, right), max(top, bottom)), size_hw)
