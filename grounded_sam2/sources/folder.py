"""Image sources of local files: a folder, one file, or a list of files.

The order is that of `grounded_sam2.sources.walk`: by the whole relative path, character by
character.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from grounded_sam2.errors import SourceError, printable
from grounded_sam2.sources.names import item_name
from grounded_sam2.sources.refs import FailedRef, ImageRef
from grounded_sam2.sources.walk import FoundFile, walk

__all__ = [
    "IMAGE_EXTENSIONS",
    "FolderSource",
    "has_images",
    "image_refs",
    "no_images_error",
    "normalize_extensions",
]

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".avif", ".jp2", ".j2k", ".qoi", ".heic", ".heif"),
)


def normalize_extensions(extensions: str | Iterable[str]) -> tuple[str, ...]:
    """Extensions in lower case with their dots; ``jpg``, ``.JPG`` and ``*.jpg`` are equal.

    Raises:
        SourceError: there are none, or one is empty, which would match every file.
    """
    given = [extensions] if isinstance(extensions, str) else list(extensions)
    bare = [extension.lower().removeprefix("*").removeprefix(".") for extension in given]
    if not bare or not all(bare):
        raise SourceError(f"source: extensions {given!r}: empty; give at least one, such as .jpg")
    return tuple(dict.fromkeys(f".{extension}" for extension in bare))


def image_refs(files: Iterable[FoundFile], matches: Callable[[str], bool]) -> Iterator[ImageRef]:
    """References to the images among listed files; a `FailedRef` for each unreadable folder.

    Args:
        files: from `grounded_sam2.sources.walk.walk`.
        matches: whether a file is an image, given its path relative to the root.

    Raises:
        SourceError: the root itself cannot be listed. Going on would mean that every image is
            gone.
    """
    for found in files:
        if found.failure is not None:
            reason = f"source: {_listing_failure(found)}"
            if not found.name:
                raise SourceError(reason)
            yield FailedRef(item_name(found.name), Path(found.path), reason)
        elif matches(found.name):
            yield ImageRef(item_name(found.name), Path(found.path))


def has_images(refs: Iterable[ImageRef]) -> bool:
    """Whether there is at least one image that is no `FailedRef`; stops at the first."""
    return any(not isinstance(ref, FailedRef) for ref in refs)


def no_images_error(where: str, wanted: str, files: Iterable[FoundFile]) -> SourceError:
    """The error for a location without images: counts the extensions found there instead."""
    extensions: Counter[str] = Counter()
    failures = []
    for found in files:
        if found.failure is None:
            extensions[PurePosixPath(found.name).suffix.lower()] += 1
        else:
            failures.append(_listing_failure(found))
    counted = ", ".join(f"{each or 'none'} ({n})" for each, n in extensions.most_common(8))
    return SourceError(
        f"source: no images in {where}; looked for {wanted}; "
        + "; ".join([f"found {printable(counted) or 'no files'}", *failures[:3]])
    )


def _listing_failure(found: FoundFile) -> str:
    return f"folder {printable(found.path)!r} cannot be listed: {found.failure}"


class FolderSource:
    """The images of a folder, a file, or a list of files.

    Each iteration lists the folder again and yields an `ImageRef` per image; `len` counts them by
    one more listing. No image is opened: decode with
    `grounded_sam2.sources.image.load_image_file`.

    Hidden files and folders (``.name``) are skipped. Links are followed, except a link to one of
    the folders that contain it. A broken link counts as an image, which fails when it is opened;
    so does a folder below the root that cannot be listed.

    Args:
        root: a folder, a file or several files. Files are included whatever their extension; their
            ids are relative to their common folder, and duplicates are dropped.
        extensions: extensions of images, with or without dot, in any case.
        recursive: also list the folders below `root`.
        exclude: folders to skip, such as the output of an earlier run inside `root`.

    Raises:
        SourceError: `root` does not exist or cannot be listed, or it holds no image; the message
            names the extensions looked for and those found.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        extensions: str | Iterable[str] = IMAGE_EXTENSIONS,
        recursive: bool = True,
        exclude: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self.extensions = normalize_extensions(extensions)
        self.recursive = recursive
        self._excluded = frozenset(Path(path).resolve() for path in exclude)
        if isinstance(root, (str, os.PathLike)) and Path(root).is_dir():
            self.root = Path(root)
            self._files: tuple[Path, ...] | None = None
            if not has_images(self):
                without = "" if recursive else " (without its subfolders)"
                raise no_images_error(
                    f"{printable(self.root)!r}{without}", ", ".join(self.extensions), self._walk()
                )
        else:
            files = [root] if isinstance(root, (str, os.PathLike)) else root
            self._files = tuple(_absolute_file(path) for path in files)
            if not self._files:
                raise SourceError("source: the list of files is empty; give at least one")
            self.root = Path(os.path.commonpath([path.parent for path in self._files]))

    def __iter__(self) -> Iterator[ImageRef]:
        if self._files is None:
            yield from image_refs(self._walk(), lambda name: name.lower().endswith(self.extensions))
        else:
            names = {path.relative_to(self.root).as_posix(): path for path in self._files}
            for name in sorted(names):
                yield ImageRef(item_name(name), names[name])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"FolderSource({str(self.root)!r})"

    def _walk(self) -> Iterator[FoundFile]:
        return walk(self.root, enter=lambda name: self.recursive, excluded=self._excluded)


def _absolute_file(path: str | os.PathLike[str]) -> Path:
    absolute = Path(os.path.abspath(path))  # not resolve(): a link keeps its own name  # noqa: PTH100
    if absolute.is_dir():
        raise SourceError(
            f"source: {printable(path)!r} is a folder among files; give one folder, or only files"
        )
    if not absolute.is_file():
        raise SourceError(f"source: {printable(path)!r} does not exist")
    return absolute
