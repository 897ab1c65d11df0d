"""Video source for a folder of frames, one image file per frame."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path, PurePosixPath

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError, SourceError, one_line, printable
from grounded_sam2.results import Image
from grounded_sam2.sources.fingerprint import file_hash, file_stamp
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS
from grounded_sam2.sources.image import load_image
from grounded_sam2.sources.names import item_name
from grounded_sam2.sources.video.source import (
    VIDEO_EXTENSIONS,
    BrokenFrameLog,
    FrameSelection,
    LazyFrame,
    VideoSource,
)

__all__ = ["FrameFolder", "natural_sort_key"]


def natural_sort_key(name: str) -> tuple[list[str | int], str]:
    """Sort key in which digits in names compare as numbers: ``f2`` sorts before ``f10``."""
    parts = re.split(r"([0-9]+)", PurePosixPath(name).stem)
    numbered = [int(part) if index % 2 else part for index, part in enumerate(parts)]
    return numbered, name  # the name separates 1 from 01


class FrameFolder(VideoSource):
    """The images of a folder as frames, in natural order of their names.

    Subfolders, hidden files and files without an image extension are skipped. The index of a frame
    is its position in that order, readable or not. An image whose size differs from that of the
    first readable one is broken, since all masks of a video have one size.

    Args:
        folder: the folder.
        name: name of the items; that of the folder if ``None``.
        fps: frames per second.
        selection: the frames to yield.
        limits: limit of the size of images.

    Raises:
        SourceError: the folder cannot be listed, holds no readable image, holds videos as well, or
            holds two images whose names differ only in their extension.
    """

    path: Path
    files: tuple[Path, ...]
    """Files of all frames, by index."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None,
        fps: float,
        selection: FrameSelection,
        limits: ImageConfig,
    ) -> None:
        self._limits = limits
        self.files = _frame_files(folder)
        super().__init__(
            name=name or item_name(folder.resolve().name) or "frames",
            path=folder,
            fps=fps,
            size_hw=self._first_frame_size(folder),
            frame_count=len(self.files),
            selection=selection,
        )

    def stamp(self) -> str:
        """Hash of the names, sizes and modification times of all files. An unreadable file counts
        as such: once it is readable, the video has changed."""
        return _combined_hash(self.files, _readable_stamp)

    def content_hash(self) -> str:
        """SHA-256 of the names and bytes of all readable files, hexadecimal."""
        return _combined_hash(self.files, file_hash)

    def _lazy_frames(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
        for index, file in enumerate(self.files):
            yield LazyFrame(index, index / self.fps, partial(self._load, file))

    def _load(self, file: Path) -> Image:
        image = load_image(file, config=self._limits)
        if image.shape[:2] != self.size_hw:
            height, width = image.shape[:2]
            raise ImageError(
                f"image {printable(file)!r}: is {width} × {height} pixels, and the frames before "
                f"it are {self.size_hw[1]} × {self.size_hw[0]}"
            )
        return image

    def _first_frame_size(self, folder: Path) -> tuple[int, int]:
        first_error: ImageError | None = None
        for file in self.files:
            try:
                height, width = load_image(file, config=self._limits).shape[:2]
            except ImageError as error:
                first_error = first_error or error
            else:
                return height, width
        raise SourceError(
            f"video {printable(folder)!r}: none of its {len(self.files)} frames can be read: "
            f"{first_error}"
        ) from first_error


def _frame_files(folder: Path) -> tuple[Path, ...]:
    display_name = printable(folder)
    try:
        names = [file.name for file in folder.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"video {display_name!r}: cannot be listed: {one_line(error)}") from error
    images = sorted(
        (name for name in names if name.lower().endswith(IMAGE_EXTENSIONS)), key=natural_sort_key
    )
    videos = sorted(name for name in names if name.lower().endswith(VIDEO_EXTENSIONS))
    if videos:
        content = f"holds {len(videos)} videos, such as {printable(videos[0])!r}"
        if images:
            raise SourceError(
                f"video {display_name!r}: {content}, and {len(images)} images; give one of the "
                "videos, or a folder with nothing but the frames of one"
            )
        raise SourceError(f"video {display_name!r}: {content}; give one of them")
    if not images:
        raise SourceError(
            f"video {display_name!r}: is a folder without images; give a video, or the folder of "
            "its frames"
        )
    seen: dict[str, str] = {}
    for name in images:
        other = seen.setdefault(Path(name).stem, name)
        if other != name:
            raise SourceError(
                f"video {display_name!r}: {printable(other)!r} and {printable(name)!r} would be "
                "two consecutive frames; move files that belong to frames, such as masks, to "
                "another folder"
            )
    return tuple(folder / name for name in images)


def _readable_stamp(file: Path) -> str:
    """Stamp of a file; raises `OSError` also for missing permissions, which no stamp shows."""
    if not os.access(file, os.R_OK):
        raise PermissionError
    return file_stamp(file)


def _combined_hash(files: Iterable[Path], fingerprint: Callable[[Path], str]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            value = fingerprint(file)
        except OSError:
            value = "unreadable"
        digest.update(f"{file.name}\0{value}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
