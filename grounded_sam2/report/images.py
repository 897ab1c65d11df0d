"""Reading and encoding of the images of a report: upright, small in pixels and in bytes.

JPEGs are decoded at a half, a quarter or an eighth of their size if that is enough, because
decoding dominates the time of reading a folder. Frames of a video are read in order, in one pass
that ends with the last frame shown. An image that cannot be read yields a reason to show; it never
aborts the report.
"""

from __future__ import annotations

import base64
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import PIL.Image

from grounded_sam2.errors import UnavailableImageError
from grounded_sam2.results import Image
from grounded_sam2.store import Item, ItemImages, StoredVideo

__all__ = ["ImageReader", "Unreadable", "data_url", "prefetch_map", "shrink"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_QUALITIES = (72, 50, 35)
"""WebP qualities to try in order; if none is small enough, the image is shrunk."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Reason why an image cannot be read, in words that follow a count of images."""

    reason: str


class ImageReader:
    """Loads labeled images, no larger than needed if their format allows it. Must be closed.

    Images may be read in several threads at the same time; frames of videos in one, and in order.

    Args:
        videos: the videos of the run.
        images_from: folder that contains images by their ids, and videos by their names, if they
            were moved.
        only: indices of the frames that will be read, by the name of the video; ``None`` if not
            known.
    """

    def __init__(
        self,
        videos: Sequence[StoredVideo],
        images_from: Path | None,
        only: Mapping[str, AbstractSet[int]] | None = None,
    ) -> None:
        self._images = ItemImages(videos, images_from=images_from, only=only)

    def read(self, item: Item, longer_side: int) -> Image | Unreadable:
        """Load an image.

        Args:
            item: the image, or frame of a video.
            longer_side: minimum pixels of the longer side, if the image has as many.

        Returns:
            Upright RGB, ``(h, w, 3)`` ``uint8``, with the image's aspect ratio; or the reason why
            it cannot be read.
        """
        try:
            found = self._images.find(item)
            image = found.decode(longer_side=longer_side)
        except UnavailableImageError as error:
            return Unreadable(error.reason.of_many)
        return shrink(image, longer_side) if found.in_video else image

    def missing(self, item: Item) -> Unreadable | None:
        """Return why an image cannot be read, as far as known without decoding it."""
        try:
            self._images.find(item)
        except UnavailableImageError as error:
            return Unreadable(error.reason.of_many)
        return None

    def close(self) -> None:
        """Close the last video."""
        self._images.close()


def shrink(image: Image, longer_side: int) -> Image:
    """Return an image with at most this many pixels on its longer side; itself if small enough."""
    height, width = image.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return image
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def data_url(image: Image, max_bytes: int) -> str:
    """Return an image as a data URL: WebP of at most `max_bytes` before base 64.

    The quality is reduced as needed, then the size; `max_bytes` must be at least 2 kB.
    """
    while True:
        for quality in _QUALITIES:
            encoded = io.BytesIO()
            PIL.Image.fromarray(image).save(encoded, "WEBP", quality=quality, method=3)
            if encoded.tell() <= max_bytes:
                return f"data:image/webp;base64,{base64.b64encode(encoded.getvalue()).decode()}"
        image = shrink(image, max(image.shape[:2]) * 3 // 4)


def prefetch_map(
    function: Callable[[_In], _Out],
    items: Iterable[_In],
    threads: int,
    *,
    sequential: Callable[[_In], bool] = lambda item: False,
) -> Iterator[tuple[_In, _Out]]:
    """Map a function over items in threads, ahead of their use, and yield the results in order.

    At most four items per thread are in memory.

    Args:
        function: called with each item.
        items: the items.
        threads: number of threads.
        sequential: selects the items to process in the caller's thread one after the other, such as
            the frames of a video, which must be read in order.

    Yields:
        Each item with its result.
    """
    pending: deque[tuple[_In, Future[_Out]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="report")
    try:
        for item in items:
            if sequential(item):
                future: Future[_Out] = Future()
                future.set_result(function(item))
            else:
                future = pool.submit(function, item)
            pending.append((item, future))
            if len(pending) >= 4 * threads:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
