"""Videos of a label store: their progress, their frames, and the tracker state to continue from.

A batch of frames and the tracker state after it are one transaction, so that a killed run continues
from its last batch as if it had not been interrupted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from grounded_sam2.errors import StoreError
from grounded_sam2.results import BrokenFrame, Label, Labels, TrackedFrame
from grounded_sam2.store.connection import StoreConnection
from grounded_sam2.store.items import Items
from grounded_sam2.store.objects import Objects
from grounded_sam2.store.records import Item, StoredTrack, StoredVideo, VideoRecord, frame_id
from grounded_sam2.store.rows import path_from_row, path_to_row, utf8_safe

__all__ = ["Videos"]

_RECORD = (
    "v.name, v.path, v.content_hash, v.file_stamp, v.height, v.width, v.fps, v.frame_count, "
    "v.stride"
)
_STATE_PART_BYTES = 64 << 20
"""Bytes of a tracker state in one row. SQLite takes 1 GB, which the state of a few thousand objects
exceeds, and copies each row in memory."""
_MAX_BROKEN_FRAMES = 100
"""Broken frames kept of each video: the reasons of a damaged file are all the same."""


class Videos:
    """Tables ``videos``, ``broken_frames`` and ``tracker_states``, and frames in ``items``.

    Args:
        connection: the store's file.
        items: frames without their labels.
        objects: labels of the frames.
        state_part_bytes: a tracker state is split into rows of this size.
    """

    def __init__(
        self,
        connection: StoreConnection,
        items: Items,
        objects: Objects,
        *,
        state_part_bytes: int = _STATE_PART_BYTES,
    ) -> None:
        self._connection = connection
        self._items = items
        self._objects = objects
        self._state_part_bytes = state_part_bytes

    # Writing

    def begin(self, run_id: int, record: VideoRecord, *, restart: bool) -> StoredVideo:
        """Continue a video, or begin it; see `LabelStore.begin_video`."""
        known = self.get(run_id, record.name)
        height, width = record.size_hw
        name = utf8_safe(record.name)
        row = {
            "path": path_to_row(record.path, self._connection.root),
            "content_hash": record.content_hash,
            "file_stamp": record.file_stamp,
            "height": height,
            "width": width,
            "fps": record.fps,
            "frame_count": record.frame_count,
            "stride": record.stride,
            "error": None,
        }
        with self._connection.transaction() as sql:
            if known is not None and (restart or not record.continues(known.record)):
                sql.execute("DELETE FROM videos WHERE run_id = ? AND name = ?", (run_id, name))
            sql.execute(  # of an attempt that failed before it began
                "DELETE FROM items WHERE run_id = ? AND item_id = ? AND video_key IS NULL "
                "AND status = 'failed'",
                (run_id, name),
            )
            sql.execute(
                f"INSERT INTO videos (run_id, name, {', '.join(row)}) "
                f"VALUES (?, ?{', ?' * len(row)}) ON CONFLICT (run_id, name) DO UPDATE SET "
                f"{', '.join(f'{column} = excluded.{column}' for column in row)}",
                (run_id, name, *row.values()),
            )
        _, video = self._require(run_id, record.name)
        return video

    def write_frames(
        self,
        run_id: int,
        name: str,
        frames: Sequence[TrackedFrame],
        *,
        state: bytes | None,
        broken_frames: int | None,
        broken: Sequence[BrokenFrame],
        finished: bool,
    ) -> None:
        """Write a batch of frames in one transaction; see `LabelStore.write_frames`."""
        key, video = self._key_and_record(run_id, name)
        with self._connection.transaction() as sql:
            for frame in frames:
                self._write_frame(sql, run_id, key, video, frame)
            sql.execute(
                "UPDATE videos SET broken_frames = coalesce(?, broken_frames), "
                "finished = max(finished, ?) WHERE key = ?",
                (broken_frames, finished, key),
            )
            _write_broken_frames(sql, key, broken)
            self._write_state(sql, key, state)

    def fail(self, run_id: int, name: str, error: str) -> None:
        """Record why a video cannot be labeled further. Its frames and tracker state stay."""
        key, _ = self._key_and_record(run_id, name)
        with self._connection.transaction() as sql:
            sql.execute("UPDATE videos SET error = ? WHERE key = ?", (utf8_safe(error), key))

    def _write_frame(
        self,
        sql: sqlite3.Connection,
        run_id: int,
        key: int,
        video: VideoRecord,
        frame: TrackedFrame,
    ) -> None:
        item_id = frame_id(video.name, frame.index)
        if frame.labels.size_hw != video.size_hw:
            raise StoreError(
                f"item '{item_id}': has size {frame.labels.size_hw}, its video {video.size_hw}; "
                "all frames of a video have one size"
            )
        ((item_key,),) = sql.execute(
            "INSERT INTO items (run_id, item_id, height, width, group_id, status, video_key, "
            "frame_index, frame_time) VALUES (?, ?, ?, ?, ?, 'done', ?, ?, ?) "
            "ON CONFLICT (run_id, item_id) DO UPDATE SET frame_time = excluded.frame_time "
            "RETURNING key",
            (
                run_id,
                utf8_safe(item_id),
                *video.size_hw,
                utf8_safe(video.name),
                key,
                frame.index,
                round(frame.time, 6),
            ),
        ).fetchall()
        item = Item(
            item_id,
            video.path,
            video.content_hash,
            video.size_hw,
            group=video.name,
            frame_index=frame.index,
        )
        self._objects.replace(sql, run_id, item_key, item, frame.labels)

    def _write_state(self, sql: sqlite3.Connection, key: int, state: bytes | None) -> None:
        sql.execute("DELETE FROM tracker_states WHERE video_key = ?", (key,))
        whole, step = memoryview(state or b""), self._state_part_bytes
        sql.executemany(
            "INSERT INTO tracker_states VALUES (?, ?, ?)",
            (
                (key, number, whole[start : start + step])
                for number, start in enumerate(range(0, len(whole), step))
            ),
        )

    # Reading

    def all(self, run_id: int) -> list[StoredVideo]:
        """All videos of a run, by name."""
        return [video for _, video in self._read("TRUE", run_id)]

    def get(self, run_id: int, name: str) -> StoredVideo | None:
        """One video; ``None`` if the run has none of this name."""
        return next((video for _, video in self._named(run_id, name)), None)

    def exist(self, run_id: int) -> bool:
        """Whether a run has videos."""
        ((found,),) = self._connection.rows(
            "SELECT EXISTS (SELECT 1 FROM videos WHERE run_id = ?)", run_id
        )
        return bool(found)

    def tracker_state(self, run_id: int, name: str) -> bytes | None:
        """Tracker state of an unfinished video; ``None`` if there is none."""
        rows = self._connection.rows(
            "SELECT s.state FROM tracker_states s JOIN videos v ON v.key = s.video_key "
            "WHERE v.run_id = ? AND v.name = ? ORDER BY s.part",
            run_id,
            utf8_safe(name),
        )
        parts = [state for (state,) in rows]
        return b"".join(parts) if parts else None

    def broken_frames(self, run_id: int, name: str) -> list[BrokenFrame]:
        """The first 100 broken frames of a video, in order."""
        key, _ = self._key_and_record(run_id, name)
        rows = self._connection.rows(
            "SELECT frame_index, frame_time, reason FROM broken_frames WHERE video_key = ? "
            "ORDER BY position",
            key,
        )
        return [BrokenFrame(*row) for row in rows]

    def done_frames(self, run_id: int) -> Iterator[Item]:
        """Labeled frames of all videos of a run, by video name and frame index."""
        for key, video in self._read("TRUE", run_id):
            for item in self._items.done_frames(key):
                yield _with_file(item, video.record)

    def all_labels(self, run_id: int) -> Iterator[tuple[Item, Labels]]:
        """Labeled frames of all videos of a run and their objects, as `done_frames` orders them."""
        for key, video in self._read("TRUE", run_id):
            yield from self._labels(key, video)

    def labels(self, run_id: int, name: str) -> Iterator[tuple[Item, Labels]]:
        """Labeled frames of one video and their objects, by frame index."""
        yield from self._labels(*self._require(run_id, name))

    def _labels(self, key: int, video: StoredVideo) -> Iterator[tuple[Item, Labels]]:
        for item, labels in self._objects.of_frames(key):
            yield _with_file(item, video.record), labels

    def tracks(self, run_id: int, name: str) -> list[StoredTrack]:
        """Tracks of one video, by track id."""
        key, _ = self._key_and_record(run_id, name)
        return self._objects.tracks(key)

    def labels_by_track(self, run_id: int, name: str) -> Iterator[tuple[int, Label]]:
        """Frame index and label of every tracked object of one video, by track id and frame."""
        key, video = self._key_and_record(run_id, name)
        yield from self._objects.by_track(key, video.size_hw)

    def _require(self, run_id: int, name: str) -> tuple[int, StoredVideo]:
        for found in self._named(run_id, name):
            return found
        raise self._unknown_video(run_id, name)

    def _key_and_record(self, run_id: int, name: str) -> tuple[int, VideoRecord]:
        """Key and record of a video, without counting its frames."""
        for key, *row in self._connection.rows(
            f"SELECT v.key, {_RECORD} FROM videos v WHERE v.run_id = ? AND v.name = ?",
            run_id,
            utf8_safe(name),
        ):
            return key, self._record(row)
        raise self._unknown_video(run_id, name)

    def _unknown_video(self, run_id: int, name: str) -> StoreError:
        path = self._connection.path
        return StoreError(f"run {run_id} of label store '{path}' has no video '{name}'")

    def _named(self, run_id: int, name: str) -> Iterator[tuple[int, StoredVideo]]:
        return self._read("v.name = ?", run_id, utf8_safe(name))

    def _read(
        self, condition: str, run_id: int, *values: object
    ) -> Iterator[tuple[int, StoredVideo]]:
        """Keys and videos, by name."""
        for key, frames, last_index, *row in self._connection.rows(
            "SELECT v.key, (SELECT count(*) FROM items i WHERE i.video_key = v.key), "
            "(SELECT max(i.frame_index) FROM items i WHERE i.video_key = v.key), "
            f"v.broken_frames, v.finished, v.error, {_RECORD} FROM videos v "
            f"WHERE v.run_id = ? AND {condition} ORDER BY v.name",
            run_id,
            *values,
        ):
            broken_frames, finished, error, *record = row
            yield (
                key,
                StoredVideo(
                    self._record(record), frames, last_index, broken_frames, bool(finished), error
                ),
            )

    def _record(self, row: Sequence[Any]) -> VideoRecord:
        name, path, content_hash, stamp, height, width, fps, frame_count, stride = row
        return VideoRecord(
            name=name,
            path=path_from_row(path, self._connection.root),
            size_hw=(height, width),
            fps=fps,
            frame_count=frame_count,
            stride=stride,
            content_hash=content_hash,
            file_stamp=stamp,
        )


def _write_broken_frames(sql: sqlite3.Connection, key: int, broken: Sequence[BrokenFrame]) -> None:
    if not broken:
        return
    ((known,),) = sql.execute("SELECT count(*) FROM broken_frames WHERE video_key = ?", (key,))
    sql.executemany(
        "INSERT INTO broken_frames VALUES (?, ?, ?, ?, ?)",
        (
            (key, position, each.index, round(each.time, 6), utf8_safe(each.reason))
            for position, each in enumerate(broken[: _MAX_BROKEN_FRAMES - known], start=known)
        ),
    )


def _with_file(item: Item, video: VideoRecord) -> Item:
    """A frame's item with the file of its video, which is stored once for all frames."""
    return replace(
        item, path=video.path, content_hash=video.content_hash, file_stamp=video.file_stamp
    )
