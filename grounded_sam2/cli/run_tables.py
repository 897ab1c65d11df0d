"""What commands print of runs: what one call did, and what a store holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounded_sam2.cli.failures import print_few_failures
from grounded_sam2.cli.tables import print_export, say
from grounded_sam2.store import LabelStore, Run, StoreSummary

if TYPE_CHECKING:  # else `info` would load all that makes labels
    from grounded_sam2.demo.run import DemoResult
    from grounded_sam2.demo.run_clips import ClipDemoResult
    from grounded_sam2.engine.image_run import RunSummary
    from grounded_sam2.pipeline import LabelResult, TrackResult

__all__ = [
    "print_clip_demo",
    "print_counts",
    "print_demo",
    "print_label_result",
    "print_run",
    "print_runs",
    "print_stages",
    "print_track_result",
]

_FEW = 5

_SET_ASIDE = {
    "low_confidence": "unsure",
    "low_quality": "with a poor mask",
    "cleaned_up": "doubles or specks",
    "not_wanted": "of captions no longer asked",
}


def print_label_result(result: LabelResult) -> None:
    """What a labeling run did: images, objects per class, failures, time, places."""
    run = result.run
    with LabelStore.open(result.folder) as store:
        print_counts(store, result.summary)
    _print_change(run)
    if run.nothing_to_do:
        say(f"nothing to do: all {run.total} images were settled before")
    else:
        here = run.labeled + run.failed
        say(
            f"{here} images in {run.seconds:.1f} s ({here / run.seconds:.1f} images/s)"
            + (f", {run.decided} of them without a model" if run.decided else "")
            + (f", {run.skipped} settled before" if run.skipped else "")
        )
    say(f"store: {result.folder / LabelStore.FILE_NAME}")
    for summary in result.exports.values():
        print_export(summary)


def print_track_result(result: TrackResult) -> None:
    """What a run over videos did: frames and tracks of each, objects per class, time, places."""
    run = result.run
    table = Table("video", "frames", "tracks", "broken frames", "frames/s")
    for column in table.columns[1:]:
        column.justify = "right"
    for video in run.videos:
        speed = f"{video.frames_now / video.seconds:.1f}" if video.frames_now else ""
        counts = (str(video.frames), str(video.tracks), str(video.broken_frames or ""), speed)
        table.add_row(escape(video.name), *counts)
    Console().print(table)
    with LabelStore.open(result.folder) as store:
        print_counts(store, store.summary(run.run_id))
    for video in run.videos:
        if video.warning is not None:
            say(f"video {video.name}: {video.warning}")
    for video in run.failed:
        say(f"video {video.name} failed: {video.error}")
    if not run.failed and not any(video.frames_now for video in run.videos):
        say("nothing to do: all frames were labeled before")
    say(f"store: {result.folder / LabelStore.FILE_NAME}")
    for path in result.annotated:
        say(f"annotated video: {path}")
    for name, reason in result.not_drawn.items():
        say(f"video {name} was not drawn: {reason}")
    for summary in result.exports.values():
        print_export(summary)


def print_demo(result: DemoResult) -> None:
    """The scores of a demo, and where its files are."""
    print_label_result(result.labels)
    table = Table("", "AP", "AP50", "AP75", title=f"{result.labels.run.total} scenes")
    for name, scores in (("boxes", result.boxes), ("masks", result.masks)):
        table.add_row(name, f"{scores.ap:.3f}", f"{scores.ap50:.3f}", f"{scores.ap75:.3f}")
    Console().print(table)
    say(
        "These numbers say nothing about photographs: the embedded models know only colored "
        "shapes like these."
    )
    say(f"images: {result.images}")
    say(f"ground truth: {result.ground_truth}")
    say(f"contact sheet: {result.contact_sheet}")


def print_clip_demo(result: ClipDemoResult) -> None:
    """The scores of a demo of videos, and where its files are."""
    print_track_result(result.tracks)
    table = Table("J&F", "J", "F", title=f"{result.objects} things in all their frames")
    scores = ((result.region + result.border) / 2, result.region, result.border)
    table.add_row(*(f"{score:.3f}" for score in scores))
    Console().print(table)
    say(
        "These numbers say nothing about other videos: the embedded models know only colored "
        "shapes like these."
    )
    say(f"clips: {result.clips}")
    say(f"contact sheet: {result.contact_sheet}")


def print_stages(run: RunSummary) -> None:
    """How long each stage was at work: the one that is nearly always so sets the pace."""
    table = Table("stage", "threads", "at work", "share", title=f"batches of {run.batch_size}")
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in run.stages:
        share = f"{100 * stage.share(run.seconds):.0f} %"
        table.add_row(stage.name, str(stage.threads), f"{stage.seconds:.1f} s", share)
    Console().print(table)


def _print_change(run: RunSummary) -> None:
    """What was different from the call before."""
    if run.change is not None:
        if run.change.added:
            say(f"new captions: {', '.join(run.change.added)}")
        if run.change.removed:
            say(f"captions no longer asked: {', '.join(run.change.removed)}")
        for caption, before, after in run.change.renamed:
            say(f"class of '{caption}': {before} → {after}")
    if run.removed:
        names = ", ".join(run.removed_ids[:_FEW]) + (" …" if run.removed > _FEW else "")
        what = "labels dropped" if run.pruned else "labels kept; --prune drops them"
        say(f"{run.removed} images are gone ({names}): {what}")


def print_runs(store: LabelStore) -> None:
    """All runs of a store, the current one last."""
    table = Table("run", "labels from", "begun (UTC)", "images", "objects", "failed")
    for run in store.runs():
        counts = store.summary(run.id)
        # The last part of a checkpoint's name says enough.
        models = (f"{role}: {name.split('/')[-1]}" for role, name in run.config.models.items())
        table.add_row(
            str(run.id),
            escape("\n".join(models)),
            run.created_at[:19].replace("T", " "),
            str(counts.images),
            str(counts.objects),
            str(counts.failed),
        )
    Console().print(table)


def print_run(store: LabelStore, run: Run) -> None:
    """Models, ontology, versions, counts and failures of one run."""
    run_config = run.config
    for role, checkpoint in run_config.models.items():
        say(f"{role}: {checkpoint}")
    if run_config.source is not None:
        say(f"images from: {run_config.source}")
    say("captions by class:" if run.ontology else "captions: none, the model's own words")
    for class_name, captions in _captions_by_class(run).items():
        say(f"  {class_name}: {', '.join(captions)}")
    say("versions: " + ", ".join(f"{name} {v}" for name, v in run.versions.items()))
    print_counts(store, store.summary(run.id))


def print_counts(store: LabelStore, summary: StoreSummary) -> None:
    """What a run holds, and the first of what failed."""
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
    for status, count in summary.dropped_candidates.items():
        table.add_row(f"set aside: {_SET_ASIDE[status]}", str(count))
    Console().print(table)
    print_few_failures(store, summary)


def _captions_by_class(run: Run) -> Mapping[str, list[str]]:
    by_class: dict[str, list[str]] = {}
    for caption, class_name in run.ontology or ():
        by_class.setdefault(class_name, []).append(caption)
    return by_class
