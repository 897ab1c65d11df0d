"""How images of any depth and color model become upright RGB ``uint8``.

Every rule is fixed: the same file gives the same pixels, whatever else is in it, and nothing is
stretched to fill the range.

- **Transparency** is laid on white, as a page shows it. What stands under transparent pixels is
  arbitrary, mostly black.
- **16 bits** keep their upper 8 (``v >> 8``). Wider integers are read as 16 bits, and refused when
  they do not fit; 12-bit TIFFs keep their upper 8 of 12.
- **Floats** from 0 to 1 mean black to white. An image with a value above 1 is read as 0 to 255.
  Below 0, above 255 or not finite is refused.
- **CMYK** is converted without a profile, ``(255 - c) · (255 - k) / 255``; other color profiles
  are not applied either, as in the images that the models were trained on.
- **Animations** show their first frame; a PIL image the frame it stands at.
- **EXIF orientation** 1 to 8 is applied; anything else is none.

Pillow keeps four bytes for each pixel of color. All that follows decoding is done band by band
into the array that is returned, so that a large image never exists a third time.
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
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,  # the camera was turned left: turn the image right
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_FROM_THE_END = (3, 4, 6, 7)
"""Orientations in which the file's first row is the last row or column of the upright image."""
_BAND_PIXELS = 2**22
"""Pixels converted at a time: 16 MiB as Pillow keeps them, more than most images have."""
_WIDTH_TAG, _HEIGHT_TAG, _BITS_TAG, _PHOTOMETRIC_TAG = 256, 257, 258, 262
_WHITE_IS_ZERO = 0


def exif_orientation(image: PIL.Image.Image) -> int:
    """Orientation tag, 1 to 8; 1 where there is none or it makes no sense."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata must not cost the image
        return 1
    return int(value) if value in _TURNS else 1


def upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    """Height and width that `upright_rgb` will give, of an image that is not decoded yet."""
    # A TIFF turns itself: its size is that before or after, depending on Pillow's version.
    tags = getattr(image, "tag_v2", None)
    width, height = image.size if tags is None else (tags[_WIDTH_TAG], tags[_HEIGHT_TAG])
    return (width, height) if exif_orientation(image) > 4 else (height, width)


def upright_rgb(picture: PIL.Image.Image) -> Image:
    """Decode an image to ``(h, w, 3)`` RGB ``uint8``, C-contiguous and writable.

    Raises:
        ValueError: samples that no rule covers.
        Exception: what the decoder raises on a damaged file.
    """
    picture.load()
    orientation = exif_orientation(picture)  # after load: TIFFs turn themselves there
    turn = _TURNS.get(orientation)
    convert = _converter(picture)
    width, height = picture.size
    sideways = orientation > 4
    image = np.empty((width, height, 3) if sideways else (height, width, 3), np.uint8)
    for top, band in _bands(picture):
        rgb = convert(band)
        pixels = np.asarray(rgb if turn is None else rgb.transpose(turn))
        begin = height - top - band.height if orientation in _FROM_THE_END else top
        place = slice(begin, begin + band.height)
        image[(slice(None), place) if sideways else place] = pixels
    return image


def to_pillow(image: Image) -> PIL.Image.Image:
    """An image as Pillow keeps it, to be written to a file.

    As `PIL.Image.fromarray`, which makes yet another copy of the whole on the way.

    Args:
        image: ``(h, w, 3)`` RGB ``uint8``.
    """
    height, width = image.shape[:2]
    picture = PIL.Image.new("RGB", (width, height))
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        picture.paste(PIL.Image.fromarray(image[top : top + rows]), (0, top))
    return picture


def check_size(width: int, height: int, *, max_pixels: int) -> None:
    """Refuse an image by its header, before it is decoded.

    Raises:
        ImageError: no pixels, or more than `max_pixels`.
    """
    if width * height == 0:
        raise ImageError(f"has no pixels ({width} × {height})")
    if width * height > max_pixels:
        raise ImageError(
            f"has {width} × {height} pixels; the limit images.max_pixels is {max_pixels}, "
            "raise it if the image can be trusted"
        )


def read_rare_tiff(data: bytes, *, max_pixels: int) -> tuple[Image, int]:
    """Decode a TIFF of a kind that Pillow does not know, such as floats in RGB, or doubles.

    Returns:
        The first page as `upright_rgb`, and its orientation tag.

    Raises:
        ImageError: more than `max_pixels`.
        ValueError: OpenCV does not know it either, or samples that no rule covers.
    """
    import cv2  # slow to import, and few ever need it here

    stream = io.BytesIO(data)
    tags = ImageFileDirectory_v2(data[:8])
    stream.seek(tags.next)
    tags.load(stream)
    check_size(int(tags[_WIDTH_TAG]), int(tags[_HEIGHT_TAG]), max_pixels=max_pixels)
    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # turns it upright
    if samples is None:
        raise ValueError("neither Pillow nor OpenCV knows this kind of TIFF")
    if samples.ndim == 3:  # OpenCV's blue comes first
        samples = samples[..., [2, 1, 0, 3][: samples.shape[2]]]
    image = PIL.Image.fromarray(
        np.ascontiguousarray(_eight_bits(samples, samples.min(), samples.max()))
    )
    orientation = tags.get(_ORIENTATION_TAG, 1)
    return upright_rgb(image), int(orientation) if orientation in _TURNS else 1


def _bands(image: PIL.Image.Image) -> Iterator[tuple[int, PIL.Image.Image]]:
    """A decoded image cut into bands of whole rows: the first row of each, and the band."""
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _converter(image: PIL.Image.Image) -> Callable[[PIL.Image.Image], PIL.Image.Image]:
    """What turns the bands of a decoded image into RGB."""
    if not image.mode.startswith(("I", "F")):
        return _rgb
    tags = getattr(image, "tag_v2", {})  # which the bands lack
    extremes = []
    for _, band in _bands(image):
        samples = _deep_samples(band, tags)
        extremes += [samples.min(), samples.max()]
    low, high = np.min(extremes), np.max(extremes)

    def deep(band: PIL.Image.Image) -> PIL.Image.Image:
        samples = _eight_bits(_deep_samples(band, tags), low, high)
        return PIL.Image.fromarray(samples).convert("RGB")

    return deep


def _rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.has_transparency_data:
        page = PIL.Image.new("RGBA", image.size, "white")
        return PIL.Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_samples(image: PIL.Image.Image, tags: Mapping[int, Any]) -> NDArray[Any]:
    """Samples ``(h, w)`` of an image of one deep channel, 0 meaning black."""
    samples = np.asarray(image)
    # Pillow hands out these two kinds of TIFF as they lie in the file
    bits = tags.get(_BITS_TAG, (16,))[0]
    if image.mode.startswith("I;16") and bits < 16:
        samples = samples << (16 - bits)
    if image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO:
        samples = 65535 - samples
    return samples


def _eight_bits(samples: NDArray[Any], low: Any, high: Any) -> NDArray[np.uint8]:
    """Samples of an image whose lowest and highest are given."""
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
