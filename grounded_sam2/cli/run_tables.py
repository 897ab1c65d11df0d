"""Printed output: results of labeling, and the runs, videos and failures of a store."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grounded_sam2.cli.tables import count_table, print_export, print_line, terminal_text
from grounded_sam2.store import LabelStore, Run, StoredVideo, StoreSummary, frame_id

if TYPE_CHECKING:  # so that `info` does not import what makes labels
    from grounded_sam2.demo.run import DemoResult
    from grounded_sam2.demo.run_clips import ClipDemoResult
    from grounded_sam2.engine.summaries import ImageRunSummary, VideoRunSummary
    from grounded_sam2.pipeline import LabelResult

__all__ = [
    "print_all_failures",
    "print_clip_demo",
    "print_counts",
    "print_demo",
    "print_label_result",
    "print_run",
    "print_runs",
    "print_stages",
    "print_track_result",
    "print_videos",
]

_FEW = 5
_MAX_VIDEOS = 50

_DROPPED = {
    "low_confidence": "low confidence",
    "low_quality": "low mask quality",
    "cleaned_up": "duplicates and specks",
    "not_wanted": "captions no longer requested",
}

_PLACE = re.compile(r"""(source: )?(image|folder|video) ('([^'\\]|\\.)*'|"([^"\\]|\\.)*"):? """)
"""The beginning of a reason that names its file; dropped where the line names the image already."""


def print_label_result(result: LabelResult[ImageRunSummary]) -> None:
    """Print the result of a run over images: counts, objects per class, failures, time, files."""
    run = result.run
    with LabelStore.open(result.folder) as store:
        print_counts(store, result.summary)
    _print_changes(run)
    if run.nothing_to_do:
        print_line(f"nothing to do: all {run.total} images were processed before")
    else:
        processed = run.labeled + run.failed
        print_line(
            f"{processed} images in {run.seconds:.1f} s ({processed / run.seconds:.1f} images/s)"
            + (f", {run.postprocessed} of them without a model" if run.postprocessed else "")
            + (f", {run.skipped} processed before" if run.skipped else "")
        )
    print_line(f"store: {result.folder / LabelStore.FILE_NAME}")
    for summary in result.exports.values():
        print_export(summary)


def print_track_result(result: LabelResult[VideoRunSummary]) -> None:
    """Print the result of a run over videos: frames and tracks of each, counts per class, files."""
    run = result.run
    table = count_table("video", "frames", "tracks", "broken frames", "frames/s")
    for video in run.videos:
        speed = f"{video.frames_now / video.seconds:.1f}" if video.frames_now else ""
        counts = (str(video.frames), str(video.tracks), str(video.broken_frames or ""), speed)
        table.add_row(escape(video.name), *counts)
    Console().print(table)
    with LabelStore.open(result.folder) as store:
        print_counts(store, store.summary(run.run_id))
    for video in run.videos:
        if video.warning is not None:
            print_line(f"video {video.name}: {video.warning}")
    for video in run.failed:
        print_line(f"video {video.name} failed: {video.error}")
    if not run.failed and not any(video.frames_now for video in run.videos):
        print_line("nothing to do: all frames were labeled before")
    print_line(f"store: {result.folder / LabelStore.FILE_NAME}")
    for path in result.annotated:
        print_line(f"annotated video: {path}")
    for name, reason in result.not_rendered.items():
        print_line(f"video {name} was not drawn: {reason}")
    for summary in result.exports.values():
        print_export(summary)


def print_demo(result: DemoResult) -> None:
    """Print the scores of the image demo, and its files."""
    print_label_result(result.labels)
    table = Table("", "AP", "AP50", "AP75", title=f"{result.labels.run.total} scenes")
    for name, scores in (("boxes", result.boxes), ("masks", result.masks)):
        table.add_row(name, f"{scores.ap:.3f}", f"{scores.ap50:.3f}", f"{scores.ap75:.3f}")
    Console().print(table)
    print_line(
        "These numbers say nothing about photographs: the embedded models know only colored "
        "shapes like these."
    )
    print_line(f"images: {result.images}")
    print_line(f"ground truth: {result.ground_truth}")
    print_line(f"contact sheet: {result.contact_sheet}")


def print_clip_demo(result: ClipDemoResult) -> None:
    """Print the scores of the video demo, and its files."""
    print_track_result(result.tracks)
    scores = result.scores.mean()
    table = Table("J&F", "J", "F", title=f"{len(result.scores)} objects, all frames")
    table.add_row(*(f"{score:.3f}" for score in (scores.j_and_f, scores.region, scores.boundary)))
    Console().print(table)
    print_line(
        "These numbers say nothing about other videos: the embedded models know only colored "
        "shapes like these."
    )
    print_line(f"clips: {result.clips}")
    print_line(f"contact sheet: {result.contact_sheet}")


def print_stages(run: ImageRunSummary) -> None:
    """Print how long each stage worked; one that works nearly all the time sets the pace."""
    table = count_table(
        "stage", "threads", "at work", "share", title=f"batches of {run.batch_size}"
    )
    for stage in run.stages:
        share = f"{100 * stage.share(run.seconds):.0f} %"
        table.add_row(stage.name, str(stage.threads), f"{stage.seconds:.1f} s", share)
    Console().print(table)


def _print_changes(run: ImageRunSummary) -> None:
    """Print what changed in the ontology and the source since the call before."""
    if run.change is not None:
        if run.change.added:
            print_line(f"new captions: {', '.join(run.change.added)}")
        if run.change.removed:
            print_line(f"captions no longer requested: {', '.join(run.change.removed)}")
        for caption, before, after in run.change.renamed:
            print_line(f"class of '{caption}': {before} → {after}")
    if run.removed:
        names = ", ".join(run.removed_ids[:_FEW]) + (" …" if run.removed > _FEW else "")
        labels = "labels dropped" if run.pruned else "labels kept; --prune drops them"
        print_line(f"{run.removed} images are no longer in the source ({names}): {labels}")


def print_runs(store: LabelStore) -> None:
    """Print one row per run of a store, the current one last."""
    table = Table("run", "labels from", "begun (UTC)", "images", "objects", "failed")
    for run in store.runs():
        counts = store.summary(run.id)
        # The last part of a checkpoint's name identifies it.
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
    """Print models, captions, versions, counts and failures of one run."""
    for role, checkpoint in run.config.models.items():
        print_line(f"{role}: {checkpoint}")
    if run.config.source is not None:
        print_line(f"images from: {run.config.source}")
    print_line("captions by class:" if run.ontology else "captions: none, the model's own words")
    for class_name, captions in _captions_by_class(run).items():
        print_line(f"  {class_name}: {', '.join(captions)}")
    print_line("versions: " + ", ".join(f"{name} {v}" for name, v in run.versions.items()))
    summary = store.summary(run.id)
    if not _review_rows(summary):
        print_line(f"reviewed: 0 of {summary.objects} objects; see grounded-sam2 edit --help")
    print_counts(store, summary)


def _review_rows(summary: StoreSummary) -> list[tuple[str, int]]:
    """What people have reviewed; nothing if they have not begun."""
    review = summary.review
    rows = [
        ("objects reviewed", review.accepted),
        ("objects unreviewed", review.unreviewed),
        ("objects rejected", review.rejected),
        ("images reviewed", review.reviewed_images),
        ("images confirmed", review.confirmed_images),
        ("images flagged", review.flagged_images),
    ]
    begun = any(count for name, count in rows if name != "objects unreviewed")
    return rows if begun else []


def print_counts(store: LabelStore, summary: StoreSummary) -> None:
    """Print the counts of a run, and its first failures."""
    table = count_table("", "count", title=f"run {summary.run_id}")
    table.add_row("images labeled", str(summary.images))
    table.add_row("  of these background", str(summary.background))
    if summary.pending:
        table.add_row("images to come", str(summary.pending))
    table.add_row("images failed", str(summary.failed))
    table.add_row("objects", str(summary.objects))
    for name, count in summary.objects_per_class.items():
        table.add_row(f"  {escape(name)}", str(count))
    for name, count in _review_rows(summary):
        table.add_row(name, str(count))
    for status, count in summary.dropped_candidates.items():
        table.add_row(f"dropped: {_DROPPED[status]}", str(count))
    Console().print(table)
    _print_first_failures(store, summary)


def print_videos(store: LabelStore, run_id: int) -> None:
    """Print one row for each of the first 50 videos of a run; nothing for a run over images."""
    videos = store.videos(run_id)
    if not videos:
        return
    table = Table("video", "frames labeled", "tracks", "broken frames", "state")
    for column in table.columns[1:4]:
        column.justify = "right"
    for video in islice(videos, _MAX_VIDEOS):
        table.add_row(
            escape(terminal_text(video.record.name)),
            str(video.frames),
            str(len(store.tracks(run_id, video.record.name))),
            str(video.broken_frames),
            escape(terminal_text(_state(video))),
        )
    Console().print(table)
    if len(videos) > _MAX_VIDEOS:
        print_line(f"… and {len(videos) - _MAX_VIDEOS} more videos")


def _state(video: StoredVideo) -> str:
    if video.error is not None:
        return f"failed: {video.error}"
    if video.finished:
        return "finished"
    of = "" if video.record.frame_count is None else f" of {video.record.frame_count}"
    at = 0 if video.last_index is None else video.last_index
    return f"at frame {at}{of}"


def _print_first_failures(store: LabelStore, summary: StoreSummary) -> None:
    """Print the first failed images, and the command that lists all failures."""
    for item, error in islice(store.failures(summary.run_id), _FEW):
        print_line(f"failed: {item.item_id}: {_without_place(error)}")
    if summary.failed > _FEW:
        run = "" if summary.run_id == store.run().id else f" --run {summary.run_id}"
        folder = shlex.quote(str(store.path.parent))
        print_line(
            f"… and {summary.failed - _FEW} more failed; all of them: "
            f"grounded-sam2 info {folder} --failures{run}"
        )


def print_all_failures(store: LabelStore, run_id: int) -> None:
    """Print every failure of a run, one per line: images, then videos and their broken frames."""
    failed = False
    images = ((item.item_id, error) for item, error in store.failures(run_id))
    videos = chain.from_iterable(
        _video_failures(store, run_id, each) for each in store.videos(run_id)
    )
    for name, error in chain(images, videos):
        failed = True
        print_line(f"{name}: {_without_place(error)}")
    if not failed:
        print_line("nothing failed")


def _video_failures(
    store: LabelStore, run_id: int, video: StoredVideo
) -> Iterator[tuple[str, str]]:
    """Name and reason of a video's failure and of each of its broken frames."""
    name = video.record.name
    if video.error is not None:
        yield name, video.error
    broken = store.broken_frames(run_id, name) if video.broken_frames else []
    for each in broken:
        reason = _without_place(each.reason)
        yield frame_id(name, each.index), f"broken at {each.time:.2f} s: {reason}"
    if video.broken_frames > len(broken):
        more = "more " if broken else ""
        yield name, f"{video.broken_frames - len(broken)} {more}broken frames"


def _without_place(reason: str) -> str:
    place = _PLACE.match(reason)
    return reason if place is None else reason[place.end() :]


def _captions_by_class(run: Run) -> Mapping[str, list[str]]:
    by_class: dict[str, list[str]] = {}
    for caption, class_name in run.ontology or ():
        by_class.setdefault(class_name, []).append(caption)
    return by_class
