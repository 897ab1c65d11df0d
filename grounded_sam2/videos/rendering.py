"""A video with its labels drawn into it, made from the store.

Made when all is labeled, in a pass of its own over the video: its labels are then final, a run that
was stopped and continued gives the same file, and it can be made again without a model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from grounded_sam2.detections import to_supervision
from grounded_sam2.drawing import annotate
from grounded_sam2.errors import StoreError
from grounded_sam2.sources.videos import VideoSource, prefetched
from grounded_sam2.store import LabelStore
from grounded_sam2.video_file import VideoFile

__all__ = ["render"]

_DECODED_AHEAD = 4


def render(
    path: str | Path,
    source: VideoSource,
    store: LabelStore,
    *,
    run_id: int | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> int:
    """Write an annotated video: masks, boxes, classes and ids, a colour per track.

    Args:
        path: where to; its ending says how: see `grounded_sam2.video_file.VideoFile`.
        source: the video as it was labeled.
        store: holds its labels.
        run_id: the run; the current one if ``None``.
        progress: told how many more frames are written.

    Returns:
        How many frames it has: those that were labeled.

    Raises:
        StoreError: the store has no such video.
        VideoError: it cannot be written.
        SourceError: the video cannot be read any more.
    """
    run = store.run(run_id)
    classes = store.classes()
    written = 0
    with (
        closing(prefetched(source.frames(), _DECODED_AHEAD)) as frames,
        VideoFile(path, size_hw=source.size_hw, fps=source.fps) as video,
    ):
        labeled = store.frames(run.id, source.name)
        for item, labels in labeled:
            frame = next((each for each in frames if each.index == item.frame_index), None)
            if frame is None:
                raise StoreError(
                    f"video '{source.name}': frame {item.frame_index} was labeled and is no longer "
                    "there; label it again"
                )
            detections = to_supervision(labels, classes)
            video.write(annotate(frame.image, detections), frame.time)
            written += 1
            progress(1)
    return written
