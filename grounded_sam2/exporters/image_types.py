"""What an image's file holds, whatever its ending says: its readers go by that.

Phones call HEIF images ``.jpg``, downloads call GIFs ``.png``, and under ``.tif`` there is
anything. The first bytes tell them apart; only a TIFF has to be opened, since it may hold floats,
which OpenCV refuses and Pillow turns black, or kinds of samples that Pillow does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["BROWSER_TYPES", "OPENCV_TYPES", "PILLOW_TYPES", "ImageType", "detect_image_type"]

ImageType: TypeAlias = Literal[
    "JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "HEIF", "TIFF", "deep TIFF", "rare TIFF", "other"
]
"""A deep TIFF holds floats or integers of 32 bits, a rare one what Pillow does not know."""

OPENCV_TYPES: frozenset[ImageType] = frozenset({"JPEG", "PNG", "WEBP", "BMP", "TIFF"})
"""What OpenCV decodes in every build."""
PILLOW_TYPES: frozenset[ImageType] = OPENCV_TYPES | {"GIF", "AVIF", "other"}
"""What Pillow shows without plugins, if ``other`` is something that was labeled."""
BROWSER_TYPES: frozenset[ImageType] = frozenset({"JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF"})
"""What a browser shows."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def detect_image_type(path: Path) -> ImageType:
    """What kind of image a file holds.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(12)
    if begin.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if begin.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if begin.startswith(b"RIFF") and begin.endswith(b"WEBP"):
        return "WEBP"
    if begin.startswith(b"BM"):
        return "BMP"
    if begin.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if begin[4:8] == b"ftyp":
        brand = begin[8:12]
        if brand in _HEIF_BRANDS:
            return "HEIF"
        return "AVIF" if brand in (b"avif", b"avis") else "other"
    if begin.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _content_of_tiff(path)
    return "other"


def _content_of_tiff(path: Path) -> ImageType:
    try:
        with TiffImageFile(path) as image:  # PIL.Image.open would refuse large ones
            return "deep TIFF" if image.mode in ("F", "I") else "TIFF"
    except Exception:  # Pillow's readers say in many ways that a header is not theirs
        return "rare TIFF"
