"""The image loader: decodes any image to upright RGB ``uint8``.

Accepts a path, bytes, an open file, an ``http(s)`` URL, a PIL image or an array, and returns a
C-contiguous ``(h, w, 3)`` array with the EXIF orientation applied.
`grounded_sam2.sources.pixels` defines the conversion of other depths and color models to RGB.

Every failure is an `ImageError` that names the image and the reason, so that a run can record it
and go on. The size is read from the header and checked against the limit before decoding; Pillow's
process-wide limits are neither used nor changed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError, one_line, printable
from grounded_sam2.results import Image, LoadedImage
from grounded_sam2.sources.download import download
from grounded_sam2.sources.file_signatures import SIGNATURE_BYTES, describe_file_type
from grounded_sam2.sources.pixels import (
    check_size,
    exif_orientation,
    read_rare_tiff,
    upright_rgb,
    upright_size,
)

__all__ = [
    "FORMATS",
    "ImageHeader",
    "ImageInput",
    "load_image",
    "load_image_file",
    "pixel_count",
    "read_image_header",
]

ImageInput: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]"
    " | PIL.Image.Image | NDArray[Any]"
)

FORMATS = (
    *("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "QOI"),
    "HEIF",  # where the user has registered pillow-heif
)
"""Accepted formats, by Pillow's names. Pillow opens more, but some are no images (EPS runs
Ghostscript), and some have no signature, so that any file may pass for one (TGA)."""

_EXTENSIONS = {
    **{"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"},
    **{"BMP": ".bmp", "GIF": ".gif", "PPM": ".ppm", "AVIF": ".avif", "JPEG2000": ".jp2"},
    **{"QOI": ".qoi", "HEIF": ".heic"},
}
_DEFAULTS = ImageConfig()
_REPAIR = "copy or download it again"


def load_image(
    source: ImageInput, *, config: ImageConfig = _DEFAULTS, longer_side: int | None = None
) -> Image:
    """Load one image.

    Args:
        source: a path; an ``http://`` or ``https://`` URL; the bytes of a file; a file opened in
            binary mode, read from its current position; a PIL image, whose current frame is used
            and which is not changed; or a ``uint8`` array, ``(h, w)`` gray, ``(h, w, 3)`` RGB
            (not OpenCV's BGR) or ``(h, w, 4)`` RGBA.
        config: limits of size and of downloads.
        longer_side: sufficient length of the longer side in pixels. JPEGs at least twice as large
            are decoded at a half, a quarter or an eighth of their size, never below this length,
            which is faster; other files, PIL images and arrays keep their size.

    Returns:
        Upright RGB, ``(h, w, 3)`` ``uint8``, C-contiguous. An array that has this form already is
        returned itself, without a copy.

    Raises:
        ImageError: missing, a folder, empty, truncated, not an image, more pixels than
            ``config.max_pixels``, a failed download, or an array of the wrong form.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, PIL.Image.Image):
        with _named("image (PIL)"):
            return _to_upright_rgb(source, config)[0]
    if isinstance(source, str) and (scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)):
        name = f"image {printable(source)!r}"
        if scheme[1].lower() not in ("http", "https"):
            raise ImageError(f"{name}: cannot fetch {scheme[1]!r} addresses; give http or https")
        data = download(source, timeout_s=config.url_timeout_s, max_bytes=config.url_max_bytes)
        return _decode(data, name, config, longer_side)[0]
    if isinstance(source, (str, os.PathLike)):
        name = f"image {printable(source)!r}"
        return _decode(_read(Path(source)), name, config, longer_side)[0]
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), "image (bytes)", config, longer_side)[0]
    if hasattr(source, "read"):
        name = f"image {printable(getattr(source, 'name', '(file object)'))!r}"
        if isinstance(source, io.TextIOBase):
            raise ImageError(f"{name}: was opened as text; open it with mode 'rb'")
        try:
            data = source.read()
        except (OSError, ValueError) as error:  # ValueError: closed
            raise ImageError(f"{name}: cannot be read: {one_line(error)}") from error
        return _decode(data, name, config, longer_side)[0]
    raise ImageError(
        f"image: cannot load a {type(source).__name__}; give a path, URL, bytes, file, PIL image "
        "or uint8 array"
    )


def load_image_file(
    path: str | Path, item_id: str, *, config: ImageConfig = _DEFAULTS
) -> LoadedImage:
    """Load an image file with its path, content hash and orientation. The file is read once.

    Args:
        path: the file.
        item_id: id of the result.
        config: limit of the size.

    Raises:
        ImageError: as `load_image`.
    """
    path = Path(path)
    data = _read(path)
    image, orientation = _decode(data, f"image {printable(path)!r}", config)
    return LoadedImage(
        item_id=item_id,
        image=image,
        path=path,
        content_hash=hashlib.sha256(data).hexdigest(),
        exif_orientation=orientation,
    )


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Metadata of an image file, available before its pixels are decoded."""

    size_hw: tuple[int, int]
    """Height and width of the upright image."""
    exif_orientation: int
    """Orientation tag of the file, 1 to 8."""
    content_hash: str
    """SHA-256 of the file's bytes, hexadecimal."""


def read_image_header(path: str | Path, *, config: ImageConfig = _DEFAULTS) -> ImageHeader:
    """Read size and orientation of an image file and hash its bytes, mostly without decoding.

    This takes 0.1 ms where decoding a JPEG of 640×480 takes 3 ms. A PNG is decoded after all,
    since its orientation may follow its pixels. Damaged pixels after an intact header go unnoticed.

    Raises:
        ImageError: as `load_image`, as far as the header shows it.
    """
    path = Path(path)
    data = _read(path)
    with _named(f"image {printable(path)!r}"):
        pillow_image = _open(io.BytesIO(data))
        if pillow_image is None:
            image, orientation = read_rare_tiff(data, max_pixels=config.max_pixels)
            height, width = image.shape[:2]
        else:
            with pillow_image:
                check_size(*pillow_image.size, max_pixels=config.max_pixels)
                orientation = exif_orientation(pillow_image)
                height, width = upright_size(pillow_image)
    return ImageHeader((height, width), orientation, hashlib.sha256(data).hexdigest())


def pixel_count(path: Path) -> int:
    """Number of pixels of an image file by its header, without decoding; 0 if it is unreadable."""
    try:
        if not path.is_file():  # opening a pipe could block forever
            return 0
        with path.open("rb") as file:
            image = _open(file)
            return 0 if image is None else image.width * image.height
    except Exception:  # loading the image reports the reason
        return 0


def guess_extension(data: bytes) -> str:
    """The usual extension of an image file with these bytes, with dot; ``""`` if not an image."""
    try:
        image = _open(io.BytesIO(data))
    except Exception:  # decoders raise anything on a damaged file
        return ""
    if image is None:
        return ".tif"
    with image:
        return _EXTENSIONS.get(image.format or "", "")


def _read(path: Path) -> bytes:
    name = f"image {printable(path)!r}"
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{name}: is a folder; give a file")
        if not stat.S_ISREG(mode):  # reading it could block forever
            raise ImageError(f"{name}: is a pipe or device; give a file")
        return path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            target = printable(path.readlink())
            raise ImageError(f"{name}: is a link to {target!r}, which does not exist") from error
        raise ImageError(f"{name}: does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise ImageError(f"{name}: cannot be read: {one_line(error)}") from error


def _decode(
    data: bytes, name: str, config: ImageConfig, longer_side: int | None = None
) -> tuple[Image, int]:
    """Upright RGB image, and the orientation tag of its file."""
    with _named(name):
        image = _open(io.BytesIO(data))
        if image is None:
            return read_rare_tiff(data, max_pixels=config.max_pixels)
        with image:
            return _to_upright_rgb(image, config, longer_side)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn any exception into an `ImageError` that begins with the image's name."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error.__cause__
    except (OSError, SyntaxError) as error:  # most decoders raise these on a damaged file
        reason = f"cannot be decoded: {one_line(error)}; {_REPAIR}"
        raise ImageError(f"{name}: {reason}") from error
    except Exception as error:  # other decoders raise anything
        raise ImageError(f"{name}: cannot be decoded: {one_line(error)}") from error


def _open(file: IO[bytes]) -> PIL.Image.Image | None:
    """Read the header only; ``None`` for a TIFF variant that Pillow does not support.

    This tries Pillow's registered formats as `PIL.Image.open` does. That function refuses, or
    warns of, images above a process-wide number of pixels, a setting that belongs to the user.
    """
    beginning = file.read(SIGNATURE_BYTES)
    if not beginning:
        raise ImageError("is empty (0 bytes)")
    PIL.Image.init()
    damage: Exception | None = None
    for name in FORMATS:
        if name not in PIL.Image.OPEN:
            continue
        factory, accept = PIL.Image.OPEN[name]
        try:
            if accept is None or accept(beginning[:16]) is True:
                file.seek(0)
                return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            damage = error  # Pillow's readers raise these for a header of another format too
    if beginning[:4] in (b"II*\0", b"MM\0*"):
        return None
    if damage is not None:
        raise ImageError(f"is damaged: {one_line(damage)}; {_REPAIR}") from damage
    if (description := describe_file_type(beginning)) is not None:
        raise ImageError(f"is not an image, but {description}")
    raise ImageError(f"is not an image in a known format ({', '.join(FORMATS)})")


def _to_upright_rgb(
    image: PIL.Image.Image, config: ImageConfig, longer_side: int | None = None
) -> tuple[Image, int]:
    check_size(*image.size, max_pixels=config.max_pixels)
    orientation = exif_orientation(image)  # before decoding, which rotates TIFFs
    if longer_side is not None:
        scale = min(1.0, longer_side / max(image.size))
        # Rounded up: draft() never goes below the size requested.
        image.draft(None, (ceil(image.width * scale), ceil(image.height * scale)))
    return upright_rgb(image), orientation


def _from_array(array: NDArray[Any]) -> Image:
    name = f"image (array {array.shape} {array.dtype})"
    if array.dtype != np.uint8:
        raise ImageError(f"{name}: must be uint8, 0 to 255; scale and convert it first")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ImageError(f"{name}: must be (h, w), (h, w, 3) or (h, w, 4), channels last")
    if array.size == 0:
        raise ImageError(f"{name}: has no pixels")
    if array.ndim == 3 and array.shape[2] == 3:
        return np.ascontiguousarray(array)
    return upright_rgb(PIL.Image.fromarray(np.ascontiguousarray(array)))
