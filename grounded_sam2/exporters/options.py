"""Options of an export, and the summary that an export returns."""

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
_SPLIT_KEYS = ("content", "folder")
_FRAME_FORMATS = ("jpg", "png")
_UNREVIEWED = (None, "as-is", "skip")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an export. The defaults write one training split with copies of the images.

    Raises:
        ExportError: an invalid value; the message names it.
    """

    run_id: int | None = None
    """The run to export; ``None`` for the current one."""
    split: Mapping[str, float] = field(default_factory=lambda: {"train": 1.0})
    """Share of each split by its name. Shares sum to 1."""
    split_by: Literal["content", "folder"] = "content"
    """Unit of the split: each image by its content, or each folder as a whole, so that images of
    one place or one day stay together. A folder that is named like a split is that split."""
    seed: int = 0
    """Seed of the split."""
    images: Literal["copy", "link", "symlink"] = "copy"
    """How images get into the dataset. Copies are the default, because some trainers repair damaged
    images in place, which through any link would change the original. Hard links (copies where the
    file system has none) and symbolic links take no space."""
    segmentation: Literal["rle", "polygons"] = "rle"
    """Mask representation of formats that support both (coco, cvat, labelstudio). Polygons are for
    readers without RLE: they are simplified, and bridges connect holes to outlines."""
    min_polygon_iou: float = 0.98
    """Lower bound of the IoU of a simplified polygon with its mask. Higher values keep more points;
    1 is exact."""
    min_confidence: float | None = None
    """Objects with a lower detector confidence are left out. Objects without a confidence, such as
    those drawn by people, are kept. ``None`` exports the labels as they are; a value below the
    run's own threshold adds stored candidates."""
    min_mask_quality: float | None = None
    """The same for the predicted IoU of masks."""
    reviewed_only: bool = False
    """Only images that a person has reviewed: of which anything was decided, or which were
    confirmed. Unreviewed objects in them are left out, unless `unreviewed` is ``as-is``."""
    unreviewed: Literal["as-is", "skip"] | None = None
    """Objects that nobody has decided about: exported ``as-is``, or left out (``skip``), and with
    them images of which nothing was reviewed: they would look like background. ``None`` is ``skip``
    with `reviewed_only`, ``as-is`` without."""
    workers: int = 1
    """Number of processes that convert masks to outlines, which dominates the time of formats with
    outlines; this process is one of them. Others start for large exports only, and the output does
    not depend on their number. As always with ``multiprocessing``, a script then needs
    ``if __name__ == "__main__":``."""
    images_from: Path | None = None
    """Folder that holds the images by their ids, if they moved after labeling. Videos are found in
    it by their names."""
    frame_stride: int = 1
    """Export every n-th labeled frame of a video: neighboring frames are much alike."""
    frame_format: Literal["jpg", "png"] = "jpg"
    """File type of video frames, where the readers of a format accept both. Videos are already
    compressed with loss, so PNG takes many times the bytes for little gain."""
    frame_quality: int = 95
    """JPEG quality of video frames, 1 to 100. The loss is invisible from 95."""

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.images not in _IMAGE_MODES:
            raise ExportError(f"images '{self.images}': must be one of {', '.join(_IMAGE_MODES)}")
        if self.segmentation not in _SEGMENTATIONS:
            raise ExportError(
                f"segmentation '{self.segmentation}': must be one of {', '.join(_SEGMENTATIONS)}"
            )
        if self.split_by not in _SPLIT_KEYS:
            raise ExportError(
                f"split_by '{self.split_by}': must be one of {', '.join(_SPLIT_KEYS)}"
            )
        if self.frame_format not in _FRAME_FORMATS:
            raise ExportError(
                f"frame_format '{self.frame_format}': must be one of {', '.join(_FRAME_FORMATS)}"
            )
        if self.unreviewed not in _UNREVIEWED:
            raise ExportError(f"unreviewed '{self.unreviewed}': must be 'as-is' or 'skip'")
        for name in ("workers", "frame_stride"):
            if getattr(self, name) < 1:
                raise ExportError(f"{name} {getattr(self, name)}: must be 1 or more")
        if not 1 <= self.frame_quality <= 100:
            raise ExportError(f"frame_quality {self.frame_quality}: must lie between 1 and 100")
        for name in ("min_polygon_iou", "min_confidence", "min_mask_quality"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ExportError(f"{name} {value}: must lie between 0 and 1")

    @property
    def skips_unreviewed_objects(self) -> bool:
        """Whether objects that nobody has decided about are left out."""
        return self.unreviewed == "skip" or (self.reviewed_only and self.unreviewed is None)

    @property
    def skips_unreviewed_images(self) -> bool:
        """Whether images are left out of which nothing was reviewed."""
        return self.reviewed_only or self.unreviewed == "skip"

    def accepts(self, label: Label) -> bool:
        """Return whether an object is exported.

        It has to reach both thresholds, which a missing score does, and may have to be reviewed. An
        object that a person accepted always is.
        """
        if label.review == "accepted":
            return True
        if self.skips_unreviewed_objects:
            return False
        return _reaches(label.confidence, self.min_confidence) and _reaches(
            label.mask_quality, self.min_mask_quality
        )


def _reaches(score: float | None, threshold: float | None) -> bool:
    return score is None or threshold is None or score >= threshold


@dataclass(frozen=True, slots=True)
class SkippedImages:
    """Images that are missing from an export, for one reason."""

    reason: str
    """Predicate that completes "so many images …", such as ``are gone``."""
    count: int
    example: str
    """Id of the first of them."""


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """Counts of a finished export."""

    format: str
    folder: Path
    images: Mapping[str, int]
    """Number of images per split."""
    objects: Mapping[str, int]
    """Number of objects per class, in the order of the classes, including classes without any."""
    skipped: tuple[SkippedImages, ...] = ()
    notes: tuple[str, ...] = ()
    """Remarks for the user, one each."""


class ExportCounter:
    """Counters of a running export."""

    def __init__(self, classes: list[str], splits: Mapping[str, float]) -> None:
        self.images = dict.fromkeys(splits, 0)
        self.objects = dict.fromkeys(classes, 0)
        self._notes: dict[str, int] = {}
        self._skipped: dict[str, SkippedImages] = {}

    def add(self, label: Label, *, without_mask: str = "written as their box") -> None:
        """Count an exported object; if it has no mask, note how it was exported instead."""
        self.objects[label.class_name] += 1
        self.note(f"objects without a mask, {without_mask}", label.mask is None)

    def note(self, text: str, count: int = 1) -> None:
        """Add to the count of a remark for the user, shown as ``<text>: <count>``."""
        if count:
            self._notes[text] = self._notes.get(text, 0) + count

    def skip(self, item_id: str, reason: str) -> None:
        """Count an image that is left out."""
        earlier = self._skipped.get(reason, SkippedImages(reason, 0, item_id))
        self._skipped[reason] = SkippedImages(reason, earlier.count + 1, earlier.example)

    def summary(self, format_name: str, folder: Path, notes: Sequence[str] = ()) -> ExportSummary:
        """Return the counts as a value.

        Args:
            format_name: name of the format.
            folder: folder of the export.
            notes: further remarks, shown first.

        Raises:
            ExportError: no image was exported.
        """
        skipped = tuple(self._skipped.values())
        if not any(self.images.values()):
            reasons = [f"{s.count} {s.reason} (such as '{s.example}')" for s in skipped]
            raise ExportError(
                f"export to '{folder}': no images to export; "
                + (
                    "; ".join(reasons)
                    or "not one is labeled; label a folder first, or see what failed"
                )
            )
        return ExportSummary(
            format=format_name,
            folder=folder,
            images=dict(self.images),
            objects=dict(self.objects),
            skipped=skipped,
            notes=(*notes, *(f"{text}: {count}" for text, count in self._notes.items())),
        )
