"""What there is of each video, from the numbers of a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.report.issues import Issues
from grounded_sam2.report.scan import Scan
from grounded_sam2.report.statistics import flagged_objects

__all__ = ["VideoRow", "video_rows"]


@dataclass(frozen=True, slots=True)
class VideoRow:
    """What there is of one video."""

    name: str
    state: str
    """``finished``, ``unfinished`` or ``failed``."""
    frames: int
    """Labeled ones."""
    background: int
    """Of these, those without objects."""
    broken: int
    """Frames that could not be decoded."""
    objects: int
    tracks: int
    median_track: int | None
    """Frames of a track; ``None`` where there is none."""
    flagged: int
    """Objects with at least one issue."""
    flagged_tracks: int
    """Tracks with such an object."""


def video_rows(scan: Scan, issues: Issues) -> list[VideoRow]:
    """A row for each video, by name, those without labeled frames included."""
    count = len(scan.videos)
    of_object = scan.video_ids[scan.objects["image"]]
    flagged, tracks = flagged_objects(scan, issues), scan.tracks()
    ids, lengths = np.unique(tracks[tracks >= 0], return_counts=True)
    videos_of_tracks = ids >> 32

    def per_video(videos: NDArray[np.integer]) -> list[int]:
        counts: list[int] = np.bincount(videos[videos >= 0], minlength=count).tolist()
        return counts

    background = per_video(scan.video_ids[scan.object_counts == 0])
    objects, flagged_counts = per_video(of_object), per_video(of_object[flagged])
    flagged_tracks = per_video(np.unique(tracks[flagged & (tracks >= 0)]) >> 32)
    rows = []
    for number, video in enumerate(scan.videos):
        here = lengths[videos_of_tracks == number]
        state = "failed" if video.error is not None else "unfinished"
        rows.append(
            VideoRow(
                name=video.record.name,
                state="finished" if video.finished else state,
                frames=video.frames,
                background=background[number],
                broken=video.broken_frames,
                objects=objects[number],
                tracks=len(here),
                median_track=int(np.median(here)) if here.size else None,
                flagged=flagged_counts[number],
                flagged_tracks=flagged_tracks[number],
            )
        )
    return rows
