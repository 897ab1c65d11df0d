"""What can be said about a report, and from where on a label is worth a look."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from grounded_sam2.config.validation import CountInt, Fraction, PositiveInt, Range, ValidatedSection
from grounded_sam2.errors import ConfigError
from grounded_sam2.exporters.splits import check_split

__all__ = ["ReportOptions", "Thresholds"]


@dataclass(frozen=True)
class Thresholds(ValidatedSection):
    """From where on there is a issue. Loose rather than tight: the worst come first anyway.

    Raises:
        ConfigError: a value out of range; names it.
    """

    section: ClassVar[str] = "report"

    low_confidence: Fraction = 0.5
    """Below, the detector itself gives its answer less than an even chance."""
    low_quality: Fraction = 0.8
    """Predicted IoU below which SAM 2's own automatic mask generator drops masks."""
    disagreement: Fraction = 0.4
    """Difference of confidence and mask quality, either way: a thing that is surely there and badly
    outlined, or something outlined well that is perhaps not the thing."""
    overlap_iou: Fraction = 0.5
    """IoU with another object, whatever its class: most of two objects is the same pixels."""
    overlap_inside: Fraction = 0.85
    """Share of an object that lies in a larger one of its class: a part beside its whole. Things
    that stand in front of each other hide each other, and share few pixels."""
    outside_box: Fraction = 0.1
    """Share of the mask outside the detector's box, which is where the segmenter was asked to look.
    The pixels that both are uncertain about make less, but for the smallest objects."""
    along_box: Fraction = 0.8
    """Share of a side of the detector's box that the mask runs along, as if cut off there. Only
    where at most 1 in 100 of its class do: doors and screens do so by nature."""
    along_border: Fraction = 0.25
    """Share of the image's outline that the mask covers: a whole side of a square image. Things
    that the frame cuts off cover less; what covers more is often the background."""
    size_outlier: Annotated[float, Range(0.001)] = 3.5
    """Robust z-score of the size within the class, on a logarithmic scale: the value that Iglewicz
    and Hoaglin recommend (How to Detect and Handle Outliers, 1993)."""
    enough: PositiveInt = 20
    """Objects of a class below which nothing is called unusual for it."""
    duplicate_bits: Annotated[int, Range(0, 16)] = 6
    """Bits of 63 in which the cosine hashes of images that look alike may differ. Of the demo's
    scenes, compression, half the size, noise or another exposure change at most 6 in 98 of 100
    images, a crop of 2 % in 91."""
    duplicate_difference: Annotated[float, Range(0)] = 0.25
    """Mean difference of the colors of such images, shrunk to 8×8, as a share of their contrast.
    The changes above make 0.17 or less, the crop 0.23, and of 76 000 pairs of different scenes the
    closest has 0.37."""

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Thresholds:
        """Thresholds with some values replaced.

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
    """How to report.

    Raises:
        ConfigError: a value out of range; names it.
        ExportError: shares of splits that do not sum to 1.
    """

    section: ClassVar[str] = "report"

    images: CountInt = 200
    """Pictures that the page shows: first those with the labels most worth a look, then those that
    look alike, then a sample. At most 60 kB of the page each, so 12 MB with the default."""
    labels: CountInt = 150
    """Labels worth a look that the page shows; all are counted, and all are in the JSON."""
    seed: CountInt = 0
    """Draws the splits, as at export, and the sample of images."""
    split_by: Literal["content", "folder"] = "content"
    """As at export."""
    threads: PositiveInt = 4
    """Threads that read images. Changes no byte of the report."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    split: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    """Names of the splits and their shares, as at export."""
    images_from: Path | None = None
    """Folder to find the images in by their ids, when they were moved since they were labeled."""

    @classmethod
    @cache
    def hints(cls) -> dict[str, Any]:
        """Annotations of the plain values; the others check themselves."""
        others = ("thresholds", "split", "images_from")
        return {name: hint for name, hint in super().hints().items() if name not in others}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_split(self.split)
