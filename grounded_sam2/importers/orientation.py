"""Labels of an image as it is stored in its file, turned with it as its EXIF orientation says."""

from __future__ import annotations

from grounded_sam2.geometry.polygons import Ring
from grounded_sam2.geometry.rle import Rle, encode_crop

__all__ = ["orient_mask", "orient_points", "swaps_axes"]

_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""Whether to exchange x and y, and then to mirror from left to right, and from top to bottom."""


def swaps_axes(orientation: int) -> bool:
    """Whether the upright image has the stored one's height as its width."""
    return _TURNS[orientation][0]


def orient_points(points: Ring, orientation: int, stored_hw: tuple[int, int]) -> Ring:
    """Where points of the stored image are in the upright one.

    Args:
        points: ``(n, 2)`` x and y, pixels.
        orientation: EXIF, 1 to 8.
        stored_hw: height and width of the stored image.

    Returns:
        ``(n, 2)``.
    """
    exchange, mirror_x, mirror_y = _TURNS[orientation]
    height, width = stored_hw
    turned = points.copy()
    if exchange:
        turned, width, height = turned[:, ::-1].copy(), height, width
    if mirror_x:
        turned[:, 0] = width - turned[:, 0]
    if mirror_y:
        turned[:, 1] = height - turned[:, 1]
    return turned


def orient_mask(mask: Rle, orientation: int) -> Rle:
    """The mask of a stored image, for the upright one."""
    if orientation == 1:
        return mask
    exchange, mirror_x, mirror_y = _TURNS[orientation]
    height, width = mask.size_hw
    crop, (left, top) = mask.decode_crop()
    if exchange:
        crop, left, top, width, height = crop.T, top, left, height, width
    if mirror_x:
        crop, left = crop[:, ::-1], width - left - crop.shape[1]
    if mirror_y:
        crop, top = crop[::-1], height - top - crop.shape[0]
    return encode_crop(crop, (left, top), (height, width))
