"""Asks the models for a batch, so that what goes wrong costs no more than it must.

When a model fails on a batch, its images are asked one by one, and only the culprit fails. When
memory was not enough, the batch is halved until it is, and later batches are asked in such parts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

from grounded_sam2.errors import GroundedSAM2Error
from grounded_sam2.inference.detect_and_segment import start_detect_and_segment
from grounded_sam2.models.protocols import Detector, Segmenter
from grounded_sam2.results import Candidate, Image

__all__ = ["Answer", "Asking", "reason"]

Answer: TypeAlias = tuple[Candidate, ...] | str
"""The candidates of an image, or the reason why there are none."""


class Asking:
    """The models, and how many images they can take.

    Args:
        detector: finds boxes.
        segmenter: turns boxes into masks.
        min_confidence: boxes below are forgotten.
        fatal: errors that the next image would meet as well; they are raised.
    """

    def __init__(
        self,
        detector: Detector,
        segmenter: Segmenter,
        *,
        min_confidence: float,
        fatal: tuple[type[Exception], ...] = (),
    ) -> None:
        self.most_at_once: int | None = None
        """Pictures that fit into memory together; ``None`` while all did."""
        self._detector = detector
        self._segmenter = segmenter
        self._min_confidence = min_confidence
        self._fatal = fatal
        self._one_at_a_time = threading.Lock()

    def start(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> Callable[[], list[Answer]]:
        """The models' part of asking; what is returned does the rest, in any thread.

        Args:
            images: upright RGB, ``(h, w, 3)`` ``uint8``; sizes may differ; may be none.
            captions: for each image, what to ask.

        Returns:
            A function that gives one `Answer` per image, in order.
        """
        step = self.most_at_once or max(1, len(images))
        parts = [
            self._start(images[first : first + step], captions[first : first + step])
            for first in range(0, len(images), step)
        ]
        return lambda: [answer for part in parts for answer in part()]

    def _start(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]]
    ) -> Callable[[], list[Answer]]:
        try:
            with self._one_at_a_time:
                finish = start_detect_and_segment(
                    images,
                    captions,
                    self._detector,
                    self._segmenter,
                    min_confidence=self._min_confidence,
                )
        except self._fatal:
            raise
        except Exception as error:
            failure = _Failure(error)
        else:
            return lambda: self._finish(finish, images, captions)
        answers = self._again(images, captions, failure)
        return lambda: answers

    def _finish(
        self,
        finish: Callable[[], list[tuple[Candidate, ...]]],
        images: Sequence[Image],
        captions: Sequence[Sequence[str]],
    ) -> list[Answer]:
        try:
            return list(finish())
        except self._fatal:
            raise
        except Exception as error:
            failure = _Failure(error)
        return self._again(images, captions, failure)

    def _again(
        self, images: Sequence[Image], captions: Sequence[Sequence[str]], failure: _Failure
    ) -> list[Answer]:
        """Answers after a failure. The error is gone by now, and with it what it held of the
        memory."""
        count = len(images)
        if count == 1:
            return [failure.reason]
        step = 1
        if failure.of_memory:
            step = (count + 1) // 2
            self.most_at_once = min(step, self.most_at_once or step)
        answers: list[Answer] = []
        for first in range(0, count, step):
            part = slice(first, first + step)
            answers += self._start(images[part], captions[part])()
        return answers


class _Failure:
    """What is worth knowing of an error, without the frames that it holds."""

    def __init__(self, error: Exception) -> None:
        self.reason = reason(error)
        self.of_memory = isinstance(error, MemoryError)


def reason(error: Exception) -> str:
    """What went wrong, as one line for the store."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, GroundedSAM2Error) else f"{type(error).__name__}: {text}"
