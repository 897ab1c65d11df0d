"""What a dataset says, before the images are looked at: frozen values, the same for all formats.

A format reader yields these. A broken annotation does not stop it: it yields a `DatasetProblem`
in its place. What becomes of them once the image's true size is known is a matter of
`grounded_sam2.importers.conversion`.
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
"""A mask, or rings whose union it is: ``(n, 2)`` x and y, each filled by even-odd counting."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to read a dataset."""

    images: Path | None
    """Folder of the images, where it is not found by the dataset's own layout."""
    crowds: bool
    """Whether regions that are marked as crowds are objects."""
    images_folder: Path
    """Where to keep images that are no files in the dataset."""


@dataclass(frozen=True, slots=True)
class DatasetProblem:
    """Something that could not be read as it should be."""

    reason: str
    """What is wrong and what was done about it; the same text for all of a kind."""
    where: str
    """Which annotation, row or file."""
    detail: str = ""
    """What is special about this one."""


@dataclass(frozen=True, slots=True)
class ObjectAnnotation:
    """An object as a dataset describes it; has a box, an outline or both."""

    where: str
    """Which annotation or row it is, for messages."""
    class_name: str
    box_xyxy: Box | None
    outline: Outline | None = None
    caption: str | None = None
    """``None``: its class."""
    confidence: float | None = None
    mask_quality: float | None = None
    track_id: int | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image and what a dataset says of it."""

    ref: ImageRef
    objects: tuple[ObjectAnnotation, ...] = ()
    problems: tuple[DatasetProblem, ...] = ()
    declared_hw: tuple[int, int] | None = None
    """The size that the coordinates are meant for, if the dataset says so."""
    normalized: bool = False
    """Whether coordinates are shares of the upright image's width and height, not pixels."""


class Dataset(Protocol):
    """A dataset that is open. The order of its images never changes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the dataset's own order, each once; those without objects included."""
        ...

    def item_ids(self) -> Iterator[str]:
        """Ids of all images, each once, without reading what is said of them."""
        ...

    def images(self) -> Iterator[AnnotatedImage]:
        """All images, in the same order."""
        ...

    def unassigned(self) -> Iterator[DatasetProblem]:
        """What belongs to no image. Ask when all images have been read."""
        ...
