"""Pictures as the report shows them: small, upright, and small in bytes.

JPEGs are decoded at a half, a quarter or an eighth of their size where that is enough: decoding is
most of what it takes to read a folder. Frames of a video come in its order, from one pass that ends
with the last that is shown. Whatever is wrong with an image is a reason to show, never the end of
a report.
"""

from __future__ import annotations

import base64
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import PIL.Image

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError
from grounded_sam2.exporters.frames import FrameReader, SkipImage
from grounded_sam2.exporters.source_images import find_source_image
from grounded_sam2.results import Image
from grounded_sam2.sources.image import load_image
from grounded_sam2.store import Item, StoredVideo

__all__ = ["ImageReader", "Unreadable", "data_url", "prefetch_map", "shrink"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_QUALITIES = (72, 50, 35)
"""WebP qualities to try, until the bytes are few enough; then the image is made smaller."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why an image cannot be shown, as what follows its number."""

    reason: str


class ImageReader:
    """Loads labeled images, no larger than needed where their format allows that. Close it.

    Images may be read in many threads at once; frames of videos in one, and in order.

    Args:
        videos: of the run.
        images_from: folder to find images in by their ids, and videos by their names, if they
            were moved.
        only: indices of the frames that will be read, by the name of the video; ``None`` if that is
            not known.
    """

    def __init__(
        self,
        videos: Sequence[StoredVideo],
        images_from: Path | None,
        only: Mapping[str, AbstractSet[int]] | None = None,
    ) -> None:
        self._images_from = images_from
        self._frames = FrameReader(videos, images_from, only)

    def read(self, item: Item, longer_side: int) -> Image | Unreadable:
        """Load an image.

        Args:
            item: the image, or frame of a video.
            longer_side: pixels that the longer side should have at least, if the image has as
                many.

        Returns:
            Upright RGB, ``(h, w, 3)`` ``uint8``, of the image's shape; or why there is none.
        """
        assert item.size_hw is not None, "a labeled item has a size"
        height, width = item.size_hw
        try:
            file = self._file_of(item)
            if file is None:
                return shrink(self._frames.image(item), longer_side)
            return load_image(file, config=_at_most(height * width), longer_side=longer_side)
        except SkipImage as error:
            return Unreadable(str(error))
        except ImageError:
            return Unreadable("cannot be decoded any more")

    def missing(self, item: Item) -> Unreadable | None:
        """Why an image will not be read, as far as that can be told without decoding it."""
        try:
            self._file_of(item)
        except SkipImage as error:
            return Unreadable(str(error))
        return None

    def close(self) -> None:
        """Let go of the video that was read last."""
        self._frames.close()

    def _file_of(self, item: Item) -> Path | None:
        """Its own file; ``None`` for a frame that has none."""
        if item.frame_index is None:
            return find_source_image(item, self._images_from)
        return self._frames.frame_file(item)


@lru_cache(maxsize=64)  # images of a folder have few sizes, and configurations check themselves
def _at_most(pixels: int) -> ImageConfig:
    return ImageConfig(max_pixels=pixels)


def shrink(image: Image, longer_side: int) -> Image:
    """An image of at most this many pixels on its longer side; itself if it is small enough."""
    height, width = image.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return image
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def data_url(image: Image, max_bytes: int) -> str:
    """An image as text that a page can hold: WebP of at most so many bytes, in base 64.

    Compression becomes stronger as needed, then the image smaller; at least 2 kB are needed.
    """
    while True:
        for quality in _QUALITIES:
            written = io.BytesIO()
            PIL.Image.fromarray(image).save(written, "WEBP", quality=quality, method=3)
            if written.tell() <= max_bytes:
                return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"
        image = shrink(image, max(image.shape[:2]) * 3 // 4)


def prefetch_map(
    work: Callable[[_In], _Out],
    given: Iterable[_In],
    threads: int,
    *,
    in_turn: Callable[[_In], bool] = lambda piece: False,
) -> Iterator[tuple[_In, _Out]]:
    """Do work in threads, some of it ahead of its use, and give the results in order.

    At most four pieces a thread are in memory.

    Args:
        work: what to do with a piece.
        given: the pieces.
        threads: how many.
        in_turn: which pieces the caller's own thread works on, one after the other: frames come
            from their video in order.
    """
    waiting: deque[tuple[_In, Future[_Out]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="report")
    try:
        for piece in given:
            if in_turn(piece):
                future: Future[_Out] = Future()
                future.set_result(work(piece))
            else:
                future = pool.submit(work, piece)
            waiting.append((piece, future))
            if len(waiting) >= 4 * threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
