"""Conversion of the masks of many images at once.

Geometry functions take many masks per call, which costs a tenth of one call per mask. So images are
grouped, and the masks of a group are converted together.
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

_Converted = TypeVar("_Converted")

Box: TypeAlias = tuple[float, float, float, float]
"""xyxy in pixels, half-open."""


class MaskStats(NamedTuple):
    """Bounding box and area of a mask."""

    box_xyxy: Box
    """Bounding box of the set pixels; zeros for an empty mask."""
    area: int
    """Number of set pixels."""


def mask_stats(masks: Sequence[Rle]) -> list[MaskStats]:
    """Return bounding box and area of each mask; the masks may be of different images."""
    boxes = map(tuple, bounding_boxes(masks).tolist())
    return [MaskStats(*each) for each in zip(boxes, areas(masks).tolist(), strict=True)]


def map_masks(
    objects: Iterable[Label], convert: Callable[[Sequence[Rle]], Sequence[_Converted]]
) -> list[_Converted | None]:
    """Convert the masks of objects in one call; the result is ``None`` for an object without one.

    Args:
        objects: of one image or several.
        convert: returns one value per mask.
    """
    objects = list(objects)
    return _align(objects, convert(_masks(objects)))


def convert_masks(
    images: Iterable[DatasetImage],
    convert: Callable[[Sequence[Rle]], Sequence[_Converted]],
    *,
    workers: int = 1,
    max_masks: int = 256,
    max_images: int = 64,
) -> Iterator[tuple[DatasetImage, list[_Converted | None]]]:
    """Convert the masks of images in groups, in the order of the images.

    Args:
        images: images with their objects.
        convert: returns one value per mask. With several workers it must be importable by them.
        workers: number of processes that convert.
        max_masks: a group ends with the image that reaches this number of objects.
        max_images: number of images at which a group ends.

    Yields:
        Each image, and one value per object, ``None`` for an object without a mask.
    """
    pending: deque[list[DatasetImage]] = deque()

    def group_masks() -> Iterator[list[Rle]]:
        for group in _groups(images, max_masks, max_images):
            pending.append(group)
            yield _masks(label for image in group for label in image.labels.objects)

    with closing(map_in_order(group_masks(), convert, workers)) as converted_groups:
        for converted in converted_groups:
            remaining = iter(converted)
            for image in pending.popleft():
                yield image, _align(image.labels.objects, remaining)


def _masks(objects: Iterable[Label]) -> list[Rle]:
    return [label.mask for label in objects if label.mask is not None]


def _align(objects: Iterable[Label], converted: Iterable[_Converted]) -> list[_Converted | None]:
    """Assign converted masks, in order, to the objects that have a mask."""
    remaining = iter(converted)
    return [None if label.mask is None else next(remaining) for label in objects]


def _groups(
    images: Iterable[DatasetImage], max_masks: int, max_images: int
) -> Iterator[list[DatasetImage]]:
    group: list[DatasetImage] = []
    objects = 0
    for image in images:
        group.append(image)
        objects += len(image.labels)
        if objects >= max_masks or len(group) >= max_images:
            yield group
            group, objects = [], 0
    if group:
        yield group
