"""Conversion of the annotations of an image to labels of the upright image.

Which image the coordinates refer to follows from the size that the dataset declares:

- the size of the upright image: coordinates are used as they are;
- the size of the stored image, before its EXIF orientation is applied: coordinates are transformed
  by the orientation;
- both sizes are equal (no orientation, mirrored, upside down, a square image), or none is declared:
  coordinates refer to the upright image, which is what annotators see;
- any other size: the labels belong to another image, and the image fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from grounded_sam2.errors import DatasetError
from grounded_sam2.geometry.boxes import clip, rounded, valid
from grounded_sam2.geometry.polygons import Ring, polygons_to_rle
from grounded_sam2.geometry.rle import Rle, bounding_boxes, encode_crop
from grounded_sam2.importers.dataset import AnnotatedImage, Box, DatasetProblem, ObjectAnnotation
from grounded_sam2.results import Label, Labels, Origin

__all__ = ["convert_annotations", "orient_mask", "orient_points", "swaps_axes"]

_SizeHw: TypeAlias = tuple[int, int]

_EMPTY_BOX = (0.0, 0.0, 0.0, 0.0)
_CLIPPED = "extends beyond the image; clipped"
_TOLERANCE = 0.01
"""Fraction of a side by which coordinates may lie outside due to rounding; at least one pixel."""

_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
"""By EXIF orientation: whether to swap x and y, then to mirror horizontally, then vertically."""


def convert_annotations(
    image: AnnotatedImage, upright_hw: _SizeHw, exif_orientation: int, origin: Origin
) -> tuple[Labels, list[DatasetProblem]]:
    """Convert the annotations of an image to labels.

    Masks are clipped to the image; boxes are made tight around them.

    Args:
        image: its annotations.
        upright_hw: height and width of the upright image.
        exif_orientation: of its file, 1 to 8.
        origin: who made the labels.

    Returns:
        The labels, and the problems of the image, those of reading it first.

    Raises:
        DatasetError: the annotations are for an image of another size.
    """
    frame = _coordinate_frame(image, upright_hw, exif_orientation)
    masks, problems = [], list(image.problems)
    for annotation in image.objects:
        mask, mask_problems = _convert_mask(annotation, frame)
        masks.append(mask)
        problems += mask_problems
    mask_boxes = iter(bounding_boxes([mask for mask in masks if mask is not None]).tolist())
    objects = []
    for annotation, mask in zip(image.objects, masks, strict=True):
        box: Box | None = None if mask is None else tuple(next(mask_boxes))
        if box == _EMPTY_BOX:
            reason = "outline contains no pixel; kept as a box, if any"
            problems.append(DatasetProblem(reason, annotation.where))
            mask = box = None
        if box is None:
            box, box_problems = _convert_box(annotation, frame)
            problems += box_problems
        if box is not None:
            objects.append(_make_label(annotation, mask, box, origin))
    return Labels(upright_hw, tuple(objects)), problems


def swaps_axes(orientation: int) -> bool:
    """Whether an EXIF orientation exchanges height and width."""
    return _ORIENTATIONS[orientation][0]


def orient_points(points: Ring, orientation: int, stored_hw: _SizeHw) -> Ring:
    """Transform points of the stored image to the upright one.

    Args:
        points: ``(n, 2)`` x and y, pixels.
        orientation: EXIF, 1 to 8.
        stored_hw: height and width of the stored image.

    Returns:
        ``(n, 2)``.
    """
    swap, mirror_x, mirror_y = _ORIENTATIONS[orientation]
    height, width = stored_hw
    upright = points.copy()
    if swap:
        upright, width, height = upright[:, ::-1].copy(), height, width
    if mirror_x:
        upright[:, 0] = width - upright[:, 0]
    if mirror_y:
        upright[:, 1] = height - upright[:, 1]
    return upright


def orient_mask(mask: Rle, orientation: int) -> Rle:
    """Transform a mask of the stored image to the upright one."""
    if orientation == 1:
        return mask
    swap, mirror_x, mirror_y = _ORIENTATIONS[orientation]
    height, width = mask.size_hw
    crop, (left, top) = mask.decode_crop()
    if swap:
        crop, left, top, width, height = crop.T, top, left, height, width
    if mirror_x:
        crop, left = crop[:, ::-1], width - left - crop.shape[1]
    if mirror_y:
        crop, top = crop[::-1], height - top - crop.shape[0]
    return encode_crop(crop, (left, top), (height, width))


@dataclass(frozen=True, slots=True)
class _CoordinateFrame:
    """The image that coordinates refer to."""

    size_hw: _SizeHw
    normalized: bool
    """Whether coordinates are fractions of the size."""
    orientation: int = 1
    """EXIF orientation that makes it upright."""

    def to_pixels(self, points: Ring) -> Ring:
        height, width = self.size_hw
        return points * (width, height) if self.normalized else points

    def is_exceeded_by(self, points: Ring) -> bool:
        """Whether points, in pixels, lie further outside than rounding explains."""
        side = np.array(self.size_hw[::-1], np.float64)
        tolerance = np.maximum(1.0, _TOLERANCE * side)
        return bool(((points < -tolerance) | (points > side + tolerance)).any())


def _coordinate_frame(
    image: AnnotatedImage, upright_hw: _SizeHw, orientation: int
) -> _CoordinateFrame:
    mask_sizes = [each.outline.size_hw for each in image.objects if isinstance(each.outline, Rle)]
    declared = image.declared_hw or (mask_sizes[0] if mask_sizes else upright_hw)
    if declared == upright_hw:
        return _CoordinateFrame(upright_hw, image.normalized)
    if swaps_axes(orientation) and declared == upright_hw[::-1]:
        return _CoordinateFrame(declared, image.normalized, orientation)
    (height, width), (upright_height, upright_width) = declared, upright_hw
    raise DatasetError(
        f"its labels are for an image of {width}×{height} pixels, but it has {upright_width}×"
        f"{upright_height}; give the images that were labeled"
    )


def _convert_mask(
    annotation: ObjectAnnotation, frame: _CoordinateFrame
) -> tuple[Rle | None, list[DatasetProblem]]:
    """The mask on the upright image, which may be empty; ``None`` if there is none."""
    outline, problems = annotation.outline, []
    if outline is None:
        return None, []
    if isinstance(outline, Rle):
        mask = outline
        if mask.size_hw != frame.size_hw:
            action = "kept as a box" if annotation.box_xyxy is not None else "left out"
            reason = f"mask has another size than the image; {action}"
            detail = "{1}×{0} instead of {3}×{2}".format(*mask.size_hw, *frame.size_hw)
            return None, [DatasetProblem(reason, annotation.where, detail)]
    else:
        rings = [frame.to_pixels(ring) for ring in outline]
        if frame.is_exceeded_by(np.concatenate(rings)):
            problems.append(DatasetProblem(_CLIPPED, annotation.where))
        mask = polygons_to_rle(rings, frame.size_hw)
    return orient_mask(mask, frame.orientation), problems


def _convert_box(
    annotation: ObjectAnnotation, frame: _CoordinateFrame
) -> tuple[Box | None, list[DatasetProblem]]:
    """The box on the upright image of an object without a mask; ``None`` if it lies outside."""
    if annotation.box_xyxy is not None:
        points = np.array(annotation.box_xyxy).reshape(2, 2)
    elif isinstance(annotation.outline, tuple):  # too thin for a mask
        points = np.concatenate(annotation.outline)
    else:
        return None, []  # a mask of another size, which has been reported
    points = frame.to_pixels(points)
    problems = [DatasetProblem(_CLIPPED, annotation.where)] if frame.is_exceeded_by(points) else []
    inside = rounded(clip([[*points.min(axis=0), *points.max(axis=0)]], frame.size_hw))
    if not valid(inside)[0]:
        return None, [DatasetProblem("lies outside the image; left out", annotation.where)]
    corners = orient_points(inside.reshape(2, 2), frame.orientation, frame.size_hw)
    left, top, right, bottom = rounded([[*corners.min(axis=0), *corners.max(axis=0)]])[0].tolist()
    return (left, top, right, bottom), problems


def _make_label(annotation: ObjectAnnotation, mask: Rle | None, box: Box, origin: Origin) -> Label:
    return Label(
        class_name=annotation.class_name,
        caption=annotation.caption or annotation.class_name,
        box_xyxy=box,
        mask=mask,
        confidence=annotation.confidence,
        mask_quality=annotation.mask_quality,
        track_id=annotation.track_id,
        origin=origin,
    )
