"""Pictures in folders, in an order that never changes: names now, pixels later.

The order is that of the POSIX paths relative to the root, compared character by character
(``a-1.png`` < ``a.png`` < ``a/1.png``; ``10.png`` < ``2.png``). It depends on nothing but the
names: not on the file system, the locale or the time. One folder is held in memory at a time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.image import printable
from grounded_sam2.sources.refs import ImageRef

__all__ = ["IMAGE_EXTENSIONS", "FolderSource"]

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".jp2", ".j2k", ".qoi", ".heic", ".heif"),
)


class FolderSource:
    """The pictures of a folder, a file, or a list of files.

    Iterating yields an `ImageRef` for each picture, and may be done again; `len` counts them by
    walking the folder once more. Nothing is opened: decode with
    `grounded_sam2.sources.image.load_frame`.

    Hidden files and folders (``.name``) are left out. Links are followed; a link to a folder that
    it lies in is not. A broken link counts as a picture, to be reported when it is opened.

    Args:
        root: a folder; or a file, or several, which are taken whatever their extension. Then the
            ids are relative to the folder that all lie in, and a file named twice comes once.
        extensions: endings to take, with or without dot, in any case.
        recursive: go into folders.
        exclude: folders to leave out, such as the output of an earlier run inside `root`.

    Raises:
        SourceError: `root` does not exist or cannot be listed, or there is no picture in it; names
            the extensions tried and those found. A folder that becomes unreadable later raises
            while iterating.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        extensions: str | Iterable[str] = IMAGE_EXTENSIONS,
        recursive: bool = True,
        exclude: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        given = [extensions] if isinstance(extensions, str) else extensions
        self.extensions = tuple("." + ending.lower().removeprefix(".") for ending in given)
        self.recursive = recursive
        self._excluded = frozenset(Path(path).resolve() for path in exclude)
        if isinstance(root, (str, os.PathLike)) and Path(root).is_dir():
            self.root = Path(root)
            self._files: tuple[Path, ...] | None = None
            if next(iter(self), None) is None:
                raise SourceError(self._nothing_found())
        else:
            files = [root] if isinstance(root, (str, os.PathLike)) else root
            self._files = tuple(_absolute_file(path) for path in files)
            if not self._files:
                raise SourceError("source: the list of files is empty; give at least one")
            self.root = Path(os.path.commonpath([path.parent for path in self._files]))

    def __iter__(self) -> Iterator[ImageRef]:
        if self._files is None:
            for entry, name in self._walk(self.root, "", ()):
                if name.lower().endswith(self.extensions):
                    yield ImageRef(printable(name), Path(entry.path))
        else:
            names = {path.relative_to(self.root).as_posix(): path for path in self._files}
            for name in sorted(names):
                yield ImageRef(printable(name), names[name])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"FolderSource({str(self.root)!r})"

    def _walk(
        self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]
    ) -> Iterator[tuple[os.DirEntry[str], str]]:
        """Files below a folder with their names relative to the root, in order.

        `above` identifies the folders on the way here, to notice a link back to one of them.
        """
        try:
            stat = folder.stat()
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise SourceError(
                f"source: folder {printable(folder)!r} cannot be listed: {error.strerror}"
            ) from error
        here = (stat.st_dev, stat.st_ino)
        if here in above or (self._excluded and folder.resolve() in self._excluded):
            return
        folders = {entry.name for entry in visible if _is_folder(entry)}
        # With its slash, a folder sorts where the paths below it do.
        for entry in sorted(visible, key=lambda e: e.name + "/" * (e.name in folders)):
            if entry.name not in folders:
                # neither pipes nor devices: opening one could wait for ever
                if entry.is_symlink() or entry.is_file():
                    yield entry, prefix + entry.name
            elif self.recursive:
                yield from self._walk(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))

    def _nothing_found(self) -> str:
        found = Counter(Path(name).suffix.lower() for _, name in self._walk(self.root, "", ()))
        endings = ", ".join(f"{end or 'none'} ({n})" for end, n in found.most_common(8))
        return (
            f"source: no pictures in {printable(self.root)!r}"
            f"{'' if self.recursive else ' (without its folders)'}; looked for "
            f"{', '.join(self.extensions)}; found {endings or 'no files'}"
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _absolute_file(path: str | os.PathLike[str]) -> Path:
    absolute = Path(os.path.abspath(path))  # not resolve(): a link keeps its own name  # noqa: PTH100
    if absolute.is_dir():
        raise SourceError(
            f"source: {printable(path)!r} is a folder among files; give one folder, or only files"
        )
    if not absolute.is_file():
        raise SourceError(f"source: {printable(path)!r} does not exist")
    return absolute
