"""What commands print: detections, summaries, runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounded_sam2.exporters import ExportSummary
from grounded_sam2.geometry.rle import encode
from grounded_sam2.pipeline import LabelResult
from grounded_sam2.store import LabelStore, Run, StoreSummary

if TYPE_CHECKING:
    import supervision as sv

    from grounded_sam2.demo.run import DemoResult

__all__ = [
    "detections_json",
    "print_demo",
    "print_detections",
    "print_export",
    "print_label_result",
    "print_run",
    "print_runs",
]

_FEW = 5


def print_detections(detections: sv.Detections) -> None:
    """A row for each object."""
    table = Table("class", "caption", "confidence", "mask quality", "box (x1 y1 x2 y2)")
    table.columns[-1].no_wrap = True  # words may break, numbers may not
    for found in _objects(detections):
        table.add_row(
            escape(found["class"]),
            escape(found["caption"]),
            _score(found["confidence"]),
            _score(found["mask_quality"]),
            " ".join(f"{edge:.1f}" for edge in found["box_xyxy"]),
        )
    if len(detections):
        Console().print(table)
    else:
        _say("nothing found")


def detections_json(detections: sv.Detections) -> str:
    """The objects as JSON; masks as COCO run lengths."""
    objects = list(_objects(detections))
    if detections.mask is not None:
        for found, mask in zip(objects, encode(detections.mask), strict=True):
            found["segmentation"] = mask.to_coco()
    return json.dumps({"objects": objects}, ensure_ascii=False, indent=2)


def print_label_result(result: LabelResult) -> None:
    """What a labeling run did: pictures, objects per class, failures, time, places."""
    run = result.run
    with LabelStore.open(result.folder) as store:
        _print_counts(store, result.summary)
    if run.nothing_to_do:
        _say(f"nothing to do: all {run.total} images were settled before")
    else:
        here = run.labeled + run.failed
        _say(
            f"{here} images in {result.seconds:.1f} s ({here / result.seconds:.1f} images/s)"
            + (f", {run.skipped} settled before" if run.skipped else "")
        )
    _say(f"store: {result.folder / LabelStore.FILE_NAME}")
    for summary in result.exports.values():
        print_export(summary)


def print_export(summary: ExportSummary) -> None:
    """Where a dataset is, what it holds and what it lacks."""
    splits = ", ".join(f"{name} {count}" for name, count in summary.images.items())
    _say(
        f"{summary.format}: {summary.folder} "
        f"({splits} images; {sum(summary.objects.values())} objects)"
    )
    for skipped in summary.skipped:
        _say(f"  left out: {skipped.count} images {skipped.reason} (such as {skipped.example})")
    for note in summary.notes:
        _say(f"  note: {note}")


def print_demo(result: DemoResult) -> None:
    """The scores of a demo, and where its files are."""
    print_label_result(result.labels)
    table = Table("", "AP", "AP50", "AP75", title=f"{result.labels.run.total} scenes")
    for name, scores in (("boxes", result.boxes), ("masks", result.masks)):
        table.add_row(name, f"{scores.ap:.3f}", f"{scores.ap50:.3f}", f"{scores.ap75:.3f}")
    Console().print(table)
    _say(
        "These numbers say nothing about photographs: the embedded models know only coloured "
        "shapes like these."
    )
    _say(f"images: {result.images}")
    _say(f"ground truth: {result.ground_truth}")
    _say(f"contact sheet: {result.contact_sheet}")


def print_runs(store: LabelStore) -> None:
    """All runs of a store, the current one last."""
    table = Table("run", "begun (UTC)", "images", "objects", "failed")
    for run in store.runs():
        counts = store.summary(run.id)
        table.add_row(
            str(run.id),
            run.created_at[:19].replace("T", " "),
            str(counts.images),
            str(counts.objects),
            str(counts.failed),
        )
    Console().print(table)


def print_run(store: LabelStore, run: Run) -> None:
    """Models, ontology, versions, counts and failures of one run."""
    recipe = run.recipe
    for role, checkpoint in recipe.models.items():
        _say(f"{role}: {checkpoint}")
    if recipe.source is not None:
        _say(f"images from: {recipe.source}")
    _say("captions by class:" if run.ontology else "captions: none, the model's own words")
    for class_name, captions in _captions_by_class(run).items():
        _say(f"  {class_name}: {', '.join(captions)}")
    _say("versions: " + ", ".join(f"{name} {v}" for name, v in run.versions.items()))
    _print_counts(store, store.summary(run.id))


def _print_counts(store: LabelStore, summary: StoreSummary) -> None:
    table = Table("", "count", title=f"run {summary.run_id}")
    table.columns[1].justify = "right"
    table.add_row("images labeled", str(summary.images))
    table.add_row("  of these background", str(summary.background))
    if summary.pending:
        table.add_row("images to come", str(summary.pending))
    table.add_row("images failed", str(summary.failed))
    table.add_row("objects", str(summary.objects))
    for name, count in summary.objects_per_class.items():
        table.add_row(f"  {escape(name)}", str(count))
    Console().print(table)
    for item, error in islice(store.failures(summary.run_id), _FEW):
        _say(f"failed: {item.item_id}: {error}")
    if summary.failed > _FEW:
        _say(f"… and {summary.failed - _FEW} more failed")


def _captions_by_class(run: Run) -> Mapping[str, list[str]]:
    by_class: dict[str, list[str]] = {}
    for caption, class_name in run.ontology or ():
        by_class.setdefault(class_name, []).append(caption)
    return by_class


def _objects(detections: sv.Detections) -> list[dict[str, Any]]:
    """The objects as plain values, without their masks."""
    confidence = detections.confidence
    return [
        {
            "class": str(detections.data["class_name"][i]),
            "caption": str(detections.data["caption"][i]),
            "confidence": None if confidence is None else _rounded(confidence[i]),
            "mask_quality": _rounded(detections.data["mask_quality"][i]),
            "box_xyxy": [round(float(edge), 2) for edge in detections.xyxy[i]],
        }
        for i in range(len(detections))
    ]


def _rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(float(score), 4)


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


def _say(text: str) -> None:
    # Not through rich: it would break long paths, and take square brackets in them for markup.
    print(text)
