"""What can be asked of the videos in a label store: frame by frame, or track by track.

Either way one frame's labels, or one label, are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.results import BrokenFrame, Label, Labels
from grounded_sam2.store.records import Item
from grounded_sam2.store.rows import (
    ITEM_COLUMNS,
    LABEL_COLUMNS,
    item_from_row,
    label_from_row,
    path_from_row,
    utf8_safe,
)
from grounded_sam2.store.run_reader import RunReader
from grounded_sam2.store.video_records import StoredTrack, StoredVideo, VideoRecord

__all__ = ["VideoReader"]

_ITEM = ", ".join(f"i.{name}" for name in ITEM_COLUMNS)
_LABEL = ", ".join(f"o.{name}" for name in LABEL_COLUMNS)
_OBJECTS_OF_VIDEO = "FROM items i JOIN objects o ON o.item_key = i.key WHERE i.video_key = ?"


class VideoReader(RunReader):
    """The videos of a run. See `grounded_sam2.store.reader.StoreReader`."""

    def videos(self, run_id: int | None = None) -> list[StoredVideo]:
        """All videos of a run, by name; ``[]`` for a run of images."""
        return [video for _, video in self._videos("TRUE", self.run(run_id).id)]

    def video(self, run_id: int, name: str) -> StoredVideo | None:
        """One video; ``None`` if the run has none of this name."""
        return next((video for _, video in self._videos_called(run_id, name)), None)

    def tracker_state(self, run_id: int, name: str) -> bytes | None:
        """What the tracker left to go on with an unfinished video; ``None`` if nothing."""
        rows = self._rows(
            "SELECT s.state FROM tracker_states s JOIN videos v ON v.key = s.video_key "
            "WHERE v.run_id = ? AND v.name = ? ORDER BY s.part",
            run_id,
            utf8_safe(name),
        )
        parts = [state for (state,) in rows]
        return b"".join(parts) if parts else None

    def broken_frames(self, run_id: int, name: str) -> list[BrokenFrame]:
        """The first frames of one video that could not be read, in order: at most 100.

        How many there are in all is in `StoredVideo.broken_frames`.

        Raises:
            StoreError: the run has no such video.
        """
        key, _ = self._key_and_size(run_id, name)
        rows = self._rows(
            "SELECT frame_index, frame_time, reason FROM broken_frames WHERE video_key = ? "
            "ORDER BY position",
            key,
        )
        return [BrokenFrame(*row) for row in rows]

    def frames(self, run_id: int, name: str) -> Iterator[tuple[Item, Labels]]:
        """Labeled frames of one video in order, those without objects included.

        Raises:
            StoreError: the run has no such video.
        """
        yield from self._frames(*self._video(run_id, name))

    def tracks(self, run_id: int, name: str) -> list[StoredTrack]:
        """The tracks of one video, by their ids; ``[]`` if nothing was found in it.

        Raises:
            StoreError: the run has no such video.
        """
        key, _ = self._key_and_size(run_id, name)
        rows = self._rows(
            "SELECT o.track_id, o.class_name, count(*), min(i.frame_index), max(i.frame_index) "
            f"{_OBJECTS_OF_VIDEO} AND o.track_id IS NOT NULL "
            "GROUP BY o.track_id, o.class_name ORDER BY o.track_id, count(*) DESC, o.class_name",
            key,
        )
        tracks = []
        for track_id, classes in groupby(rows, key=lambda row: row[0]):
            _, names, counts, firsts, lasts = zip(*classes, strict=True)
            tracks.append(StoredTrack(track_id, names[0], sum(counts), min(firsts), max(lasts)))
        return tracks

    def labels_by_track(self, run_id: int, name: str) -> Iterator[tuple[int, Label]]:
        """Labels of one video that belong to tracks, track by track and frame by frame.

        What is sorted goes to a temporary file where it is large.

        Yields:
            The index of the frame, and the label.

        Raises:
            StoreError: the run has no such video.
        """
        key, size_hw = self._key_and_size(run_id, name)
        places = self._rows(
            f"SELECT i.frame_index, o.key {_OBJECTS_OF_VIDEO} AND o.track_id IS NOT NULL "
            "ORDER BY o.track_id, i.frame_index, o.position",
            key,
        )
        for index, object_key in places:
            (row,) = self._rows(f"SELECT {_LABEL} FROM objects o WHERE o.key = ?", object_key)
            yield index, label_from_row(row, size_hw)

    def _video(self, run_id: int, name: str) -> tuple[int, StoredVideo]:
        for found in self._videos_called(run_id, name):
            return found
        raise self._unknown_video(run_id, name)

    def _key_and_size(self, run_id: int, name: str) -> tuple[int, tuple[int, int]]:
        """As much of a video as does not take counting its frames."""
        for key, height, width in self._rows(
            "SELECT key, height, width FROM videos WHERE run_id = ? AND name = ?",
            run_id,
            utf8_safe(name),
        ):
            return key, (height, width)
        raise self._unknown_video(run_id, name)

    def _unknown_video(self, run_id: int, name: str) -> StoreError:
        return StoreError(f"run {run_id} of label store '{self.path}' has no video '{name}'")

    def _videos_called(self, run_id: int, name: str) -> Iterator[tuple[int, StoredVideo]]:
        return self._videos("v.name = ?", run_id, utf8_safe(name))

    def _videos(
        self, condition: str, run_id: int, *values: object
    ) -> Iterator[tuple[int, StoredVideo]]:
        """Keys and videos, by name."""
        for key, frames, last_index, *row in self._rows(
            "SELECT v.key, (SELECT count(*) FROM items i WHERE i.video_key = v.key), "
            "(SELECT max(i.frame_index) FROM items i WHERE i.video_key = v.key), v.name, "
            "v.path, v.content_hash, v.file_stamp, v.height, v.width, v.fps, v.frame_count, "
            "v.stride, v.broken_frames, v.finished, v.error FROM videos v "
            f"WHERE v.run_id = ? AND {condition} ORDER BY v.name",
            run_id,
            *values,
        ):
            yield key, self._stored_video(frames, last_index, row)

    def _stored_video(self, frames: int, last_index: int | None, row: Sequence[Any]) -> StoredVideo:
        name, path, content_hash, stamp, height, width, fps, frame_count, stride, *progress = row
        broken_frames, finished, error = progress
        record = VideoRecord(
            name=name,
            path=path_from_row(path, self._root),
            size_hw=(height, width),
            fps=fps,
            frame_count=frame_count,
            stride=stride,
            content_hash=content_hash,
            file_stamp=stamp,
        )
        return StoredVideo(record, frames, last_index, broken_frames, bool(finished), error)

    def _frames(self, key: int, video: StoredVideo) -> Iterator[tuple[Item, Labels]]:
        found = self._labels("i.video_key = ?", "i.frame_index, o.position", key)
        for item, labels in found:
            yield _of_video(item, video.record), labels

    def _frame_items(self, key: int, video: StoredVideo) -> Iterator[Item]:
        for row in self._rows(
            f"SELECT {_ITEM} FROM items i WHERE i.video_key = ? AND i.status = 'done' "
            "ORDER BY i.frame_index",
            key,
        ):
            yield _of_video(item_from_row(row, self._root), video.record)

    def _labels(self, condition: str, order: str, *values: object) -> Iterator[tuple[Item, Labels]]:
        """Labeled items and their objects, as the store has them of a frame."""
        rows = self._rows(
            f"SELECT {_ITEM}, {_LABEL} FROM items i LEFT JOIN objects o ON o.item_key = i.key "
            f"WHERE {condition} AND i.status = 'done' ORDER BY {order}",
            *values,
        )
        width = len(ITEM_COLUMNS)
        for columns, of_item in groupby(rows, key=lambda row: row[:width]):
            item = item_from_row(columns, self._root)
            assert item.size_hw is not None, "a labeled item has a size"
            objects = tuple(
                label_from_row(row[width:], item.size_hw)
                for row in of_item
                if row[width] is not None  # the empty right side of an item without objects
            )
            yield item, Labels(size_hw=item.size_hw, objects=objects)


def _of_video(item: Item, video: VideoRecord) -> Item:
    """A frame's item with what is stored once for all frames."""
    return replace(
        item, path=video.path, content_hash=video.content_hash, file_stamp=video.file_stamp
    )
