"""What users give as videos: files, folders of frames, folders of videos, addresses.

A folder that holds videos stands for all of them; one that holds pictures is itself a video, whose
frames they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.lists import is_address
from grounded_sam2.sources.names import item_name, printable
from grounded_sam2.sources.videos import VIDEO_EXTENSIONS, VideoSource, open_video
from grounded_sam2.sources.walk import walk

__all__ = ["GivenVideo", "find_videos"]


@dataclass(frozen=True, slots=True)
class GivenVideo:
    """One video to be opened."""

    given: str
    """Path or address."""
    name: str
    """Under which the store knows it: unique among those that were given together."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `open_video`."""

    def open(self) -> VideoSource:
        """Open it.

        Raises:
            SourceError: see `open_video`.
        """
        return open_video(self.given, name=self.name, **self.options)


def find_videos(
    given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **options: Any
) -> list[GivenVideo]:
    """The videos that are meant, in order: as given, those of a folder by name.

    Args:
        given: paths and addresses. None of them is opened, but folders are looked through.
        options: of `open_video`, for all of them.

    Raises:
        SourceError: nothing is given, the same video twice, or a folder holds videos and pictures.
    """
    items = [given] if isinstance(given, (str, os.PathLike)) else list(given)
    if not items:
        raise SourceError("videos: none given; name at least one file or folder")
    found: list[GivenVideo] = []
    for item in (os.fspath(each) for each in items):
        inside = [] if is_address(item) else _videos_in(Path(item))
        if inside:
            names = [PurePosixPath(name).with_suffix("").as_posix() for name, _ in inside]
            for (name, path), stem in zip(inside, names, strict=True):
                # clip.mp4 beside clip.mov: each keeps its ending.
                unique = stem if names.count(stem) == 1 else name
                found.append(GivenVideo(str(path), item_name(unique), options))
        else:
            found.append(GivenVideo(item, _name(item), options))
    _check_names(found)
    return found


def _videos_in(folder: Path) -> list[tuple[str, Path]]:
    """Names relative to the folder, and paths; none if it is no folder, or one of frames."""
    if not folder.is_dir():
        return []
    return [
        (found.name, Path(found.path))
        for found in walk(folder)
        if found.failure is None and found.name.lower().endswith(tuple(VIDEO_EXTENSIONS))
    ]


def _name(item: str) -> str:
    path = PurePosixPath(item.rstrip("/")) if is_address(item) else Path(item).absolute()
    name = path.name if isinstance(path, Path) and path.is_dir() else path.stem
    return item_name(name) or "video"


def _check_names(found: Sequence[GivenVideo]) -> None:
    by_name: dict[str, GivenVideo] = {}
    for video in found:
        other = by_name.setdefault(video.name, video)
        if other is not video:
            raise SourceError(
                f"videos: {printable(other.given)!r} and {printable(video.given)!r} would both be "
                f"named {video.name!r}; rename one, or give the folder that holds both"
            )
