"""The videos of a run, for formats that are made of videos: what each is called, and its tracks.

A folder of such a dataset holds the frames of one video, and readers know a video by the name of
its folder: sub-folders become underscores, and names that would be one are told apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
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
"""What lists of names, separated by spaces or commas, cannot hold; and what hides a folder."""


@dataclass(frozen=True, slots=True)
class VideoSequence:
    """A video of a dataset that is being built."""

    data: DatasetBuilder
    video: VideoRecord
    name: str
    """Of its folder, unlike all others."""
    split: str

    @property
    def fps(self) -> float | None:
        """Frames per second in the dataset."""
        steps = self.video.stride * self.data.options.frame_stride
        return None if self.video.fps is None else self.video.fps / steps

    def tracks(self) -> list[StoredTrack]:
        """The tracks of the video."""
        return self.data.store.tracks(self.data.run_id, self.video.name)

    def place(
        self, target: Callable[[int, int, str], Path], rules: ImageFileRules
    ) -> Iterator[DatasetImage]:
        """Put the frames in place and give their labels. See `write_frames`."""
        data = self.data
        return write_frames(
            data.store, self.video.name, target, data.options, data.counter, rules=rules
        )


def video_sequences(data: DatasetBuilder) -> Iterator[VideoSequence]:
    """The videos that have labeled frames, by name.

    Raises:
        ExportError: the run has no videos.
    """
    options = data.options
    videos = data.store.videos(options.run_id)
    if not videos:
        raise ExportError(
            f"export to '{data.folder}': run {data.run_id} holds no videos; choose a format of "
            "pictures, such as coco, or track objects through a video first"
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


def longest_tracks(tracks: Sequence[StoredTrack], most: int) -> list[StoredTrack]:
    """As many tracks as there is room for, those that are labeled in the most frames, by ids."""
    chosen = sorted(tracks, key=lambda track: (-track.frames, track.track_id))[:most]
    return sorted(chosen, key=lambda track: track.track_id)


def _folder_name(video: str, taken: set[str]) -> str:
    plain = _UNSAFE.sub("_", unicodedata.normalize("NFC", video)) or "video"
    for number in count(1):
        name = plain if number == 1 else f"{plain}_{number}"
        if name.casefold() not in taken:
            taken.add(name.casefold())
            return name
    raise AssertionError("unreachable")
