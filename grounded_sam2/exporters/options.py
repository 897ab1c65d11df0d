"""What can be said about an export, and what an export says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.splits import check_split

__all__ = ["ExportOptions", "ExportSummary", "Skipped", "Tally"]

_IMAGE_MODES = ("copy", "link", "symlink")
_SEGMENTATIONS = ("rle", "polygons")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export. The defaults give one training set that owns its pictures.

    Raises:
        ExportError: a value that makes no sense; names it.
    """

    run_id: int | None = None
    """The run to export; the current one if ``None``."""
    split: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    """Names of the splits and their shares, which sum to 1."""
    seed: int = 0
    """Another seed draws other pictures into each split."""
    images: Literal["copy", "link", "symlink"] = "copy"
    """How pictures come into the dataset. Copies, because some trainers repair damaged pictures in
    place, and through any kind of link that would be the original. Hard links (copies where the
    file system has none) and symbolic links cost no space."""
    segmentation: Literal["rle", "polygons"] = "rle"
    """COCO only. Polygons are for readers that know nothing else: they are simplified, and holes
    hang on bridges."""
    min_polygon_iou: float = 0.98
    """Polygons are simplified until just before their IoU with the mask falls below this."""
    pictures_from: Path | None = None
    """Folder to find the pictures in by their ids, when they were moved since they were labeled."""

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.images not in _IMAGE_MODES:
            raise ExportError(f"images '{self.images}': must be one of {', '.join(_IMAGE_MODES)}")
        if self.segmentation not in _SEGMENTATIONS:
            raise ExportError(
                f"segmentation '{self.segmentation}': must be one of {', '.join(_SEGMENTATIONS)}"
            )
        if not 0 <= self.min_polygon_iou <= 1:
            raise ExportError(f"min_polygon_iou {self.min_polygon_iou}: must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Pictures that are not in the export, for one reason."""

    reason: str
    count: int
    example: str
    """Id of the first of them."""


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export holds, and what it could not hold."""

    format: str
    folder: Path
    images: Mapping[str, int]
    """Pictures per split."""
    objects: Mapping[str, int]
    """Objects per class, in the order of the classes, those without any included."""
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    """What a user should know about this export, one sentence each."""


class Tally:
    """Counts that an export keeps while it goes."""

    def __init__(self, classes: list[str], splits: Mapping[str, float]) -> None:
        self.images = dict.fromkeys(splits, 0)
        self.objects = dict.fromkeys(classes, 0)
        self.boxes_for_masks = 0
        """Objects without a mask, exported as the four corners of their box."""
        self.copied_links = 0
        """Pictures that could not be linked."""
        self._skipped: dict[str, Skipped] = {}

    def skip(self, item_id: str, reason: str) -> None:
        """Note that a picture is left out."""
        earlier = self._skipped.get(reason, Skipped(reason, 0, item_id))
        self._skipped[reason] = Skipped(reason, earlier.count + 1, earlier.example)

    def summary(self, format_name: str, folder: Path, notes: list[str]) -> ExportSummary:
        """The counts as a value.

        Raises:
            ExportError: not one picture was exported.
        """
        if not any(self.images.values()):
            skipped = [f"{s.count} {s.reason} (such as '{s.example}')" for s in self.skipped]
            raise ExportError(
                f"export to '{folder}': no pictures to export; "
                + ("; ".join(skipped) or "nothing was labeled, label a folder first")
            )
        if self.boxes_for_masks:
            notes = [
                *notes,
                f"objects without a mask, written as their box: {self.boxes_for_masks}",
            ]
        if self.copied_links:
            notes = [
                *notes,
                f"pictures that could not be linked and were copied: {self.copied_links}",
            ]
        return ExportSummary(
            format=format_name,
            folder=folder,
            images=dict(self.images),
            objects=dict(self.objects),
            skipped=self.skipped,
            notes=tuple(notes),
        )

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Pictures left out so far, by reason."""
        return tuple(self._skipped.values())
