"""Pictures as the report shows them: small, upright, and small in bytes.

JPEGs are decoded at a half, a quarter or an eighth of their size where that is enough: decoding is
most of what it takes to read a folder. Whatever is wrong with a picture is a reason to show, never
the end of a report.
"""

from __future__ import annotations

import base64
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
from grounded_sam2.exporters.frames import LeftOut
from grounded_sam2.exporters.originals import find_picture
from grounded_sam2.results import Image
from grounded_sam2.sources.image import load_image
from grounded_sam2.store import Item

__all__ = ["Unreadable", "ahead", "data_url", "read_picture", "shrink"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_QUALITIES = (72, 50, 35)
"""WebP qualities to try, until the bytes are few enough; then the picture is made smaller."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a picture cannot be shown, as what follows its number."""

    reason: str


def read_picture(item: Item, pictures_from: Path | None, longer_side: int) -> Image | Unreadable:
    """Load a labeled picture, no larger than needed where its format allows that.

    Args:
        item: the picture.
        pictures_from: folder to find it in by its id, if it was moved.
        longer_side: pixels that the longer side should have at least, if the picture has as many.

    Returns:
        Upright RGB, ``(h, w, 3)`` ``uint8``, of the picture's shape; or why there is none.
    """
    assert item.size_hw is not None, "a labeled item has a size"
    height, width = item.size_hw
    try:
        return load_image(
            find_picture(item, pictures_from),
            config=_at_most(height * width),
            longer_side=longer_side,
        )
    except LeftOut as error:
        return Unreadable(str(error))
    except ImageError:
        return Unreadable("cannot be decoded any more")


@lru_cache(maxsize=64)  # pictures of a folder have few sizes, and configurations check themselves
def _at_most(pixels: int) -> ImageConfig:
    return ImageConfig(max_pixels=pixels)


def shrink(image: Image, longer_side: int) -> Image:
    """A picture of at most this many pixels on its longer side; itself if it is small enough."""
    height, width = image.shape[:2]
    scale = longer_side / max(height, width)
    if scale >= 1:
        return image
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def data_url(image: Image, max_bytes: int) -> str:
    """A picture as text that a page can hold: WebP of at most so many bytes, in base 64.

    Compression becomes stronger as needed, then the picture smaller; at least 2 kB are needed.
    """
    while True:
        for quality in _QUALITIES:
            written = io.BytesIO()
            PIL.Image.fromarray(image).save(written, "WEBP", quality=quality, method=3)
            if written.tell() <= max_bytes:
                return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"
        image = shrink(image, max(image.shape[:2]) * 3 // 4)


def ahead(
    work: Callable[[_In], _Out], given: Iterable[_In], threads: int
) -> Iterator[tuple[_In, _Out]]:
    """Do work in threads, some of it ahead of its use, and give the results in order.

    At most four pieces a thread are in memory.
    """
    waiting: deque[tuple[_In, Future[_Out]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="report")
    try:
        for piece in given:
            waiting.append((piece, pool.submit(work, piece)))
            if len(waiting) >= 4 * threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
