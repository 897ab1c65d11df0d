"""Video source for images in memory: a list, a generator, or any other iterable."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sized
from functools import partial
from itertools import chain

import numpy as np

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError, SourceError
from grounded_sam2.results import Image
from grounded_sam2.sources.image import ImageInput, load_image
from grounded_sam2.sources.video.source import (
    BrokenFrameLog,
    FrameSelection,
    LazyFrame,
    VideoSource,
)

__all__ = ["ImageSequence"]


class ImageSequence(VideoSource):
    """Arrays or PIL images from a list, a generator, the driver of a camera …

    The first image is read immediately, since it determines the size. An iterator can be read
    once, a list any number of times. Arrays are copied: the caller may reuse their memory.

    Args:
        images: anything that `grounded_sam2.sources.image.load_image` accepts.
        name: name of the items.
        fps: frames per second.
        selection: the frames to yield.
        limits: limit of the size of images.

    Raises:
        SourceError: there is no image, or the first cannot be read.
    """

    def __init__(
        self,
        images: Iterable[ImageInput],
        *,
        name: str,
        fps: float,
        selection: FrameSelection,
        limits: ImageConfig,
    ) -> None:
        self._limits = limits
        self._images = images
        iterator = iter(images)
        self._is_consumed = False
        try:
            first = next(iterator)
            height, width = self._load(first).shape[:2]
        except StopIteration:
            raise SourceError(f"video {name!r}: there are no images; give at least one") from None
        except ImageError as error:
            raise SourceError(f"video {name!r}: its first image cannot be read: {error}") from error
        self._iterator: Iterator[ImageInput] | None = None
        if iterator is images:  # which does not yield the first image again
            self._iterator = chain([first], iterator)
        super().__init__(
            name=name,
            path=None,
            fps=fps,
            size_hw=(height, width),
            frame_count=len(images) if isinstance(images, Sized) else None,
            selection=selection,
        )

    def _lazy_frames(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
        for index, image in enumerate(self._begin()):
            lazy = LazyFrame(index, index / self.fps, partial(self._load_of_same_size, image))
            del image
            yield lazy
            del lazy

    def _begin(self) -> Iterator[ImageInput]:
        if self._iterator is None:
            return iter(self._images)
        if self._is_consumed:
            raise SourceError(
                f"video {self.name!r}: its images come from a generator and were read before; "
                "open it again with a new generator, or give a list"
            )
        self._is_consumed = True
        iterator, self._iterator = self._iterator, iter(())
        return iterator

    def _load_of_same_size(self, source: ImageInput) -> Image:
        image = self._load(source)
        if image.shape[:2] != self.size_hw:
            height, width = image.shape[:2]
            raise ImageError(
                f"is {width} × {height} pixels, and the first was "
                f"{self.size_hw[1]} × {self.size_hw[0]}"
            )
        return image

    def _load(self, source: ImageInput) -> Image:
        image = load_image(source, config=self._limits)
        return image.copy() if isinstance(source, np.ndarray) else image
