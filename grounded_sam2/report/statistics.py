"""Statistics of a run: counts per class, split and video, and histograms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.report.issues import Issues
from grounded_sam2.report.options import Thresholds
from grounded_sam2.report.scan import Scan

__all__ = [
    "ClassRow",
    "Histogram",
    "VideoRow",
    "class_rows",
    "flagged_objects",
    "histograms",
    "video_rows",
]

_SMALLEST_DECADE = -6
"""Sizes begin at a millionth of an image: a pixel of a megapixel."""
_BINS_PER_DECADE = 10
_SCORE_BINS = 20


@dataclass(frozen=True, slots=True)
class ClassRow:
    """Counts and medians of one class."""

    name: str
    class_id: int
    objects: int
    objects_per_split: tuple[int, ...]
    images: int
    images_per_split: tuple[int, ...]
    tracks: int
    """Tracks that have this class in any frame."""
    boxes_only: int
    """Objects without a mask."""
    by_people: int
    median_area_fraction: float | None
    """Median area as a fraction of the image's; ``None`` without objects."""
    median_confidence: float | None
    median_quality: float | None
    flagged: int
    """Objects with at least one issue."""


@dataclass(frozen=True, slots=True)
class VideoRow:
    """Counts of one video."""

    name: str
    state: str
    """``finished``, ``unfinished`` or ``failed``."""
    frames: int
    """Labeled frames."""
    background: int
    """Labeled frames without objects."""
    broken: int
    """Frames that could not be decoded."""
    objects: int
    tracks: int
    median_track: int | None
    """Median number of frames of a track; ``None`` without tracks."""
    flagged: int
    """Objects with at least one issue."""
    flagged_tracks: int
    """Tracks with such an object."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Distribution of a number, by class."""

    name: str
    edges: tuple[float, ...]
    """Bin edges, one more than bins. The last bin includes its upper edge."""
    counts: tuple[tuple[int, ...], ...]
    """Per class, per bin."""
    unknown: tuple[int, ...]
    """Per class: objects whose number is not known."""
    bins_per_decade: int = 0
    """Of a logarithmic histogram; 0 for a linear one."""
    limit: float | None = None
    """Threshold below which a value is an issue."""
    below: tuple[int, ...] = ()
    """Per class: objects below it."""


def class_rows(scan: Scan, issues: Issues) -> list[ClassRow]:
    """Return a row for each class, in the order of the classes, also for those without objects."""
    objects = scan.objects
    splits = scan.split_ids[objects["image"]]
    flagged, tracks = flagged_objects(scan, issues), scan.tracks()
    rows = []
    for class_id, name in enumerate(scan.classes):
        here = objects["class_id"] == class_id
        images = np.unique(objects["image"][here])
        rows.append(
            ClassRow(
                name=name,
                class_id=class_id,
                objects=int(here.sum()),
                objects_per_split=_per_split(splits[here], scan.splits),
                images=len(images),
                images_per_split=_per_split(scan.split_ids[images], scan.splits),
                tracks=len(np.unique(tracks[here & (tracks >= 0)])),
                boxes_only=int((here & ~objects["has_mask"]).sum()),
                by_people=int((here & objects["by_person"]).sum()),
                median_area_fraction=_median(objects["area_fraction"][here]),
                median_confidence=_median(objects["confidence"][here]),
                median_quality=_median(objects["quality"][here]),
                flagged=int((here & flagged).sum()),
            )
        )
    return rows


def video_rows(scan: Scan, issues: Issues) -> list[VideoRow]:
    """Return a row for each video, by name, also for those without labeled frames."""
    count = len(scan.videos)
    video_of_object = scan.video_ids[scan.objects["image"]]
    flagged, tracks = flagged_objects(scan, issues), scan.tracks()
    track_ids, track_lengths = np.unique(tracks[tracks >= 0], return_counts=True)
    video_of_track = track_ids >> 32

    def per_video(videos: NDArray[np.integer]) -> list[int]:
        counts: list[int] = np.bincount(videos[videos >= 0], minlength=count).tolist()
        return counts

    background = per_video(scan.video_ids[scan.object_counts == 0])
    objects, flagged_counts = per_video(video_of_object), per_video(video_of_object[flagged])
    flagged_tracks = per_video(np.unique(tracks[flagged & (tracks >= 0)]) >> 32)
    rows = []
    for number, video in enumerate(scan.videos):
        lengths = track_lengths[video_of_track == number]
        incomplete = "failed" if video.error is not None else "unfinished"
        rows.append(
            VideoRow(
                name=video.record.name,
                state="finished" if video.finished else incomplete,
                frames=video.frames,
                background=background[number],
                broken=video.broken_frames,
                objects=objects[number],
                tracks=len(lengths),
                median_track=int(np.median(lengths)) if lengths.size else None,
                flagged=flagged_counts[number],
                flagged_tracks=flagged_tracks[number],
            )
        )
    return rows


def flagged_objects(scan: Scan, issues: Issues) -> NDArray[np.bool_]:
    """Return which objects have an issue: ``(objects,)``."""
    flagged = np.zeros(len(scan.objects), np.bool_)
    of_labels = issues[issues["position"] >= 0]
    flagged[scan.first_objects[of_labels["image"]] + of_labels["position"]] = True
    return flagged


def histograms(scan: Scan, thresholds: Thresholds) -> list[Histogram]:
    """Return histograms of size (area fraction, logarithmic), confidence and mask quality."""
    objects, classes = scan.objects, len(scan.classes)
    decades = np.linspace(_SMALLEST_DECADE, 0, -_SMALLEST_DECADE * _BINS_PER_DECADE + 1)
    areas = np.where(objects["area_fraction"] > 0, objects["area_fraction"], np.nan)
    size = _histogram("size", 10**decades, areas, objects["class_id"], classes)
    scores = []
    for name, limit in (
        ("confidence", thresholds.low_confidence),
        ("quality", thresholds.low_quality),
    ):
        edges = np.linspace(0, 1, _SCORE_BINS + 1)
        chart = _histogram(name, edges, objects[name], objects["class_id"], classes)
        below = np.bincount(objects["class_id"][objects[name] < limit], minlength=classes)
        scores.append(replace(chart, limit=limit, below=tuple(below.tolist())))
    return [replace(size, bins_per_decade=_BINS_PER_DECADE), *scores]


def _histogram(
    name: str,
    edges: NDArray[np.float64],
    values: NDArray[np.float64],
    class_ids: NDArray[np.int32],
    classes: int,
) -> Histogram:
    known = ~np.isnan(values)
    bins = np.clip(np.searchsorted(edges, values[known], side="right") - 1, 0, len(edges) - 2)
    counts = np.zeros((classes, len(edges) - 1), np.int64)
    np.add.at(counts, (class_ids[known], bins), 1)
    return Histogram(
        name=name,
        edges=tuple(edges.tolist()),
        counts=tuple(tuple(row) for row in counts.tolist()),
        unknown=tuple(np.bincount(class_ids[~known], minlength=classes).tolist()),
    )


def _per_split(split_ids: NDArray[np.int32], splits: Sequence[str]) -> tuple[int, ...]:
    return tuple(np.bincount(split_ids, minlength=len(splits)).tolist())


def _median(values: NDArray[np.floating]) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
