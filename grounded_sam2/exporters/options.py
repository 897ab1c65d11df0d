"""What can be said about an export, and what an export says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.splits import check_split
from grounded_sam2.results import Label

__all__ = ["ExportCounter", "ExportOptions", "ExportSummary", "SkippedImages"]

_IMAGE_MODES = ("copy", "link", "symlink")
_SEGMENTATIONS = ("rle", "polygons")
_SPLITTERS = ("content", "folder")
_FRAME_FORMATS = ("jpg", "png")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export. The defaults give one training set that owns its images.

    Raises:
        ExportError: a value that makes no sense; names it.
    """

    run_id: int | None = None
    """The run to export; the current one if ``None``."""
    split: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    """Names of the splits and their shares, which sum to 1."""
    split_by: Literal["content", "folder"] = "content"
    """What is drawn: each image by its content, or each folder as a whole, so that images of
    one place or one day stay together. A folder that is called like a split is that split."""
    seed: int = 0
    """Another seed draws other images into each split."""
    images: Literal["copy", "link", "symlink"] = "copy"
    """How images come into the dataset. Copies, because some trainers repair damaged images in
    place, and through any kind of link that would be the original. Hard links (copies where the
    file system has none) and symbolic links cost no space."""
    segmentation: Literal["rle", "polygons"] = "rle"
    """For formats that know both (coco, cvat, labelstudio). Polygons are for readers that know
    nothing else: they are simplified, and holes hang on bridges."""
    min_polygon_iou: float = 0.98
    """Polygons are simplified until just before their IoU with the mask falls below this. More
    points, better outlines; 1 is exact."""
    min_confidence: float | None = None
    """Objects that the detector is less sure of are left out; those without a confidence, such as
    what people have drawn, are kept. ``None`` takes the labels as they are; a value below the
    run's own threshold takes more of what the models said."""
    min_mask_quality: float | None = None
    """The same for the predicted IoU of masks."""
    workers: int = 1
    """Processes that outline masks, which is most of the work where a format has outlines; this one
    is the first. Others are started for large exports only, and what is written is the same. As
    with all processes that Python starts, a script needs its ``if __name__ == "__main__":`` then.
    """
    images_from: Path | None = None
    """Folder to find the images in by their ids, when they were moved since they were labeled.
    Videos are found in it by their names."""
    frame_stride: int = 1
    """Takes every so many of the labeled frames of a video: neighbors look much alike."""
    frame_format: Literal["jpg", "png"] = "jpg"
    """How frames of videos are written, where the readers of a format take both: videos have been
    through a lossy codec before, so PNG is many times the bytes for little."""
    frame_quality: int = 95
    """Of frames written as JPEG, 1 to 100. 95 is where the loss can no longer be seen."""

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.images not in _IMAGE_MODES:
            raise ExportError(f"images '{self.images}': must be one of {', '.join(_IMAGE_MODES)}")
        if self.segmentation not in _SEGMENTATIONS:
            raise ExportError(
                f"segmentation '{self.segmentation}': must be one of {', '.join(_SEGMENTATIONS)}"
            )
        if self.split_by not in _SPLITTERS:
            raise ExportError(f"split_by '{self.split_by}': must be one of {', '.join(_SPLITTERS)}")
        if self.frame_format not in _FRAME_FORMATS:
            raise ExportError(
                f"frame_format '{self.frame_format}': must be one of {', '.join(_FRAME_FORMATS)}"
            )
        for name in ("workers", "frame_stride"):
            if getattr(self, name) < 1:
                raise ExportError(f"{name} {getattr(self, name)}: must be 1 or more")
        if not 1 <= self.frame_quality <= 100:
            raise ExportError(f"frame_quality {self.frame_quality}: must lie between 1 and 100")
        for name in ("min_polygon_iou", "min_confidence", "min_mask_quality"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ExportError(f"{name} {value}: must lie between 0 and 1")

    def takes(self, label: Label) -> bool:
        """Whether an object reaches both thresholds."""
        return _reaches(label.confidence, self.min_confidence) and _reaches(
            label.mask_quality, self.min_mask_quality
        )


def _reaches(score: float | None, threshold: float | None) -> bool:
    return score is None or threshold is None or score >= threshold


@dataclass(frozen=True, slots=True)
class SkippedImages:
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
    skipped: tuple[SkippedImages, ...] = ()
    notes: tuple[str, ...] = ()
    """What a user should know about this export, one sentence each."""


class ExportCounter:
    """Counts that an export keeps while it goes."""

    def __init__(self, classes: list[str], splits: Mapping[str, float]) -> None:
        self.images = dict.fromkeys(splits, 0)
        self.objects = dict.fromkeys(classes, 0)
        self._remarks: dict[str, int] = {}
        self._skipped: dict[str, SkippedImages] = {}

    def add(self, label: Label, *, instead_of_mask: str = "written as their box") -> None:
        """Count an object that is in the export; say what became of it if it has no mask."""
        self.objects[label.class_name] += 1
        self.note(f"objects without a mask, {instead_of_mask}", label.mask is None)

    def note(self, text: str, count: int = 1) -> None:
        """Count something that a user should know of, named by what stands before the number."""
        if count:
            self._remarks[text] = self._remarks.get(text, 0) + count

    def skip(self, item_id: str, reason: str) -> None:
        """Note that an image is left out."""
        earlier = self._skipped.get(reason, SkippedImages(reason, 0, item_id))
        self._skipped[reason] = SkippedImages(reason, earlier.count + 1, earlier.example)

    def summary(self, format_name: str, folder: Path, notes: Sequence[str] = ()) -> ExportSummary:
        """The counts as a value.

        Raises:
            ExportError: not one image was exported.
        """
        if not any(self.images.values()):
            skipped = [f"{s.count} {s.reason} (such as '{s.example}')" for s in self.skipped]
            raise ExportError(
                f"export to '{folder}': no images to export; "
                + (
                    "; ".join(skipped)
                    or "not one is labeled; label a folder first, or see what failed"
                )
            )
        return ExportSummary(
            format=format_name,
            folder=folder,
            images=dict(self.images),
            objects=dict(self.objects),
            skipped=self.skipped,
            notes=(*notes, *(f"{text}: {count}" for text, count in self._remarks.items())),
        )

    @property
    def skipped(self) -> tuple[SkippedImages, ...]:
        """Pictures left out so far, by reason."""
        return tuple(self._skipped.values())
