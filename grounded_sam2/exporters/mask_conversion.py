"""What formats need to know of masks, found out for many of them at once.

Geometry shares its calls into numpy among all masks that it is given, which costs a tenth of one
mask after another. So images are taken in groups, whose masks are looked at together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, TypeAlias, TypeVar

from grounded_sam2.exporters.images import DatasetImage
from grounded_sam2.exporters.worker_pool import map_in_order
from grounded_sam2.geometry.rle import Rle, areas, bounding_boxes
from grounded_sam2.results import Label

__all__ = ["Box", "MaskStats", "convert_masks", "map_masks", "mask_stats"]

_Shape = TypeVar("_Shape")

Box: TypeAlias = tuple[float, float, float, float]
"""xyxy in pixels, half-open."""

_MOST_MASKS = 256
_MOST_IMAGES = 64


class MaskStats(NamedTuple):
    """Size and place of a mask."""

    box_xyxy: Box
    """Around the set pixels; zeros for an empty mask."""
    area: int
    """Number of set pixels."""


def mask_stats(masks: Sequence[Rle]) -> list[MaskStats]:
    """Size and place of masks, of any images."""
    boxes = map(tuple, bounding_boxes(masks).tolist())
    return [MaskStats(*each) for each in zip(boxes, areas(masks).tolist(), strict=True)]


def map_masks(
    objects: Iterable[Label], shapes_of: Callable[[Sequence[Rle]], Sequence[_Shape]]
) -> list[_Shape | None]:
    """Something made of the mask of each object, of all at once; ``None`` without a mask."""
    objects = list(objects)
    return _handed_out(objects, shapes_of(_masks(objects)))


def convert_masks(
    images: Iterable[DatasetImage],
    shapes_of: Callable[[Sequence[Rle]], Sequence[_Shape]],
    *,
    workers: int = 1,
) -> Iterator[tuple[DatasetImage, list[_Shape | None]]]:
    """Pictures in order, and something made of the masks of their objects.

    Args:
        images: whose objects have masks or none.
        shapes_of: makes one thing of each mask, of many masks at once.
        workers: processes that do it, where it takes long enough to be shared.

    Yields:
        Each image, and for each of its objects what was made of its mask; ``None`` without one.
    """
    waiting: deque[list[DatasetImage]] = deque()

    def masks_of_groups() -> Iterator[list[Rle]]:
        for group in _in_groups(images):
            waiting.append(group)
            yield _masks(label for image in group for label in image.labels.objects)

    with closing(map_in_order(masks_of_groups(), shapes_of, workers)) as shapes_of_groups:
        for shapes in shapes_of_groups:
            remaining = iter(shapes)
            for image in waiting.popleft():
                yield image, _handed_out(image.labels.objects, remaining)


def _masks(objects: Iterable[Label]) -> list[Rle]:
    return [label.mask for label in objects if label.mask is not None]


def _handed_out(objects: Iterable[Label], shapes: Iterable[_Shape]) -> list[_Shape | None]:
    """The next shape to each object that has a mask."""
    remaining = iter(shapes)
    return [None if label.mask is None else next(remaining) for label in objects]


def _in_groups(images: Iterable[DatasetImage]) -> Iterator[list[DatasetImage]]:
    """As many images at a time as have masks enough to share the calls."""
    group: list[DatasetImage] = []
    objects = 0
    for image in images:
        group.append(image)
        objects += len(image.labels)
        if objects >= _MOST_MASKS or len(group) >= _MOST_IMAGES:
            yield group
            group, objects = [], 0
    if group:
        yield group
