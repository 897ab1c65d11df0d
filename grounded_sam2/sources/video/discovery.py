"""Discovery of the videos among inputs: files, folders of frames or videos, addresses, cameras.

A folder of videos stands for all of them; a folder of images is one video, whose frames they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import SourceError, printable
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
from grounded_sam2.sources.names import item_name, redact_address
from grounded_sam2.sources.video import (
    VIDEO_EXTENSIONS,
    VideoSource,
    is_video,
    local_video_path,
    open_video,
    video_name,
)
from grounded_sam2.sources.walk import walk

__all__ = ["FoundVideo", "VideoInput", "VideoOptions", "find_videos", "list_video_inputs"]

VideoInput: TypeAlias = "str | os.PathLike[str] | int"
"""Path, address, or index of a camera."""

_AMBIGUOUS_EXTENSIONS = ("", ".gif", ".ts")
"""Extensions of files that must be opened to find out whether they are videos."""


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """Options for opening videos; see `grounded_sam2.sources.video.open_video`."""

    stride: int = 1
    start: float | None = None
    end: float | None = None
    fps: float = 25.0
    limits: ImageConfig = field(default_factory=ImageConfig)


_DEFAULTS = VideoOptions()


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """One video, not opened yet. A plain picklable value."""

    given: str | int
    """Path, address or index of a camera."""
    name: str
    """Name of the video in the store; unique among the videos found together."""
    options: VideoOptions = _DEFAULTS

    @property
    def path(self) -> Path | None:
        """The local file or folder; ``None`` for what may not be readable a second time."""
        return local_video_path(self.given)

    @property
    def display_name(self) -> str:
        """The input as text for messages, without credentials."""
        return f"camera {self.given}" if isinstance(self.given, int) else _public(self.given)

    def open(self) -> VideoSource:
        """Open the video.

        Raises:
            SourceError: see `open_video`.
        """
        options = self.options
        return open_video(
            self.given,
            name=self.name,
            stride=options.stride,
            start=options.start,
            end=options.end,
            fps=options.fps,
            limits=options.limits,
        )


def list_video_inputs(given: VideoInput | Sequence[VideoInput]) -> list[str | int]:
    """One or several inputs as a list.

    Raises:
        SourceError: the list is empty.
    """
    items = [given] if isinstance(given, (str, os.PathLike, int)) else list(given)
    if not items:
        raise SourceError("videos: none given; name at least one file or folder")
    return [item if isinstance(item, int) else os.fspath(item) for item in items]


def find_videos(
    given: VideoInput | Sequence[VideoInput],
    options: VideoOptions = _DEFAULTS,
    *,
    exclude: Iterable[str | os.PathLike[str]] = (),
) -> list[FoundVideo]:
    """Find the videos among inputs, in the order of the inputs; those of a folder by name.

    Videos of a folder are named by their path in it, with extension: ``day/clip.mp4``, so that no
    name changes when ``day/clip.mov`` is added. Others are named by `video_name`.

    Args:
        given: paths, addresses and indices of cameras. Folders are searched recursively; only
            files with an ambiguous extension are opened.
        options: options of all videos.
        exclude: files and folders to skip within folders, such as the output of an earlier run.

    Raises:
        SourceError: there is no input, two videos have the same name, or a folder holds both
            videos and images.
    """
    excluded = frozenset(Path(path).resolve() for path in exclude)
    found: list[FoundVideo] = []
    for item in list_video_inputs(given):
        path = local_video_path(item)
        in_folder = _videos_in(path, excluded) if path is not None and path.is_dir() else []
        found += [FoundVideo(file, item_name(name), options) for name, file in in_folder]
        if not in_folder:
            found.append(FoundVideo(item, video_name(item), options))
    _check_names(found)
    return found


def _videos_in(folder: Path, excluded: frozenset[Path]) -> list[tuple[str, str]]:
    """Name relative to the folder and path of each video; empty for a folder of frames."""
    videos: list[tuple[str, str]] = []
    images: list[str] = []
    for found in walk(folder, excluded=excluded):
        if found.failure is not None:
            continue
        if _is_video(found.path):
            if not excluded or Path(found.path).resolve() not in excluded:
                videos.append((found.name, found.path))
        elif "/" not in found.name and found.name.lower().endswith(IMAGE_EXTENSIONS):
            images.append(found.name)
    if videos and images:
        raise SourceError(
            f"video {printable(folder)!r}: holds {_counted(images, 'image')} and "
            f"{_counted([name for name, _ in videos], 'video')}; give the videos, or a folder with "
            "nothing but the frames of one"
        )
    return videos


def _is_video(path: str) -> bool:
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in VIDEO_EXTENSIONS or (suffix in _AMBIGUOUS_EXTENSIONS and is_video(path))


def _counted(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what}{'s' * (len(names) > 1)} ({printable(names[0])!r})"


def _public(given: str) -> str:
    return printable(given) if local_video_path(given) is not None else redact_address(given)


def _check_names(found: Sequence[FoundVideo]) -> None:
    by_name: dict[str, FoundVideo] = {}
    for video in found:
        other = by_name.setdefault(video.name, video)
        if other is not video:
            raise SourceError(
                f"videos: {other.display_name!r} and {video.display_name!r} would both be named "
                f"{video.name!r}; rename one, give the folder that holds both, or label them into "
                "two folders"
            )
