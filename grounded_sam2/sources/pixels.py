"""Conversion of images of any depth and color model to upright RGB ``uint8``.

Every rule is fixed: the same file gives the same pixels, and no values are stretched to fill the
range.

- **Transparency** is blended onto white, as a web page shows it. The colors of transparent pixels
  are arbitrary, mostly black.
- **16 bits** keep their upper 8 (``v >> 8``). Wider integers are read as 16 bits, and refused when
  they do not fit; 12-bit TIFFs keep their upper 8 of 12.
- **Floats** from 0 to 1 mean black to white. An image with a value above 1 is read as 0 to 255.
  Values below 0, above 255 or not finite are refused.
- **CMYK** is converted without a profile, ``(255 - c) · (255 - k) / 255``; other color profiles
  are not applied either, as in the images that the models were trained on.
- **Animations** yield their first frame; a PIL image its current frame.
- **EXIF orientation** 1 to 8 is applied; any other value counts as 1.

Pillow stores four bytes per color pixel. The conversion after decoding writes band by band into
the returned array, so that a large image is in memory at most twice.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Transpose
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from grounded_sam2.errors import ImageError
from grounded_sam2.results import Image

__all__ = [
    "check_size",
    "exif_orientation",
    "read_rare_tiff",
    "to_pillow",
    "upright_rgb",
    "upright_size",
]

_ORIENTATION_TAG = 0x0112
_TRANSPOSES = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,  # the camera was rotated left: rotate the image right
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_FIRST_ROW_LAST = (3, 4, 6, 7)
"""Orientations in which the file's first row is the last row or column of the upright image."""
BAND_PIXELS = 2**22
"""Default number of pixels converted at a time: 16 MiB in Pillow, more than most images have."""
_WIDTH_TAG, _HEIGHT_TAG, _BITS_TAG, _PHOTOMETRIC_TAG = 256, 257, 258, 262
_WHITE_IS_ZERO = 0


def exif_orientation(image: PIL.Image.Image) -> int:
    """EXIF orientation tag, 1 to 8; 1 if it is missing or invalid."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata must not fail the image
        return 1
    return int(value) if value in _TRANSPOSES else 1


def upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    """Height and width that `upright_rgb` returns, for an image that is not decoded yet."""
    # Pillow rotates TIFFs itself; whether `size` is that before or after depends on its version.
    tags = getattr(image, "tag_v2", None)
    width, height = image.size if tags is None else (tags[_WIDTH_TAG], tags[_HEIGHT_TAG])
    return (width, height) if exif_orientation(image) > 4 else (height, width)


def upright_rgb(pillow_image: PIL.Image.Image, *, band_pixels: int = BAND_PIXELS) -> Image:
    """Decode an image to ``(h, w, 3)`` RGB ``uint8``, C-contiguous and writable.

    Args:
        pillow_image: any mode, decoded or not.
        band_pixels: pixels converted at a time, in bands of at least one row.

    Raises:
        ValueError: samples that no rule covers.
        Exception: whatever the decoder raises on a damaged file.
    """
    pillow_image.load()
    orientation = exif_orientation(pillow_image)  # after load(), which rotates TIFFs
    transpose = _TRANSPOSES.get(orientation)
    convert = _converter(pillow_image, band_pixels)
    width, height = pillow_image.size
    swaps_axes = orientation > 4
    image = np.empty((width, height, 3) if swaps_axes else (height, width, 3), np.uint8)
    for top, band in _bands(pillow_image, band_pixels):
        rgb = convert(band)
        pixels = np.asarray(rgb if transpose is None else rgb.transpose(transpose))
        begin = height - top - band.height if orientation in _FIRST_ROW_LAST else top
        target = slice(begin, begin + band.height)
        image[(slice(None), target) if swaps_axes else target] = pixels
    return image


def to_pillow(image: Image, *, band_pixels: int = BAND_PIXELS) -> PIL.Image.Image:
    """Convert an image to Pillow's representation, to write it to a file.

    Equals `PIL.Image.fromarray`, which makes another copy of the whole image on the way.

    Args:
        image: ``(h, w, 3)`` RGB ``uint8``.
        band_pixels: pixels converted at a time, in bands of at least one row.
    """
    height, width = image.shape[:2]
    pillow_image = PIL.Image.new("RGB", (width, height))
    rows = max(1, band_pixels // width)
    for top in range(0, height, rows):
        pillow_image.paste(PIL.Image.fromarray(image[top : top + rows]), (0, top))
    return pillow_image


def check_size(width: int, height: int, *, max_pixels: int) -> None:
    """Check the size of an image before it is decoded.

    Raises:
        ImageError: the image has no pixels, or more than `max_pixels`.
    """
    if width * height == 0:
        raise ImageError(f"has no pixels ({width} × {height})")
    if width * height > max_pixels:
        raise ImageError(
            f"has {width} × {height} pixels; the limit images.max_pixels is {max_pixels}, "
            "raise it if the image can be trusted"
        )


def read_rare_tiff(data: bytes, *, max_pixels: int) -> tuple[Image, int]:
    """Decode a TIFF variant that Pillow does not support, such as RGB floats, or doubles.

    Returns:
        The first page as `upright_rgb` returns it, and its orientation tag.

    Raises:
        ImageError: it has more than `max_pixels`.
        ValueError: OpenCV does not support it either, or no rule covers its samples.
    """
    import cv2  # slow to import, and rarely needed here

    stream = io.BytesIO(data)
    tags = ImageFileDirectory_v2(data[:8])
    stream.seek(tags.next)
    tags.load(stream)
    check_size(int(tags[_WIDTH_TAG]), int(tags[_HEIGHT_TAG]), max_pixels=max_pixels)
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # upright
    if samples is None:
        raise ValueError("neither Pillow nor OpenCV supports this variant of TIFF")
    if samples.ndim == 3:  # BGR(A) to RGB(A)
        samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    image = PIL.Image.fromarray(
        np.ascontiguousarray(_eight_bits(samples, samples.min(), samples.max()))
    )
    orientation = tags.get(_ORIENTATION_TAG, 1)
    return upright_rgb(image), int(orientation) if orientation in _TRANSPOSES else 1


def _bands(image: PIL.Image.Image, band_pixels: int) -> Iterator[tuple[int, PIL.Image.Image]]:
    """Yield a decoded image in bands of whole rows: index of the first row, and the band."""
    width, height = image.size
    rows = max(1, band_pixels // width)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _converter(
    image: PIL.Image.Image, band_pixels: int
) -> Callable[[PIL.Image.Image], PIL.Image.Image]:
    """Function that converts the bands of a decoded image to RGB."""
    if not image.mode.startswith(("I", "F")):
        return _to_rgb
    tags = getattr(image, "tag_v2", {})  # the bands have none
    extremes = []
    for _, band in _bands(image, band_pixels):
        samples = _deep_samples(band, tags)
        extremes += [samples.min(), samples.max()]
    low, high = np.min(extremes), np.max(extremes)

    def deep_to_rgb(band: PIL.Image.Image) -> PIL.Image.Image:
        samples = _eight_bits(_deep_samples(band, tags), low, high)
        return PIL.Image.fromarray(samples).convert("RGB")

    return deep_to_rgb


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.has_transparency_data:
        background = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_samples(image: PIL.Image.Image, tags: Mapping[int, Any]) -> NDArray[Any]:
    """Samples ``(h, w)`` of an image with one channel of more than 8 bits; 0 is black."""
    samples = np.asarray(image)
    # Pillow does not scale or invert these two variants of TIFF itself.
    bits = tags.get(_BITS_TAG, (16,))[0]
    if image.mode.startswith("I;16") and bits < 16:
        samples = samples << (16 - bits)
    if image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        samples = 65535 - samples
    return samples


def _eight_bits(samples: NDArray[Any], low: Any, high: Any) -> NDArray[np.uint8]:
    """Convert samples to 8 bits; `low` and `high` are the extremes of the whole image."""
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind == "f":
        if not np.isfinite([low, high]).all():
            raise ValueError("some of its float samples are not finite; replace them")
        if not (low >= 0 and high <= 255):
            raise ValueError(
                f"its float samples run from {low:g} to {high:g}; scale them to 0…1 or 0…255"
            )
        eight = np.rint(samples * 255 if high <= 1 else samples)
    elif low < 0 or high > 65535:
        raise ValueError(f"its samples run from {low} to {high}; scale them to 16 bits, 0…65535")
    else:
        eight = samples >> 8
    return np.asarray(eight, np.uint8)
