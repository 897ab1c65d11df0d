"""Annotated images as a dataset describes them: frozen values, the same for all formats.

Format readers yield these values before any image is opened. A broken annotation does not stop a
reader: it yields a `DatasetProblem` in its place. `grounded_sam2.importers.conversion` turns the
annotations into labels once the true size of the image is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from grounded_sam2.geometry.polygons import Ring
from grounded_sam2.geometry.rle import Rle
from grounded_sam2.sources.refs import ImageRef

__all__ = [
    "AnnotatedImage",
    "Box",
    "Dataset",
    "DatasetProblem",
    "ImportOptions",
    "ObjectAnnotation",
    "Outline",
]

Box: TypeAlias = tuple[float, float, float, float]
"""xyxy, half-open."""

Outline: TypeAlias = Rle | tuple[Ring, ...]
"""A mask, or polygons that are joined: each ``(n, 2)`` x and y, filled by the even-odd rule."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to read a dataset."""

    images: Path | None
    """Folder of the images; ``None`` to find them by the dataset's own layout."""
    crowds: bool
    """Whether regions marked as crowds are objects."""
    images_folder: Path
    """Folder for the copies of images that are not files of the dataset."""


@dataclass(frozen=True, slots=True)
class DatasetProblem:
    """One part of a dataset that could not be read as intended."""

    reason: str
    """What is wrong and what was done about it; the same text for all problems of a kind."""
    where: str
    """The annotation, row or file."""
    detail: str = ""
    """Details of this problem, such as the value."""


@dataclass(frozen=True, slots=True)
class ObjectAnnotation:
    """One object of a dataset; has a box, an outline or both."""

    where: str
    """The annotation or row, for messages."""
    class_name: str
    box_xyxy: Box | None
    outline: Outline | None = None
    caption: str | None = None
    """``None`` for the class name."""
    confidence: float | None = None
    mask_quality: float | None = None
    track_id: int | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image and its annotations."""

    ref: ImageRef
    objects: tuple[ObjectAnnotation, ...] = ()
    problems: tuple[DatasetProblem, ...] = ()
    declared_hw: tuple[int, int] | None = None
    """Image size that the coordinates refer to; ``None`` if the dataset declares none."""
    normalized: bool = False
    """Whether coordinates are fractions of the upright image's width and height, not pixels."""


class Dataset(Protocol):
    """An open dataset. The order of its images never changes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the dataset's order, without duplicates, also those without objects."""
        ...

    def item_ids(self) -> Iterator[str]:
        """Yield the id of each image once, without reading annotations."""
        ...

    def images(self) -> Iterator[AnnotatedImage]:
        """Yield all images, in the same order."""
        ...

    def unassigned(self) -> Iterator[DatasetProblem]:
        """Yield the problems that belong to no image. Complete after all images have been read."""
        ...
