"""Datasets made from a label store, one module of `formats` per format.

    with LabelStore.open("labeled") as store:
        summary = export("yolo", store, "labeled/yolo", ExportOptions(seed=1))

An export is a pure function of the store and the images: it needs no model, runs in constant
memory, and writes the same bytes whenever it is repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.formats.coco import export_coco
from grounded_sam2.exporters.formats.csv import export_csv
from grounded_sam2.exporters.formats.cvat import export_cvat
from grounded_sam2.exporters.formats.davis import export_davis
from grounded_sam2.exporters.formats.hugging_face import export_hugging_face
from grounded_sam2.exporters.formats.jsonl import export_jsonl
from grounded_sam2.exporters.formats.label_studio import export_label_studio
from grounded_sam2.exporters.formats.masks import export_masks
from grounded_sam2.exporters.formats.mots import export_mots
from grounded_sam2.exporters.formats.voc import export_voc
from grounded_sam2.exporters.formats.yolo import export_yolo
from grounded_sam2.exporters.formats.yolo_boxes import export_yolo_boxes
from grounded_sam2.exporters.formats.youtube_vis import export_youtube_vis
from grounded_sam2.exporters.options import ExportOptions, ExportSummary, SkippedImages
from grounded_sam2.exporters.splits import parse_split
from grounded_sam2.exporters.worker_pool import default_workers
from grounded_sam2.store import LabelStore

__all__ = [
    "EXPORTERS",
    "VIDEO_FORMATS",
    "ExportOptions",
    "ExportSummary",
    "Exporter",
    "SkippedImages",
    "check_format",
    "default_workers",
    "export",
    "parse_split",
]


class Exporter(Protocol):
    """A function that writes the labels of a store in one dataset format."""

    def __call__(
        self, store: LabelStore, folder: str | Path, *, options: ExportOptions
    ) -> ExportSummary:
        """Write the dataset to a folder, and replace an earlier export when it is complete.

        Args:
            store: the labels.
            folder: folder of the dataset; created if missing.
            options: options of the export.

        Raises:
            ExportError: the folder holds other files of these names, cannot be written, or there
                is nothing to export.
            StoreError: the store does not have the run, or is damaged.
        """
        ...


EXPORTERS: Mapping[str, Exporter] = {
    "yolo": export_yolo,
    "coco": export_coco,
    "yolo-boxes": export_yolo_boxes,
    "voc": export_voc,
    "masks": export_masks,
    "hf": export_hugging_face,
    "jsonl": export_jsonl,
    "csv": export_csv,
    "cvat": export_cvat,
    "labelstudio": export_label_studio,
    "youtube-vis": export_youtube_vis,
    "mots": export_mots,
    "davis": export_davis,
}
"""The exporter of each format, by the name of the format on the command line."""


VIDEO_FORMATS = frozenset({"youtube-vis", "mots", "davis"})
"""Formats of videos. All others export video frames as images."""


def check_format(name: str, *, images_only: bool = False) -> None:
    """Raise `ExportError`, which lists the valid names, unless a format has this name.

    Args:
        name: name of the format.
        images_only: accept no video formats.
    """
    known = [each for each in EXPORTERS if not (images_only and each in VIDEO_FORMATS)]
    if name not in known:
        problem = "is made of videos" if name in EXPORTERS else "is not known"
        raise ExportError(f"format '{name}' {problem}; choose from {', '.join(known)}")


def export(
    format_name: str,
    store: LabelStore,
    folder: str | Path,
    options: ExportOptions | None = None,
) -> ExportSummary:
    """Write the labels of a store in a format. See `Exporter`.

    Args:
        format_name: name of the format in `EXPORTERS`.
        store: the labels.
        folder: folder of the dataset; created if missing.
        options: options of the export; ``None`` for the defaults.

    Raises:
        ExportError: also if the format is unknown; the message lists the valid names.
    """
    check_format(format_name)
    return EXPORTERS[format_name](store, folder, options=options or ExportOptions())
