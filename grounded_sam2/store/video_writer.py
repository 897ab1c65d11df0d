"""Writing videos to a label store, a batch of frames at a time.

    video = store.begin_video(run.id, VideoRecord("clip.mp4", path, size_hw=(720, 1280)))
    if not video.finished:
        state = store.tracker_state(run.id, "clip.mp4")
        ...  # track on from where the state says
        store.write_frames(run.id, "clip.mp4", batch, state=state)
        store.write_frames(run.id, "clip.mp4", last_batch, finished=True)

A batch and the tracker's state after it are one transaction: a run that was killed goes on from
its last batch as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Sequence

from grounded_sam2.errors import StoreError
from grounded_sam2.results import BrokenFrame, TrackedFrame
from grounded_sam2.store.rows import path_to_row, utf8_safe
from grounded_sam2.store.video_records import StoredVideo, VideoRecord, frame_id
from grounded_sam2.store.writer import StoreWriter

__all__ = ["VideoWriter"]

_PART_BYTES = 64 << 20
"""Of a tracker's state, in a row. SQLite takes 1 GB, which a few thousand objects exceed, and has
each row in memory twice."""
_MOST_REASONS = 100
"""Kept of each video: those of a file of noise are all the same."""


class VideoWriter(StoreWriter):
    """The half of `LabelStore` that writes videos."""

    def begin_video(
        self, run_id: int, record: VideoRecord, *, restart: bool = False
    ) -> StoredVideo:
        """Continue a video, or begin it.

        One that has changed since, or is to be labeled in other steps, begins anew: its frames are
        forgotten (`VideoRecord.continues`). The error of an earlier attempt is forgotten too.

        Args:
            run_id: the run.
            record: the video.
            restart: label it from the start in any case.

        Returns:
            The video, and how far it is labeled.
        """
        known = self.video(run_id, record.name)
        height, width = record.size_hw
        row = {
            "path": path_to_row(record.path, self._root),
            "content_hash": record.content_hash,
            "file_stamp": record.file_stamp,
            "height": height,
            "width": width,
            "fps": record.fps,
            "frame_count": record.frame_count,
            "stride": record.stride,
            "error": None,
        }
        with self._transaction():
            if known is not None and (restart or not record.continues(known.record)):
                self._connection.execute(
                    "DELETE FROM videos WHERE run_id = ? AND name = ?",
                    (run_id, utf8_safe(record.name)),
                )
            self._connection.execute(  # of an attempt that could not even begin
                "DELETE FROM items WHERE run_id = ? AND item_id = ? AND video_key IS NULL "
                "AND status = 'failed'",
                (run_id, utf8_safe(record.name)),
            )
            self._connection.execute(
                f"INSERT INTO videos (run_id, name, {', '.join(row)}) "
                f"VALUES (?, ?{', ?' * len(row)}) ON CONFLICT (run_id, name) DO UPDATE SET "
                f"{', '.join(f'{name} = excluded.{name}' for name in row)}",
                (run_id, utf8_safe(record.name), *row.values()),
            )
        return self._video(run_id, record.name)[1]

    def write_frames(
        self,
        run_id: int,
        video: str,
        frames: Sequence[TrackedFrame],
        *,
        state: bytes | None = None,
        broken_frames: int | None = None,
        broken: Sequence[BrokenFrame] = (),
        finished: bool = False,
    ) -> None:
        """Write a batch of frames, all or nothing. Frames that are there are replaced.

        Args:
            run_id: the run.
            video: name of a video of the run.
            frames: labels, rounded as by `LabelStore.write_batch`; may be empty.
            state: what the tracker needs to go on after these frames; replaces the earlier one.
            broken_frames: how many frames of the video could not be decoded so far; as before if
                absent.
            broken: which these are and why, as far as they were not told before; the first 100 of
                a video are kept.
            finished: whether these were the last: the video is labeled to its end.

        Raises:
            StoreError: the run has no such video, or a frame has another size than its video.
        """
        key, size_hw = self._key_and_size(run_id, video)
        with self._transaction():
            for frame in frames:
                self._write_frame(run_id, key, video, frame, size_hw)
            self._connection.execute(
                "UPDATE videos SET broken_frames = coalesce(?, broken_frames), "
                "finished = max(finished, ?) WHERE key = ?",
                (broken_frames, finished, key),
            )
            self._write_broken(key, broken)
            self._write_state(key, state)

    def fail_video(self, run_id: int, name: str, error: str) -> None:
        """Note why a video cannot be labeled further. Its frames and the tracker's state stay.

        Raises:
            StoreError: the run has no such video.
        """
        key, _ = self._key_and_size(run_id, name)
        with self._transaction():
            self._connection.execute(
                "UPDATE videos SET error = ? WHERE key = ?", (utf8_safe(error), key)
            )

    def _write_state(self, key: int, state: bytes | None) -> None:
        self._connection.execute("DELETE FROM tracker_states WHERE video_key = ?", (key,))
        parts = memoryview(state or b"")
        self._connection.executemany(
            "INSERT INTO tracker_states VALUES (?, ?, ?)",
            (
                (key, number, parts[start : start + _PART_BYTES])
                for number, start in enumerate(range(0, len(parts), _PART_BYTES))
            ),
        )

    def _write_broken(self, key: int, broken: Sequence[BrokenFrame]) -> None:
        if not broken:
            return
        ((known,),) = self._connection.execute(
            "SELECT count(*) FROM broken_frames WHERE video_key = ?", (key,)
        )
        self._connection.executemany(
            "INSERT INTO broken_frames VALUES (?, ?, ?, ?, ?)",
            (
                (key, position, each.index, round(each.time, 6), utf8_safe(each.reason))
                for position, each in enumerate(broken[: _MOST_REASONS - known], start=known)
            ),
        )

    def _write_frame(
        self, run_id: int, key: int, video: str, frame: TrackedFrame, size_hw: tuple[int, int]
    ) -> None:
        item_id = frame_id(video, frame.index)
        if frame.labels.size_hw != size_hw:
            raise StoreError(
                f"item '{item_id}': has size {frame.labels.size_hw}, its video {size_hw}; all "
                "frames of a video have one size"
            )
        ((item_key,),) = self._connection.execute(
            "INSERT INTO items (run_id, item_id, height, width, group_id, status, video_key, "
            "frame_index, frame_time) VALUES (?, ?, ?, ?, ?, 'done', ?, ?, ?) "
            "ON CONFLICT (run_id, item_id) DO UPDATE SET frame_time = excluded.frame_time "
            "RETURNING key",
            (
                run_id,
                utf8_safe(item_id),
                *size_hw,
                utf8_safe(video),
                key,
                frame.index,
                round(frame.time, 6),
            ),
        ).fetchall()
        self._write_objects(item_key, item_id, frame.labels)
