"""Annotated videos: copies of labeled videos with their labels drawn in, made from the store.

They are rendered after labeling, in a separate pass over each video: its labels are then final, an
interrupted and continued run gives the same file, and no model is needed to render it again. The
file's metadata holds a digest of the video and its labels; while that matches the store, the file
is kept as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path

from grounded_sam2.errors import SourceError, StoreError, VideoError
from grounded_sam2.results import Label, Labels, VideoProgress, to_supervision
from grounded_sam2.sources.names import safe_path
from grounded_sam2.sources.video import VIDEO_EXTENSIONS, VideoSource, prefetch
from grounded_sam2.sources.video.discovery import FoundVideo
from grounded_sam2.store import LabelStore
from grounded_sam2.visualization.annotated_image import annotate
from grounded_sam2.visualization.video_encoder import (
    WRITABLE_VIDEO_EXTENSIONS,
    VideoEncoder,
    check_video_extension,
    video_comment,
)

__all__ = [
    "RenderedVideos",
    "annotated_video_paths",
    "is_up_to_date",
    "render_video",
    "render_videos",
]


@dataclass(slots=True)
class RenderedVideos:
    """Result of `render_videos`."""

    paths: list[Path] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Reason why a video was not rendered, by its name."""


def annotated_video_paths(
    videos: Sequence[FoundVideo],
    annotated: str | os.PathLike[str] | None,
    folders: Sequence[Path] = (),
) -> dict[str, Path]:
    """Path of the annotated video of each video, by name.

    Args:
        videos: the videos to be labeled.
        annotated: a file, if it has the extension of a video; otherwise a folder, in which each
            file is named after its video in the store. ``None`` for no annotated videos.
        folders: folders that were given as input: folders of frames or of videos.

    Returns:
        Empty if `annotated` is ``None``.

    Raises:
        VideoError: a video cannot be rendered, or its file would replace an input or lie in an
            input folder.
    """
    if annotated is None:
        return {}
    for video in videos:
        if video.path is None:
            raise VideoError(
                f"video {video.display_name!r}: cannot be drawn, since its frames may not come a "
                "second time; save it to a file and label that"
            )
    if Path(annotated).suffix.lower() in (*VIDEO_EXTENSIONS, *WRITABLE_VIDEO_EXTENSIONS, ".gif"):
        paths = _single_file(videos, Path(annotated))
    else:
        paths = _files_in_folder(videos, Path(annotated), folders)
    _check_inputs_are_kept(videos, paths)
    return paths


def render_videos(
    videos: Sequence[FoundVideo],
    paths: Mapping[str, Path],
    store: LabelStore,
    run_id: int,
    progress: VideoProgress | None = None,
) -> RenderedVideos:
    """Render the videos whose annotated video is missing or out of date.

    A video that cannot be rendered is recorded in `RenderedVideos.failures`; the others follow.

    Args:
        videos: the labeled videos.
        paths: see `annotated_video_paths`.
        store: holds the labels.
        run_id: the run whose labels are drawn.
        progress: receives the progress of each video that is rendered.
    """
    rendered = RenderedVideos()
    for video in videos:
        path = paths[video.name]
        try:
            if not is_up_to_date(path, store, video.name, run_id=run_id):
                _render_with_progress(video, path, store, run_id, progress)
        except (SourceError, StoreError, VideoError) as error:  # the others can still be rendered
            rendered.failures[video.name] = str(error)
        else:
            rendered.paths.append(path)
    return rendered


def render_video(
    path: str | Path,
    source: VideoSource,
    store: LabelStore,
    *,
    run_id: int | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> int:
    """Write one annotated video: masks, boxes, classes and track ids, one color per track.

    Args:
        path: the file; its extension selects the format, see
            `grounded_sam2.visualization.video_encoder.VideoEncoder`.
        source: the video as it was labeled.
        store: holds its labels.
        run_id: the run; the current one if ``None``.
        progress: called with the number of frames written since its last call.

    Returns:
        The number of frames written: those that were labeled.

    Raises:
        StoreError: the store has no such video.
        VideoError: the file cannot be written.
        SourceError: the video cannot be read any more, or lacks a labeled frame.
    """
    run = store.run(run_id)
    classes = store.classes()
    written = 0
    digest = _labels_digest(store, source.name, run.id)
    with (
        closing(prefetch(source.frames())) as frames,
        VideoEncoder(path, size_hw=source.size_hw, fps=source.fps, comment=digest) as video,
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


def is_up_to_date(
    path: str | Path, store: LabelStore, name: str, *, run_id: int | None = None
) -> bool:
    """Whether `render_video` wrote this file from the labels that the store holds now.

    Args:
        path: the file; need not exist.
        store: holds the labels.
        name: name of the video in the store.
        run_id: the run; the current one if ``None``.

    Raises:
        StoreError: the store has no such video.
    """
    comment = video_comment(path)
    return comment is not None and comment == _labels_digest(store, name, store.run(run_id).id)


def _labels_digest(store: LabelStore, name: str, run_id: int) -> str:
    """Hash of a video and its labels; reads all labels, one frame at a time."""
    known = store.video(run_id, name)
    record = None if known is None else known.record
    digest = hashlib.sha256()
    if record is not None:
        digest.update(repr((record.content_hash, record.size_hw, record.fps)).encode())
    for item, labels in store.frames(run_id, name):
        digest.update(f"({item.frame_index}, {_drawn(labels)})".encode())
    return f"labels {digest.hexdigest()}"


def _drawn(labels: Labels) -> str:
    """What of labels can be seen: identity and review state cannot."""
    names = [each.name for each in fields(Label) if each.name not in ("review", "uid")]
    objects = [
        f"Label({', '.join(f'{name}={getattr(label, name)!r}' for name in names)})"
        for label in labels.objects
    ]
    # The form of earlier versions, so that their videos are not rendered again.
    listed = f"({', '.join(objects)}{',' * (len(objects) == 1)})"
    return f"Labels(size_hw={labels.size_hw!r}, objects={listed})"


def _render_with_progress(
    video: FoundVideo,
    path: Path,
    store: LabelStore,
    run_id: int,
    progress: VideoProgress | None,
) -> None:
    if progress is None:
        render_video(path, video.open(), store, run_id=run_id)
        return
    known = store.video(run_id, video.name)
    progress.start(f"drawing {video.name}", None if known is None else known.frames)
    progress.advance(0)  # no frame was rendered by an earlier run
    render_video(path, video.open(), store, run_id=run_id, progress=progress.advance)


def _single_file(videos: Sequence[FoundVideo], file: Path) -> dict[str, Path]:
    check_video_extension(file)
    if len(videos) > 1:
        raise VideoError(
            f"video {str(file)!r}: is one file, and {len(videos)} videos are to be drawn; give a "
            f"folder, such as {str(file.with_suffix(''))!r}"
        )
    return {video.name: file for video in videos}


def _files_in_folder(
    videos: Sequence[FoundVideo], folder: Path, input_folders: Sequence[Path]
) -> dict[str, Path]:
    if folder.resolve() in {given.resolve() for given in input_folders}:
        raise VideoError(
            f"annotated videos would be mixed with the input in {str(folder)!r}; give another "
            "folder for them"
        )
    paths: dict[str, Path] = {}
    for video in videos:
        is_writable = video.name.lower().endswith(WRITABLE_VIDEO_EXTENSIONS)
        path = safe_path(folder, video.name if is_writable else f"{video.name}.mp4")
        other = next((name for name, taken in paths.items() if taken == path), None)
        if other is not None:
            raise VideoError(
                f"video {str(path)!r}: would be written for {other!r} and for {video.name!r}; draw "
                "one of them elsewhere"
            )
        paths[video.name] = path
    return paths


def _check_inputs_are_kept(videos: Sequence[FoundVideo], paths: Mapping[str, Path]) -> None:
    inputs = [video.path for video in videos if video.path is not None]
    input_files = {identity for path in inputs for identity in _file_identities(path)}
    frame_folders = {path.resolve() for path in inputs if path.is_dir()}
    for path in paths.values():
        if not input_files.isdisjoint(_file_identities(path)):
            raise VideoError(
                f"video {str(path)!r}: is an input and would be replaced; give another name for "
                "the annotated video"
            )
        above = frame_folders.intersection(path.resolve().parents)
        if above:
            raise VideoError(
                f"video {str(path)!r}: would lie in the folder of frames {str(above.pop())!r}, "
                "which is an input; give a path outside of it"
            )


def _file_identities(path: Path) -> set[object]:
    """Values that two paths of one file share, also where file names ignore case."""
    identities: set[object] = {path.resolve()}
    try:
        stat = path.stat()
    except OSError:
        return identities
    return identities | {(stat.st_dev, stat.st_ino)}
