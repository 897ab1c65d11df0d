"""A detector that looks at large images through windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.config import TilingConfig
from grounded_sam2.inference.tiling.box_merging import Sightings, merge
from grounded_sam2.inference.tiling.tiles import View, in_batches, is_large, views_of, windows
from grounded_sam2.models.protocols import Detector
from grounded_sam2.results import DetectedBoxes, Image

__all__ = ["TiledDetector"]


@dataclass(frozen=True, slots=True)
class TiledDetector:
    """Any detector, for images of any size; itself a `Detector`.

    Example:
        >>> detector = TiledDetector(Florence2Detector.from_pretrained("demo"))
        >>> detector.detect([aerial_image], [["red circle"]])[0].boxes_xyxy.shape
        (212, 4)
    """

    detector: Detector
    options: TilingConfig = field(default_factory=TilingConfig)

    def detect(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> list[DetectedBoxes]:
        """See `grounded_sam2.models.protocols.Detector`.

        Images that are not large go to the detector as they are, in one call. Of large ones, all
        captions are asked of all windows, some windows at a time, and what several windows show is
        one box: see `grounded_sam2.inference.tiling.box_merging`. Where the detector gives no confidence, nor
        does this.
        """
        large = [i for i, image in enumerate(images) if is_large(image.shape, self.options)]
        if not large or len(images) != len(captions):  # the detector says what is wrong
            return self.detector.detect(images, captions)
        answers = {i: self._look_around(images[i], captions[i]) for i in large}
        if others := [i for i in range(len(images)) if i not in answers]:
            found = self.detector.detect([images[i] for i in others], [captions[i] for i in others])
            answers.update(zip(others, found, strict=True))
        return [answers[i] for i in range(len(images))]

    def _look_around(self, image: Image, captions: Sequence[str]) -> DetectedBoxes:
        size_hw = (image.shape[0], image.shape[1])
        views = views_of(size_hw, self.options)
        answers: list[DetectedBoxes] = []
        for some in in_batches(views, count=self.options.tiles_per_batch):
            shown = [view.shown(image) for view in some]
            answers += self.detector.detect(shown, [captions] * len(some))
        seen, names = _together(views, answers)
        things = {  # in the order that they were asked, or first named
            name: merge(seen.take(names == name), size_hw)
            for name in dict.fromkeys([*captions, *names])
        }
        boxes = [np.zeros((0, 4)), *(boxes for boxes, _ in things.values())]
        confidence = [np.zeros(0, np.float32), *(confidence for _, confidence in things.values())]
        has_confidence = all(answer.confidence is not None for answer in answers if len(answer))
        return DetectedBoxes(
            boxes_xyxy=np.concatenate(boxes).astype(np.float32),
            captions=tuple(name for name, (found, _) in things.items() for _ in found),
            confidence=np.concatenate(confidence) if has_confidence else None,
        )


def _together(
    views: Sequence[View], answers: Sequence[DetectedBoxes]
) -> tuple[Sightings, NDArray[np.object_]]:
    """What all windows show, and the caption of each box."""
    boxes, confidence = [], []
    names: list[str] = []
    for view, answer in zip(views, answers, strict=True):
        boxes.append(view.to_image(answer.boxes_xyxy))
        missing = np.zeros(len(answer), np.float32)
        confidence.append(missing if answer.confidence is None else answer.confidence)
        names += answer.captions
    number = np.repeat(np.arange(len(views)), [len(answer) for answer in answers])
    seen = Sightings(
        boxes_xyxy=np.concatenate(boxes),
        confidence=np.concatenate(confidence),
        views=number,
        windows_xyxy=windows(views),
    )
    return seen, np.array(names, np.object_)
