"""The videos of a run, for video formats: folder names, splits and tracks.

A folder of such a dataset holds the frames of one video, and readers identify a video by the name
of its folder: sub-folders become underscores, and colliding names get a number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters.dataset_builder import DatasetBuilder
from grounded_sam2.exporters.file_names import ImageFileRules
from grounded_sam2.exporters.images import DatasetImage, write_frames
from grounded_sam2.exporters.splits import assign_split
from grounded_sam2.store import Item, StoredTrack, VideoRecord, frame_id

__all__ = ["VideoSequence", "longest_tracks", "video_sequences"]

_UNSAFE = re.compile(r"[^\w.-]+|^\.+")
"""Separators of name lists, such as spaces and commas; and leading dots, which hide a folder."""


@dataclass(frozen=True, slots=True)
class VideoSequence:
    """A video of a dataset under construction."""

    data: DatasetBuilder
    video: VideoRecord
    name: str
    """Name of its folder, unique in the dataset."""
    split: str

    @property
    def fps(self) -> float | None:
        """Frames per second in the dataset."""
        stride = self.video.stride * self.data.options.frame_stride
        return None if self.video.fps is None else self.video.fps / stride

    def tracks(self) -> list[StoredTrack]:
        """Return the tracks of the video."""
        return self.data.store.tracks(self.data.run_id, self.video.name)

    def write_frames(
        self, target: Callable[[int, int, str], Path], rules: ImageFileRules
    ) -> Generator[DatasetImage, None, None]:
        """Write the frames, and yield them with their labels. See `images.write_frames`."""
        data = self.data
        return write_frames(
            data.store, self.video.name, target, data.options, data.counter, rules=rules
        )


def video_sequences(data: DatasetBuilder) -> Iterator[VideoSequence]:
    """Yield the videos that have labeled frames, ordered by name.

    Raises:
        ExportError: the run has no videos.
    """
    options = data.options
    videos = data.store.videos(options.run_id)
    if not videos:
        raise ExportError(
            f"export to '{data.folder}': run {data.run_id} holds no videos; choose a format of "
            "images, such as coco, or track objects through a video first"
        )
    data.counter.note(
        "videos that are not labeled to their end", sum(not video.finished for video in videos)
    )
    taken: set[str] = set()
    for video in videos:
        if not video.frames:
            continue
        name = video.record.name
        first = Item(frame_id(name, 0), None, group=name)
        split = assign_split(
            first, options.split, options.seed, by_folder=options.split_by == "folder"
        )
        yield VideoSequence(data, video.record, _folder_name(name, taken), split)


def longest_tracks(tracks: Sequence[StoredTrack], number: int) -> list[StoredTrack]:
    """Return up to so many tracks, those that are labeled in the most frames, ordered by id."""
    chosen = sorted(tracks, key=lambda track: (-track.frames, track.track_id))[:number]
    return sorted(chosen, key=lambda track: track.track_id)


def _folder_name(video: str, taken: set[str]) -> str:
    plain = _UNSAFE.sub("_", unicodedata.normalize("NFC", video)) or "video"
    for number in count(1):
        name = plain if number == 1 else f"{plain}_{number}"
        if name.casefold() not in taken:
            taken.add(name.casefold())
            return name
    raise AssertionError("unreachable")
