"""A folder of frames as a video."""

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
    """Key to sort names by: numbers in them count as numbers, so that ``f2`` is before ``f10``."""
    parts = re.split(r"([0-9]+)", PurePosixPath(name).stem)
    numbered = [int(part) if place % 2 else part for place, part in enumerate(parts)]
    return numbered, name  # which tells 1 from 01


class FrameFolder(VideoSource):
    """The images of a folder, in natural order of their names.

    Folders in it, hidden files, and files that are no images by their ending are left out. The
    number of a frame is its place in that order, readable or not; an image of another size than
    the first that can be read is broken, since masks of one video have one size.

    Args:
        folder: the folder.
        name: of the items; that of the folder if ``None``.
        fps: frames per second.
        selection: which frames are taken.
        limits: of the size of images.

    Raises:
        SourceError: it cannot be listed; it holds no image, none that can be read, videos as
            well, or two images of one name with different endings.
    """

    path: Path
    files: tuple[Path, ...]
    """Of all frames, by their number."""

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
            size_hw=self._first_size(folder),
            frame_count=len(self.files),
            selection=selection,
        )

    def stamp(self) -> str:
        """Hash of the names, sizes and times of all files. One that cannot be read is a broken
        frame, and says so in here: when it can be, the video has changed."""
        return _digest(self.files, _readable_stamp)

    def content_hash(self) -> str:
        """SHA-256 of the names and bytes of all files, as far as they can be read."""
        return _digest(self.files, file_hash)

    def _pending(self, broken: BrokenFrameLog) -> Generator[LazyFrame, None, None]:
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

    def _first_size(self, folder: Path) -> tuple[int, int]:
        first: ImageError | None = None
        for file in self.files:
            try:
                height, width = load_image(file, config=self._limits).shape[:2]
            except ImageError as error:
                first = first or error
            else:
                return height, width
        raise SourceError(
            f"video {printable(folder)!r}: none of its {len(self.files)} frames can be read: "
            f"{first}"
        ) from first


def _frame_files(folder: Path) -> tuple[Path, ...]:
    shown = printable(folder)
    try:
        names = [file.name for file in folder.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"video {shown!r}: cannot be listed: {one_line(error)}") from error
    images = sorted(
        (name for name in names if name.lower().endswith(IMAGE_EXTENSIONS)), key=natural_sort_key
    )
    videos = sorted(name for name in names if name.lower().endswith(VIDEO_EXTENSIONS))
    if videos:
        held = f"holds {len(videos)} videos, such as {printable(videos[0])!r}"
        if images:
            raise SourceError(
                f"video {shown!r}: {held}, and {len(images)} images; give one of the videos, "
                "or a folder with nothing but the frames of one"
            )
        raise SourceError(f"video {shown!r}: {held}; give one of them")
    if not images:
        raise SourceError(
            f"video {shown!r}: is a folder without images; give a video, or the folder in which "
            "its frames lie"
        )
    seen: dict[str, str] = {}
    for name in images:
        other = seen.setdefault(Path(name).stem, name)
        if other != name:
            raise SourceError(
                f"video {shown!r}: {printable(other)!r} and {printable(name)!r} would be one frame "
                "after the other; keep what belongs to frames, such as masks, in another folder"
            )
    return tuple(folder / name for name in images)


def _readable_stamp(file: Path) -> str:
    """Raise `OSError` also where only the permissions are lacking, which no stamp shows."""
    if not os.access(file, os.R_OK):
        raise PermissionError
    return file_stamp(file)


def _digest(files: Iterable[Path], told_by: Callable[[Path], str]) -> str:
    digest = hashlib.sha256()
    for file in files:
        try:
            told = told_by(file)
        except OSError:
            told = "unreadable"
        digest.update(f"{file.name}\0{told}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
