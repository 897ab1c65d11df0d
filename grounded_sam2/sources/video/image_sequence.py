"""Pictures that a program hands over one by one, as a video."""

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
    """Arrays or PIL images from a list, a generator, a camera's own driver …

    The first is taken at once, since it tells the size. An iterator can be read once; a list as
    often as wanted. Arrays are copied, so that their owner may fill them anew.

    Args:
        images: whatever `grounded_sam2.sources.image.load_image` takes.
        name: of the items.
        fps: frames per second.
        selection: which frames are taken.
        limits: of the size of images.

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
        self._pictures = images
        iterator = iter(images)
        self._is_used_up = False
        try:
            first = next(iterator)
            height, width = self._loaded(first).shape[:2]
        except StopIteration:
            raise SourceError(f"video {name!r}: there are no images; give at least one") from None
        except ImageError as error:
            raise SourceError(f"video {name!r}: its first image cannot be read: {error}") from error
        self._rest: Iterator[ImageInput] | None = None
        if iterator is images:  # would not give the first again
            self._rest = chain([first], iterator)
        super().__init__(
            name=name,
            path=None,
            fps=fps,
            size_hw=(height, width),
            frame_count=len(images) if isinstance(images, Sized) else None,
            selection=selection,
        )

    def _pending(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
        for index, image in enumerate(self._begun()):
            pending = LazyFrame(index, index / self.fps, partial(self._of_one_size, image))
            del image
            yield pending
            del pending

    def _begun(self) -> Iterator[ImageInput]:
        if self._rest is None:
            return iter(self._pictures)
        if self._is_used_up:
            raise SourceError(
                f"video {self.name!r}: its images come from a generator and were read before; "
                "open it anew with a new generator, or give a list"
            )
        self._is_used_up = True
        rest, self._rest = self._rest, iter(())
        return rest

    def _of_one_size(self, picture: ImageInput) -> Image:
        image = self._loaded(picture)
        if image.shape[:2] != self.size_hw:
            height, width = image.shape[:2]
            raise ImageError(
                f"is {width} × {height} pixels, and the first was "
                f"{self.size_hw[1]} × {self.size_hw[0]}"
            )
        return image

    def _loaded(self, picture: ImageInput) -> Image:
        image = load_image(picture, config=self._limits)
        return image.copy() if isinstance(picture, np.ndarray) else image
