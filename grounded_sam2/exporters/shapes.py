"""What formats need to know of masks, found out for many of them at once.

Geometry shares its calls into numpy among all masks that it is given, which costs a tenth of one
mask after another. So pictures are taken in groups, whose masks are looked at together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias, TypeVar

from grounded_sam2.exporters.files import PlacedPicture
from grounded_sam2.geometry.rle import Rle, areas, bounding_boxes
from grounded_sam2.results import Label

__all__ = ["Box", "Measure", "measures", "of_masks", "with_shapes"]

_Shape = TypeVar("_Shape")

Box: TypeAlias = tuple[float, float, float, float]
"""xyxy in pixels, half-open."""

_MOST_MASKS = 256
_MOST_PICTURES = 64


class Measure(NamedTuple):
    """Size and place of a mask."""

    box_xyxy: Box
    """Around the set pixels; zeros for an empty mask."""
    area: int
    """Number of set pixels."""


def measures(masks: Sequence[Rle]) -> list[Measure]:
    """Size and place of masks, of any pictures."""
    boxes = map(tuple, bounding_boxes(masks).tolist())
    return [Measure(*each) for each in zip(boxes, areas(masks).tolist(), strict=True)]


def of_masks(
    objects: Iterable[Label], shapes_of: Callable[[Sequence[Rle]], Sequence[_Shape]]
) -> Iterator[_Shape | None]:
    """Something made of the mask of each object, of all at once; ``None`` without a mask."""
    objects = list(objects)
    shapes = iter(shapes_of([label.mask for label in objects if label.mask is not None]))
    for label in objects:
        yield None if label.mask is None else next(shapes)


def with_shapes(
    pictures: Iterable[PlacedPicture], shapes_of: Callable[[Sequence[Rle]], Sequence[_Shape]]
) -> Iterator[tuple[PlacedPicture, list[_Shape | None]]]:
    """Pictures in order, and something made of the masks of their objects.

    Args:
        pictures: whose objects have masks or none.
        shapes_of: makes one thing of each mask, of many masks at once.

    Yields:
        Each picture, and for each of its objects what was made of its mask; ``None`` without one.
    """
    for group in _in_groups(pictures):
        shapes = of_masks((label for each in group for label in each.labels.objects), shapes_of)
        for picture in group:
            yield picture, list(islice(shapes, len(picture.labels)))


def _in_groups(pictures: Iterable[PlacedPicture]) -> Iterator[list[PlacedPicture]]:
    """As many pictures at a time as have masks enough to share the calls."""
    group: list[PlacedPicture] = []
    objects = 0
    for picture in pictures:
        group.append(picture)
        objects += len(picture.labels)
        if objects >= _MOST_MASKS or len(group) >= _MOST_PICTURES:
            yield group
            group, objects = [], 0
    if group:
        yield group
