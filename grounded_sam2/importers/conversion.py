"""From what a dataset says of an image to the labels of the upright image.

Coordinates belong to an image of some size, and whose they are shows by the size that the dataset
declares. If it is that of the upright image, they are taken as they are. If it is that of the
file before its EXIF orientation is applied, they are turned with it. Where both are the same (no
orientation, a mirrored or upside-down one, a square image), or nothing is declared, they are
taken to be for the upright image, which is what people see when they draw. Any other size, and
the labels are for another image: nothing of it is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from grounded_sam2.errors import DatasetError
from grounded_sam2.geometry.boxes import clip, rounded, valid
from grounded_sam2.geometry.polygons import Ring, polygons_to_rle
from grounded_sam2.geometry.rle import Rle, bounding_boxes
from grounded_sam2.importers.dataset import AnnotatedImage, Box, DatasetProblem, ObjectAnnotation
from grounded_sam2.importers.orientation import orient_mask, orient_points, swaps_axes
from grounded_sam2.results import Label, Labels, Origin

__all__ = ["convert_annotations"]

_SizeHw: TypeAlias = tuple[int, int]

_EMPTY = (0.0, 0.0, 0.0, 0.0)
_CUT_OFF = "reaches out of the image; cut off"
_SLACK = 0.01
"""Share of a side by which coordinates may lie outside by rounding; and one pixel anyway."""


def convert_annotations(
    given: AnnotatedImage, upright_hw: tuple[int, int], exif_orientation: int, origin: Origin
) -> tuple[Labels, list[DatasetProblem]]:
    """The labels of an image.

    Masks are cut off at the edges of the image; boxes are made tight around them.

    Args:
        given: what the dataset says.
        upright_hw: height and width of the upright image.
        exif_orientation: of its file, 1 to 8.
        origin: who made the labels.

    Returns:
        The labels, and what could not be taken as it is.

    Raises:
        DatasetError: the labels are for an image of another size.
    """
    canvas = _canvas(given, upright_hw, exif_orientation)
    masks, problems = [], list(given.problems)
    for each in given.objects:
        mask, object_problems = _mask(each, canvas)
        masks.append(mask)
        problems += object_problems
    extents = iter(bounding_boxes([mask for mask in masks if mask is not None]).tolist())
    objects = []
    for each, mask in zip(given.objects, masks, strict=True):
        box: Box | None = None if mask is None else tuple(next(extents))
        if box == _EMPTY:
            problems.append(
                DatasetProblem("outline holds no pixel; kept as a box, if any", each.where)
            )
            mask = box = None
        if box is None:
            box, object_problems = _box(each, canvas)
            problems += object_problems
        if box is not None:
            objects.append(_label(each, mask, box, origin))
    return Labels(upright_hw, tuple(objects)), problems


@dataclass(frozen=True, slots=True)
class _Canvas:
    """What coordinates are for."""

    size_hw: _SizeHw
    normalized: bool
    """Whether they are shares of the size."""
    orientation: int = 1
    """How to turn it upright."""

    def in_pixels(self, points: Ring) -> Ring:
        height, width = self.size_hw
        return points * (width, height) if self.normalized else points

    def is_left_by(self, points: Ring) -> bool:
        """Whether points, in pixels, lie further outside than rounding explains."""
        side = np.array(self.size_hw[::-1], np.float64)
        slack = np.maximum(1.0, _SLACK * side)
        return bool(((points < -slack) | (points > side + slack)).any())


def _canvas(given: AnnotatedImage, upright_hw: _SizeHw, orientation: int) -> _Canvas:
    masks = [each.outline.size_hw for each in given.objects if isinstance(each.outline, Rle)]
    declared = given.declared_hw or (masks[0] if masks else upright_hw)
    if declared == upright_hw:
        return _Canvas(upright_hw, given.normalized)
    if swaps_axes(orientation) and declared == upright_hw[::-1]:
        return _Canvas(declared, given.normalized, orientation)
    (height, width), (has_height, has_width) = declared, upright_hw
    raise DatasetError(
        f"its labels are for an image of {width}×{height} pixels, but it has {has_width}×"
        f"{has_height}; give the images that were labeled"
    )


def _mask(given: ObjectAnnotation, canvas: _Canvas) -> tuple[Rle | None, list[DatasetProblem]]:
    """The mask on the upright image, which may be empty; ``None`` if there is none."""
    outline, problems = given.outline, []
    if outline is None:
        return None, []
    if isinstance(outline, Rle):
        mask = outline
        if mask.size_hw != canvas.size_hw:
            kept = "kept as a box" if given.box_xyxy is not None else "left out"
            reason = f"mask has another size than the image; {kept}"
            detail = "{1}×{0} instead of {3}×{2}".format(*mask.size_hw, *canvas.size_hw)
            return None, [DatasetProblem(reason, given.where, detail)]
    else:
        rings = [canvas.in_pixels(ring) for ring in outline]
        if canvas.is_left_by(np.concatenate(rings)):
            problems.append(DatasetProblem(_CUT_OFF, given.where))
        mask = polygons_to_rle(rings, canvas.size_hw)
    return orient_mask(mask, canvas.orientation), problems


def _box(given: ObjectAnnotation, canvas: _Canvas) -> tuple[Box | None, list[DatasetProblem]]:
    """The box on the upright image of an object without a mask, if any of it lies there."""
    if given.box_xyxy is not None:
        points = np.array(given.box_xyxy).reshape(2, 2)
    elif isinstance(given.outline, tuple):  # too thin for a mask
        points = np.concatenate(given.outline)
    else:
        return None, []  # a mask of another size, which was told of
    points = canvas.in_pixels(points)
    problems = [DatasetProblem(_CUT_OFF, given.where)] if canvas.is_left_by(points) else []
    inside = rounded(clip([[*points.min(axis=0), *points.max(axis=0)]], canvas.size_hw))
    if not valid(inside)[0]:
        return None, [DatasetProblem("holds nothing of the image; left out", given.where)]
    turned = orient_points(inside.reshape(2, 2), canvas.orientation, canvas.size_hw)
    left, top, right, bottom = rounded([[*turned.min(axis=0), *turned.max(axis=0)]])[0].tolist()
    return (left, top, right, bottom), problems


def _label(given: ObjectAnnotation, mask: Rle | None, box: Box, origin: Origin) -> Label:
    return Label(
        class_name=given.class_name,
        caption=given.caption or given.class_name,
        box_xyxy=box,
        mask=mask,
        confidence=given.confidence,
        mask_quality=given.mask_quality,
        track_id=given.track_id,
        origin=origin,
    )
