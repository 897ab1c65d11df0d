"""Annotated videos: where they go, which must not be written, and those that are not there yet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grounded_sam2.engine.video_summaries import VideoProgress
from grounded_sam2.errors import SourceError, StoreError, VideoError
from grounded_sam2.sources.names import local_path
from grounded_sam2.sources.video import VIDEO_EXTENSIONS
from grounded_sam2.sources.video.finding import FoundVideo
from grounded_sam2.store import LabelStore
from grounded_sam2.visualization.annotated_video import is_rendered, render
from grounded_sam2.visualization.video_file import VIDEO_SUFFIXES, check_video_suffix

__all__ = ["Drawn", "annotated_places", "draw"]


def annotated_places(
    videos: Sequence[FoundVideo],
    annotated: str | os.PathLike[str] | None,
    folders: Sequence[Path] = (),
) -> dict[str, Path]:
    """Where the annotated video of each goes.

    Args:
        videos: those that are labeled.
        annotated: a file, if it has the ending of a video; else a folder, in which each is called
            as the store calls it. ``None`` for no annotated videos.
        folders: those that were given as videos, or as full of them.

    Returns:
        Places by name of the video; none if `annotated` is ``None``.

    Raises:
        VideoError: one cannot be drawn, would replace what was given, or would lie among it.
    """
    if annotated is None:
        return {}
    for video in videos:
        if video.path is None:
            raise VideoError(
                f"video {video.shown!r}: cannot be drawn, since what comes from there may not come "
                "a second time; save it to a file and label that"
            )
    if Path(annotated).suffix.lower() in (*VIDEO_EXTENSIONS, *VIDEO_SUFFIXES, ".gif"):
        places = _one_file(videos, Path(annotated))
    else:
        places = _in_folder(videos, Path(annotated), folders)
    _check_nothing_is_replaced(videos, places)
    return places


def _one_file(videos: Sequence[FoundVideo], file: Path) -> dict[str, Path]:
    check_video_suffix(file)
    if len(videos) > 1:
        raise VideoError(
            f"video {str(file)!r}: is one file, and {len(videos)} videos are to be drawn; give a "
            f"folder, such as {str(file.with_suffix(''))!r}"
        )
    return {video.name: file for video in videos}


def _in_folder(
    videos: Sequence[FoundVideo], folder: Path, given_folders: Sequence[Path]
) -> dict[str, Path]:
    if folder.resolve() in {given.resolve() for given in given_folders}:
        raise VideoError(
            f"annotated videos would be mixed with what was given in {str(folder)!r}; give another "
            "folder for them"
        )
    places: dict[str, Path] = {}
    for video in videos:
        known = video.name.lower().endswith(VIDEO_SUFFIXES)
        place = local_path(folder, video.name if known else f"{video.name}.mp4")
        other = next((name for name, taken in places.items() if taken == place), None)
        if other is not None:
            raise VideoError(
                f"video {str(place)!r}: would be that of {other!r} and of {video.name!r}; draw one "
                "of them elsewhere"
            )
        places[video.name] = place
    return places


def _check_nothing_is_replaced(videos: Sequence[FoundVideo], places: Mapping[str, Path]) -> None:
    given = [video.path for video in videos if video.path is not None]
    files = {key for path in given for key in _keys(path)}
    frames = {path.resolve() for path in given if path.is_dir()}
    for place in places.values():
        if not files.isdisjoint(_keys(place)):
            raise VideoError(
                f"video {str(place)!r}: was given to be labeled, and would be replaced; give "
                "another name for the annotated video"
            )
        among = frames.intersection(place.resolve().parents)
        if among:
            raise VideoError(
                f"video {str(place)!r}: would lie in a folder of frames that was given, "
                f"{str(among.pop())!r}; give a place outside of it"
            )


def _keys(path: Path) -> set[object]:
    """What two paths of one file share, also where letters of either case are one."""
    keys: set[object] = {path.resolve()}
    try:
        stat = path.stat()
    except OSError:
        return keys
    return keys | {(stat.st_dev, stat.st_ino)}


@dataclass(slots=True)
class Drawn:
    """The annotated videos."""

    paths: list[Path] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """Why there is none, by name of the video."""


def draw(
    videos: Sequence[FoundVideo],
    places: Mapping[str, Path],
    store: LabelStore,
    run_id: int,
    progress: VideoProgress | None,
) -> Drawn:
    """Draw the videos that are not there yet as they should be.

    Args:
        videos: those that are labeled.
        places: see `annotated_places`.
        store: holds the labels.
        run_id: of this run.
        progress: told how it comes along.
    """
    drawn = Drawn()
    for video in videos:
        place = places[video.name]
        try:
            if not is_rendered(place, store, video.name, run_id=run_id):
                _draw_one(video, place, store, run_id, progress)
        except (SourceError, StoreError, VideoError) as error:  # the others can still be drawn
            drawn.failures[video.name] = str(error)
        else:
            drawn.paths.append(place)
    return drawn


def _draw_one(
    video: FoundVideo,
    place: Path,
    store: LabelStore,
    run_id: int,
    progress: VideoProgress | None,
) -> None:
    if progress is None:
        render(place, video.open(), store, run_id=run_id)
        return
    known = store.video(run_id, video.name)
    progress.start(f"drawing {video.name}", None if known is None else known.frames)
    progress.advance(0)  # none of them was drawn earlier
    render(place, video.open(), store, run_id=run_id, progress=progress.advance)
