"""Pictures in folders, in an order that never changes: names now, pixels later.

The order is that of `grounded_sam2.sources.walk`: by the whole path, character by character.
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
    """Endings in lower case with their dots; ``jpg``, ``.JPG`` and ``*.jpg`` are one.

    Raises:
        SourceError: none, or an empty one, which would be that of every file.
    """
    given = [extensions] if isinstance(extensions, str) else list(extensions)
    endings = [ending.lower().removeprefix("*").removeprefix(".") for ending in given]
    if not endings or not all(endings):
        raise SourceError(f"source: extensions {given!r} name no ending; give some, such as .jpg")
    return tuple(dict.fromkeys(f".{ending}" for ending in endings))


def image_refs(files: Iterable[FoundFile], taken: Callable[[str], bool]) -> Iterator[ImageRef]:
    """What a walk came upon, as images to be.

    Args:
        files: from `grounded_sam2.sources.walk.walk`.
        taken: whether a file of this name (relative to the root) is wanted.

    Raises:
        SourceError: the root itself cannot be listed. To go on would be to say that every image
            is gone.
    """
    for found in files:
        if found.failure is not None:
            reason = f"source: {_unlisted(found)}"
            if not found.name:
                raise SourceError(reason)
            yield FailedRef(item_name(found.name), Path(found.path), reason)
        elif taken(found.name):
            yield ImageRef(item_name(found.name), Path(found.path))


def has_images(refs: Iterable[ImageRef]) -> bool:
    """Whether there is one at least; stops at the first."""
    return any(not isinstance(ref, FailedRef) for ref in refs)


def no_images_error(where: str, looked_for: str, files: Iterable[FoundFile]) -> SourceError:
    """The error for a place without images: says what is there instead."""
    endings: Counter[str] = Counter()
    failures = []
    for found in files:
        if found.failure is None:
            endings[PurePosixPath(found.name).suffix.lower()] += 1
        else:
            failures.append(_unlisted(found))
    counted = ", ".join(f"{end or 'none'} ({n})" for end, n in endings.most_common(8))
    return SourceError(
        f"source: no images in {where}; looked for {looked_for}; "
        + "; ".join([f"found {printable(counted) or 'no files'}", *failures[:3]])
    )


def _unlisted(found: FoundFile) -> str:
    return f"folder {printable(found.path)!r} cannot be listed: {found.failure}"


class FolderSource:
    """The images of a folder, a file, or a list of files.

    Iterating yields an `ImageRef` for each image, and may be done again; `len` counts them by
    walking the folder once more. Nothing is opened: decode with
    `grounded_sam2.sources.image.load_image_file`.

    Hidden files and folders (``.name``) are left out. Links are followed; a link to a folder that
    it lies in is not. A broken link counts as an image, to be reported when it is opened; so does
    a folder below the root that cannot be listed.

    Args:
        root: a folder; or a file, or several, which are taken whatever their extension. Then the
            ids are relative to the folder that all lie in, and a file named twice comes once.
        extensions: endings to take, with or without dot, in any case.
        recursive: go into folders.
        exclude: folders to leave out, such as the output of an earlier run inside `root`.

    Raises:
        SourceError: `root` does not exist or cannot be listed, or there is no image in it; names
            the extensions tried and those found.
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
                without = "" if recursive else " (without its folders)"
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
