"""JSON lines, for scripts: one line per image with its objects.

    images/<split>/sub/a.jpg
    labels.jsonl                   {"image":…,"split":…,"width":…,"height":…,"objects":[{…},…]}

The keys are those of `grounded_sam2.exporters.records`. UTF-8; background has an empty list.
"""

from __future__ import annotations

import json
from pathlib import Path

from grounded_sam2.exporters.dataset_builder import build_dataset
from grounded_sam2.exporters.options import ExportOptions, ExportSummary
from grounded_sam2.exporters.records import image_records
from grounded_sam2.store import LabelStore

__all__ = ["export_jsonl"]


def export_jsonl(store: LabelStore, folder: str | Path, *, options: ExportOptions) -> ExportSummary:
    """Write JSON lines. See `grounded_sam2.exporters.Exporter`."""
    entries = ("images", "labels.jsonl")
    with build_dataset("jsonl", store, folder, options, entries=entries) as data:
        with (data.staging / "labels.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            for record, objects in image_records(data):
                record["objects"] = objects
                file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        return data.summary()
