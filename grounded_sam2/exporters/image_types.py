"""The type of an image file, detected from its content as image readers do, not from its suffix.

Phones name HEIF images ``.jpg``, downloads name GIFs ``.png``, and ``.tif`` files hold anything.
The first bytes identify the type. Only a TIFF has to be opened: it may hold floats, which OpenCV
refuses and Pillow decodes as black, or sample types that Pillow does not support.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from PIL.TiffImagePlugin import TiffImageFile

__all__ = ["BROWSER_TYPES", "OPENCV_TYPES", "PILLOW_TYPES", "ImageType", "detect_image_type"]

ImageType: TypeAlias = Literal[
    "JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "HEIF", "TIFF", "deep TIFF", "rare TIFF", "other"
]
"""A deep TIFF holds floats or 32-bit integers; a rare TIFF is one that Pillow cannot open."""

OPENCV_TYPES: frozenset[ImageType] = frozenset({"JPEG", "PNG", "WEBP", "BMP", "TIFF"})
"""Types that every build of OpenCV decodes."""
PILLOW_TYPES: frozenset[ImageType] = OPENCV_TYPES | {"GIF", "AVIF", "other"}
"""Types that Pillow decodes without plug-ins. ``other`` was decoded when it was labeled."""
BROWSER_TYPES: frozenset[ImageType] = frozenset({"JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF"})
"""Types that web browsers display."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def detect_image_type(path: Path) -> ImageType:
    """Return the type of an image file from its first bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(12)
    if header.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if header.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if header.startswith(b"RIFF") and header.endswith(b"WEBP"):
        return "WEBP"
    if header.startswith(b"BM"):
        return "BMP"
    if header.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if header[4:8] == b"ftyp":
        brand = header[8:12]
        if brand in _HEIF_BRANDS:
            return "HEIF"
        return "AVIF" if brand in (b"avif", b"avis") else "other"
    if header.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _tiff_type(path)
    return "other"


def _tiff_type(path: Path) -> ImageType:
    try:
        with TiffImageFile(path) as image:  # PIL.Image.open would refuse large ones
            return "deep TIFF" if image.mode in ("F", "I") else "TIFF"
    except Exception:  # Pillow raises many types of exception for a header it cannot read
        return "rare TIFF"
