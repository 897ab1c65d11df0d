"""Options of a report, and the thresholds of label issues."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from grounded_sam2.config.validation import (
    NonNegativeInt,
    PositiveInt,
    Range,
    UnitInterval,
    ValidatedSection,
)
from grounded_sam2.errors import ConfigError
from grounded_sam2.exporters.splits import check_split

__all__ = ["ReportOptions", "Thresholds"]


@dataclass(frozen=True)
class Thresholds(ValidatedSection):
    """Thresholds of label issues. They are loose, because issues are sorted by score anyway.

    Raises:
        ConfigError: a value out of range; names it.
    """

    section: ClassVar[str] = "report"

    low_confidence: UnitInterval = 0.5
    """Below, the detector rates the object as more likely wrong than right."""
    low_quality: UnitInterval = 0.8
    """Predicted IoU below which SAM 2's own automatic mask generator drops masks."""
    disagreement: UnitInterval = 0.4
    """Difference of confidence and mask quality in either direction: a certain object with a poor
    mask, or a good mask of something that may not be the object."""
    overlap_iou: UnitInterval = 0.5
    """IoU with another object, whatever its class: two objects with mostly the same pixels."""
    overlap_inside: UnitInterval = 0.85
    """Fraction of an object inside a larger one of its class: a part labeled in addition to its
    whole. Objects in front of each other occlude each other, and share few pixels."""
    outside_box: UnitInterval = 0.1
    """Fraction of the mask outside the detector's box, which was the prompt of the segmenter.
    Uncertain boundary pixels are fewer than this, except for the smallest objects."""
    along_box: UnitInterval = 0.8
    """Fraction of a side of the detector's box that the mask runs along, as if cut off there. Only
    if at most 1 in 100 objects of the class do: doors and screens do so by nature."""
    along_border: UnitInterval = 0.25
    """Fraction of the image border that the mask covers: a whole side of a square image. Objects
    that the border cuts off cover less; masks that cover more are often the background."""
    size_outlier: Annotated[float, Range(0.001)] = 3.5
    """Robust z-score of the size within the class, on a logarithmic scale: the value that Iglewicz
    and Hoaglin recommend (How to Detect and Handle Outliers, 1993)."""
    enough: PositiveInt = 20
    """Minimum number of objects of a class for calling a value unusual within it."""
    duplicate_bits: Annotated[int, Range(0, 16)] = 6
    """Maximum number of differing bits, of 63, of the cosine hashes of near-duplicates. In the
    demo's scenes, compression, half the size, noise or another exposure change at most 6 bits in 98
    of 100 images, a crop of 2 % in 91."""
    duplicate_difference: Annotated[float, Range(0)] = 0.25
    """Maximum mean difference of the colors of near-duplicates, shrunk to 8×8, as a fraction of
    their contrast. The changes above cause at most 0.17, the crop 0.23, and the closest of 76 000
    pairs of different scenes has 0.37."""

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Thresholds:
        """Return the default thresholds with some values replaced.

        Raises:
            ConfigError: an unknown name, with the nearest one, or a value out of range.
        """
        for name in values:
            if name not in cls.hints():
                nearest = difflib.get_close_matches(name, cls.hints(), n=1, cutoff=0)[0]
                raise ConfigError(f"unknown threshold {name!r}; the nearest is {nearest!r}")
        return cls(**values)  # type: ignore[arg-type]  # checked there


@dataclass(frozen=True)
class ReportOptions(ValidatedSection):
    """Options of a report.

    Raises:
        ConfigError: a value out of range; names it.
        ExportError: shares of splits that do not sum to 1.
    """

    section: ClassVar[str] = "report"

    images: NonNegativeInt = 200
    """Number of images on the page: first those of the labels to review, then near-duplicates, then
    a sample. Each takes at most 60 kB of the page, so the default 12 MB."""
    labels: NonNegativeInt = 150
    """Number of labels to review on the page; all issues are counted, and all are in the JSON."""
    seed: NonNegativeInt = 0
    """Seed of the splits, as in exports, and of the sample of images."""
    split_by: Literal["content", "folder"] = "content"
    """As in exports."""
    threads: PositiveInt = 4
    """Threads that read images. The report does not depend on their number."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    split: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    """Fraction of each split by name, as in exports."""
    images_from: Path | None = None
    """Folder that contains the images by their ids, if they were moved since they were labeled."""

    @classmethod
    @cache
    def hints(cls) -> dict[str, Any]:
        """Annotations of the plain values; the other fields are checked elsewhere."""
        others = ("thresholds", "split", "images_from")
        return {name: hint for name, hint in super().hints().items() if name not in others}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_split(self.split)
