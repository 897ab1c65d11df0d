"""What there is of each video, from the numbers of a survey."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grounded_sam2.report.issues import Doubts
from grounded_sam2.report.scan import Survey
from grounded_sam2.report.statistics import doubtful_objects

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
    doubtful: int
    """Objects with at least one doubt."""
    doubtful_tracks: int
    """Tracks with such an object."""


def video_rows(survey: Survey, doubts: Doubts) -> list[VideoRow]:
    """A row for each video, by name, those without labeled frames included."""
    count = len(survey.videos)
    of_object = survey.video_ids[survey.objects["image"]]
    doubtful, tracks = doubtful_objects(survey, doubts), survey.tracks()
    ids, lengths = np.unique(tracks[tracks >= 0], return_counts=True)
    videos_of_tracks = ids >> 32

    def per_video(videos: NDArray[np.integer]) -> list[int]:
        counts: list[int] = np.bincount(videos[videos >= 0], minlength=count).tolist()
        return counts

    background = per_video(survey.video_ids[survey.object_counts == 0])
    objects, doubtful_ones = per_video(of_object), per_video(of_object[doubtful])
    doubtful_tracks = per_video(np.unique(tracks[doubtful & (tracks >= 0)]) >> 32)
    rows = []
    for number, video in enumerate(survey.videos):
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
                doubtful=doubtful_ones[number],
                doubtful_tracks=doubtful_tracks[number],
            )
        )
    return rows
