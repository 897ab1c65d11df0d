"""A video with its labels drawn into it, made from the store.

Made when all is labeled, in a pass of its own over the video: its labels are then final, a run that
was stopped and continued gives the same file, and it can be made again without a model. The file
holds a digest of what was drawn, so that it need not be made again while that is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from grounded_sam2.errors import SourceError
from grounded_sam2.results import to_supervision
from grounded_sam2.sources.video import VideoSource, prefetched
from grounded_sam2.store import LabelStore
from grounded_sam2.visualization.drawing import annotate
from grounded_sam2.visualization.video_file import VideoFile, video_comment

__all__ = ["is_rendered", "render"]


def render(
    path: str | Path,
    source: VideoSource,
    store: LabelStore,
    *,
    run_id: int | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> int:
    """Write an annotated video: masks, boxes, classes and ids, a color per track.

    Args:
        path: where to; its ending says how: see `grounded_sam2.visualization.video_file.VideoFile`.
        source: the video as it was labeled.
        store: holds its labels.
        run_id: the run; the current one if ``None``.
        progress: told how many more frames are written.

    Returns:
        How many frames it has: those that were labeled.

    Raises:
        StoreError: the store has no such video.
        VideoError: it cannot be written.
        SourceError: the video cannot be read any more, or lacks a frame that was labeled.
    """
    run = store.run(run_id)
    classes = store.classes()
    written = 0
    digest = _digest(store, source.name, run.id)
    with (
        closing(prefetched(source.frames())) as frames,
        VideoFile(path, size_hw=source.size_hw, fps=source.fps, comment=digest) as video,
    ):
        labeled = store.frames(run.id, source.name)
        for item, labels in labeled:
            frame = next((each for each in frames if each.index == item.frame_index), None)
            if frame is None:
                raise SourceError(
                    f"video '{source.name}': frame {item.frame_index} was labeled and is no longer "
                    "there; label it again"
                )
            detections = to_supervision(labels, classes)
            video.write(annotate(frame.image, detections), frame.time)
            written += 1
            progress(1)
    return written


def is_rendered(
    path: str | Path, store: LabelStore, name: str, *, run_id: int | None = None
) -> bool:
    """Whether `render` has written this file from the labels that the store holds now.

    Args:
        path: the file; need not exist.
        store: holds the labels.
        name: of the video.
        run_id: the run; the current one if ``None``.

    Raises:
        StoreError: the store has no such video.
    """
    there = video_comment(path)
    return there is not None and there == _digest(store, name, store.run(run_id).id)


def _digest(store: LabelStore, name: str, run_id: int) -> str:
    """Of the video and its labels; reads all of them, one frame at a time."""
    known = store.video(run_id, name)
    record = None if known is None else known.record
    digest = hashlib.sha256()
    if record is not None:
        digest.update(repr((record.content_hash, record.size_hw, record.fps)).encode())
    for item, labels in store.frames(run_id, name):
        digest.update(repr((item.frame_index, labels)).encode())
    return f"labels {digest.hexdigest()}"
