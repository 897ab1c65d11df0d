"""Selection of the image source for an input.

    folder, file, several files      local files
    ``images/**/*.jpg``              files that match a glob pattern
    ``images.txt``, CSV, JSONL       a list of paths and addresses
    ``cats.parquet``, ``.arrow``     rows of a dataset; a folder or pattern of Parquet files;
                                     a folder written by ``save_to_disk`` of ``datasets``
    ``images.zip``                   the images in an archive
    ``s3://…``, ``hf://…`` …         any of these at an address that fsspec supports
    ``https://host/a.jpg``           one image on the web

A folder of images with a table of metadata beside them (an imagefolder of ``datasets``) is a
folder of images.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import SourceError, printable
from grounded_sam2.sources.folder import (
    IMAGE_EXTENSIONS,
    FolderSource,
    has_images,
    normalize_extensions,
)
from grounded_sam2.sources.image_list import LIST_EXTENSIONS, ListSource, is_address, read_list
from grounded_sam2.sources.names import cache_folder, redact_address
from grounded_sam2.sources.patterns import GlobPattern, GlobSource, is_pattern
from grounded_sam2.sources.refs import ImageSource
from grounded_sam2.sources.remote import RemoteListing, RemoteSource
from grounded_sam2.sources.shards import SHARD_EXTENSIONS, Shard, saved_shards
from grounded_sam2.sources.table_source import RowSource, find_shard_column, text_entries
from grounded_sam2.sources.walk import walk

__all__ = ["default_output_folder", "open_image_source"]

_CONTAINER_EXTENSIONS = (*LIST_EXTENSIONS, *SHARD_EXTENSIONS, ".zip")


def open_image_source(
    given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    images_folder: Path,
    extensions: str | Iterable[str] = IMAGE_EXTENSIONS,
    recursive: bool = True,
    exclude: Iterable[str | os.PathLike[str]] = (),
    column: str | None = None,
    limits: ImageConfig = ImageConfig(),  # noqa: B008  (frozen)
) -> ImageSource:
    """Return the image source for an input. No image is opened.

    Args:
        given: a path, a glob pattern or an address; or several paths and addresses of images.
        images_folder: holds cached copies of images that are not local files, one folder per
            location; created when the first image is fetched.
        extensions: extensions of images in folders and archives, and for patterns that name none.
            ``.parquet``, ``.arrow`` or both select tables instead.
        recursive: also list subfolders.
        exclude: folders to skip, such as the output of an earlier run among the images.
        column: column of a table or list that holds the images, their paths or addresses; if
            ``None``, found by its type in tables and by its name in lists.
        limits: limits of downloads.

    Raises:
        SourceError: the input does not exist or cannot be opened, holds no images, or holds both
            images and tables of images. The message names what was looked for and the repair.
    """
    items = [given] if isinstance(given, (str, os.PathLike)) else list(given)
    factory = _SourceFactory(
        images_folder=Path(images_folder),
        extensions=normalize_extensions(extensions),
        recursive=recursive,
        exclude=tuple(Path(path) for path in exclude),
        column=column,
        limits=limits,
    )
    paths = [os.fspath(item) for item in items]
    return factory.single(paths[0]) if len(paths) == 1 else factory.several(paths)


def default_output_folder(given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Path:
    """Default output folder for the labels of an input.

    Returns:
        ``images_labeled`` beside ``images``; for a pattern, beside the folder before its first
        wildcard; for several files, beside the folder of the first; for an address, in the working
        directory.
    """
    if isinstance(given, (str, os.PathLike)):
        text = os.fspath(given)
    else:
        first = os.fspath(given[0]) if len(given) else ""
        text = re.split("[?#]", first)[0].rpartition("/")[0] if is_address(first) else ""
        text = text or os.fspath(Path(first).parent)
    if is_address(text):
        parts = re.split(r"[/:]+", re.split(r"[*?\[]", redact_address(text))[0])
        names = [part for part in parts if part]
        return Path(f"{Path(names[-1]).stem}_labeled")
    path = Path(text)
    if is_pattern(text) and not os.path.lexists(path):
        path = Path(GlobPattern(path.as_posix()).root)
    path = path.resolve()
    return path.with_name(f"{path.stem if path.is_file() else path.name}_labeled")


@dataclass(frozen=True)
class _SourceFactory:
    """Options of `open_image_source`, and one method per type of input."""

    images_folder: Path
    extensions: tuple[str, ...]
    recursive: bool
    exclude: tuple[Path, ...]
    column: str | None
    limits: ImageConfig

    def single(self, given: str) -> ImageSource:
        if is_address(given):
            return self._address(given)
        path = Path(given)
        if given and os.path.isdir(path):  # noqa: PTH112  (Path.is_dir may raise)
            return self._folder(path)
        if given and os.path.lexists(path):
            return self._file(path)
        if is_pattern(given):
            images = GlobSource(given, extensions=self.extensions, exclude=self.exclude)
            if path.suffix.lower() in SHARD_EXTENSIONS:
                shards = [Shard(ref.item_id, ref.path) for ref in images]
                return self._rows(shards, images.root, given)
            return self._without_columns(images, given)
        raise SourceError(f"source: {printable(given)!r} does not exist; {_repair(given)}")

    def several(self, items: Sequence[str]) -> ImageSource:
        local = [item for item in items if not is_address(item)]
        for item in local:
            is_container = Path(item).suffix.lower() in _CONTAINER_EXTENSIONS
            if is_container or (is_pattern(item) and not os.path.lexists(item)):
                raise SourceError(
                    f"source: {printable(item)!r} among several: a pattern, list, table or archive "
                    "must be given alone; write the paths of all images into one list"
                )
        if len(local) == len(items):
            return self._without_columns(FolderSource(items), "a list of files")
        return self._addresses(items)

    def _folder(self, path: Path) -> ImageSource:
        if (saved := saved_shards(path)) is not None:
            return self._rows(saved, path, str(path))
        images = partial(
            FolderSource,
            path,
            extensions=self.extensions,
            recursive=self.recursive,
            exclude=self.exclude,
        )
        excluded = frozenset(folder.resolve() for folder in self.exclude)
        shards = [
            Shard(found.name, Path(found.path))
            for found in walk(path, enter=lambda name: self.recursive, excluded=excluded)
            if found.failure is None and found.name.lower().endswith(self._shard_extensions)
        ]
        return self._rows_or_images(shards, images, path, str(path))

    def _file(self, path: Path) -> ImageSource:
        suffix = path.suffix.lower()
        if suffix in LIST_EXTENSIONS:
            entries = partial(read_list, path, column=self.column)
            return self._list(entries, f"list {printable(path)!r}", path.parent)
        if suffix in SHARD_EXTENSIONS:
            return self._rows([Shard(path.name, path)], path, str(path))
        if suffix == ".zip":
            return self._address(f"zip://::{os.path.abspath(path)}")  # noqa: PTH100
        return self._without_columns(FolderSource(path), str(path))

    def _address(self, address: str) -> ImageSource:
        protocol = address.split("://")[0].lower()
        if protocol == "file":
            return self.single(url2pathname(urlsplit(address).path))
        if protocol in ("http", "https"):
            return self._addresses([address])
        listing = RemoteListing.of(address, recursive=self.recursive)
        if listing.is_file and listing.suffix in LIST_EXTENSIONS:
            raise SourceError(
                f"source: {listing.address!r}: a list must be a local file; download it first"
            )
        if listing.is_file and listing.suffix == ".zip":
            return self._address(f"zip://::{address}")
        images = partial(
            RemoteSource,
            listing,
            images_folder=cache_folder(self.images_folder, listing.root),
            extensions=self.extensions,
            max_bytes=self.limits.url_max_bytes,
        )
        if listing.suffix in SHARD_EXTENSIONS:
            shards = [Shard(name, file) for name, file in listing.files(SHARD_EXTENSIONS)]
            return self._rows(shards, listing.root, listing.address)
        if listing.suffix or listing.pattern is not None:
            return self._without_columns(images(), listing.address)
        shards = [Shard(name, file) for name, file in listing.files(self._shard_extensions)]
        return self._rows_or_images(shards, images, listing.root, listing.address)

    def _addresses(self, items: Sequence[str]) -> ImageSource:
        """Images by their addresses, and by paths among them."""
        if self.column is not None:
            raise self._no_table("a list of addresses")
        local = [os.path.abspath(item) for item in items if not is_address(item)]  # noqa: PTH100
        if local:
            folder = Path(os.path.commonpath([Path(path).parent for path in local]))
            return self._list(lambda: items, "list of images", Path(), root=folder)
        shared = os.path.commonprefix([redact_address(item) for item in items])  # noqa: RUF071
        return self._list(lambda: items, "list of images", Path(), root=shared.rpartition("/")[0])

    def _rows_or_images(
        self,
        shards: Sequence[Shard],
        images: Callable[[], ImageSource],
        root: Path | str,
        where: str,
    ) -> ImageSource:
        """Either the rows of tables or the image files of one location, never both."""
        if self.column is not None or self._wants_tables:
            if not shards:
                raise self._no_table(where)
            return self._rows(shards, root, where)
        try:
            found = images()
        except SourceError:
            if not shards:
                raise
            return self._rows(shards, root, where)
        if shards and _have_image_column(shards):
            raise SourceError(
                f"source: {printable(where)!r} holds images and also tables with images in "
                f"their rows, such as {printable(shards[0].name)!r}; select one of them by its "
                "extension (.jpg …, or .parquet), or give the folder of one"
            )
        return found

    def _rows(self, shards: Sequence[Shard], root: Path | str, where: str) -> ImageSource:
        try:
            column = find_shard_column(shards, self.column)
        except SourceError as error:
            raise SourceError(f"source: {printable(where)!r}: {error}") from error
        if column.kind == "text":
            name = f"column {column.name!r} of {printable(where)!r}"
            entries = partial(text_entries, shards, column)
            if isinstance(root, str):
                return self._list(entries, name, Path(), root=root)
            return self._list(entries, name, root.parent if root.is_file() else root)
        rows = RowSource(
            shards, column, root=root, images_folder=cache_folder(self.images_folder, root)
        )
        if not has_images(rows):
            raise SourceError(f"source: {printable(where)!r}: its tables have no rows")
        return rows

    def _list(
        self,
        entries: Callable[[], Iterable[str]],
        name: str,
        folder: Path,
        *,
        root: Path | str | None = None,
    ) -> ImageSource:
        root = folder if root is None else root
        return ListSource(
            entries,
            name=name,
            folder=folder,
            root=root,
            images_folder=cache_folder(self.images_folder, root),
            limits=self.limits,
        )

    def _without_columns(self, images: ImageSource, where: str) -> ImageSource:
        if self.column is not None:
            raise self._no_table(where)
        return images

    def _no_table(self, where: str) -> SourceError:
        requested = "tables were" if self.column is None else f"column {self.column!r} was"
        return SourceError(f"source: {requested} requested, and {printable(where)!r} has no table")

    @property
    def _wants_tables(self) -> bool:
        return set(self.extensions) <= set(SHARD_EXTENSIONS)

    @property
    def _shard_extensions(self) -> tuple[str, ...]:
        """Extensions of the tables to look for in a folder."""
        if self._wants_tables:
            return self.extensions
        is_default = self.extensions == IMAGE_EXTENSIONS
        # Not .arrow by default: the caches of datasets are Arrow files too.
        return (".parquet",) if is_default or self.column is not None else ()


def _have_image_column(shards: Sequence[Shard]) -> bool:
    try:
        find_shard_column(shards)
    except SourceError:  # tables of metadata
        return False
    return True


def _repair(given: str) -> str:
    if re.match(r"[a-z0-9+]{2,}:/[^/]", given):
        return "give an address as text, with two slashes, not as a Path"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", given):
        return f"for a dataset on the hub, give hf://datasets/{given}"
    return "give a folder, a file, a pattern, a list, a dataset or an address"
