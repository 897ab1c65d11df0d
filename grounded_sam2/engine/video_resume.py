"""Resumption of videos: continue a stored video, begin anew, or refuse.

Labels are dropped only if the same file has changed. Another video of a stored name, or a stream
that cannot be read again, is refused.
"""

from __future__ import annotations

import os
from pathlib import Path

from grounded_sam2.errors import SourceError, StoreError
from grounded_sam2.sources.video import VideoSource
from grounded_sam2.store import LabelStore, StoredVideo, VideoRecord

__all__ = ["DuplicateVideoError", "resume_or_begin"]


class DuplicateVideoError(StoreError):
    """The run holds this video under another name."""


def resume_or_begin(store: LabelStore, run_id: int, source: VideoSource) -> StoredVideo:
    """Begin a video, or continue it.

    Args:
        store: opened for writing.
        run_id: the run.
        source: the video; its bytes are read only if its fingerprint has changed.

    Returns:
        The stored video, with the number of labeled frames.

    Raises:
        SourceError: its file cannot be examined.
        DuplicateVideoError: the store holds it under another name.
        StoreError: the store holds another video of its name, or frames of it that cannot be read
            again.
    """
    earlier = store.video(run_id, source.name)
    record = _record_of(source, None if earlier is None else earlier.record)
    if earlier is None:
        _check_unknown(store, run_id, record)
    elif not record.continues(earlier.record):
        _check_replaceable(store, record, earlier)
    return store.begin_video(run_id, record)


def _record_of(source: VideoSource, earlier: VideoRecord | None) -> VideoRecord:
    try:
        stamp = source.stamp()  # before the bytes: a change during the read is noticed later
        if earlier is not None and stamp is not None and stamp == earlier.file_stamp:
            content_hash = earlier.content_hash
        else:
            content_hash = source.content_hash()
    except OSError as error:
        raise SourceError(
            f"video '{source.name}': cannot be read ({error}); check that it is there and may be "
            "read"
        ) from error
    return VideoRecord(
        name=source.name,
        path=source.path,
        size_hw=source.size_hw,
        fps=source.fps,
        frame_count=source.frame_count,
        stride=source.selection.stride,
        content_hash=content_hash,
        file_stamp=stamp,
    )


def _check_unknown(store: LabelStore, run_id: int, record: VideoRecord) -> None:
    """Raise `DuplicateVideoError` if the run has this video under another name."""
    for video in store.videos(run_id):
        other = video.record
        if record.content_hash is None or record.content_hash != other.content_hash:
            continue
        repair = f"leave out one of the two, or label '{record.name}' into another folder"
        if other.path is not None and not other.path.exists():
            repair = f"give the file its name '{other.name}' again, or label into another folder"
        raise DuplicateVideoError(
            f"video '{record.name}': label store '{store.path}' holds the same one as "
            f"'{other.name}' ({other.path}); {repair}"
        )


def _check_replaceable(store: LabelStore, record: VideoRecord, earlier: StoredVideo) -> None:
    """Raise `StoreError` unless both are one file that has changed, or no labels would be lost."""
    if earlier.frames and not (record.is_identifiable and earlier.record.is_identifiable):
        raise StoreError(
            f"label store '{store.path}' holds {earlier.frames} frames of an earlier reading of "
            f"'{record.name}', which cannot be read again; label into another folder"
        )
    before, now = earlier.record.path, record.path
    if before is not None and now is not None and before != Path(os.path.abspath(now)):  # noqa: PTH100 (resolve() would follow links)
        raise StoreError(
            f"label store '{store.path}' holds another video named '{record.name}' ({before}); "
            "rename the file, or label into another folder"
        )
