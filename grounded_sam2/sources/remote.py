"""Pictures behind an address: object stores, servers, archives; whatever fsspec opens.

``s3://bucket/prefix``, ``gs://…``, ``hf://datasets/owner/name``, ``zip://**/*.jpg::pictures.zip``.
Credentials come from where the library of each looks for them.

A place is listed once; its names, and what tells the state of each file (ETag, checksum or time,
and size), are kept. The order is that of the paths below it, as in a folder.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import fsspec
from fsspec.core import url_to_fs

from grounded_sam2.errors import ImageError, SourceError, one_line
from grounded_sam2.sources.download import too_large
from grounded_sam2.sources.folder import no_images_error
from grounded_sam2.sources.names import item_name, redact_address, safe_path
from grounded_sam2.sources.patterns import GlobPattern, is_pattern
from grounded_sam2.sources.refs import CachedRef, ImageRef
from grounded_sam2.sources.walk import FoundFile

__all__ = ["RemoteFile", "RemoteListing", "RemoteRef", "RemoteSource", "remote_file"]

_MARKS = (
    *("ETag", "etag", "md5Hash", "blob_id", "sha", "CRC", "mtime", "LastModified"),
    *("last_modified", "last_write_time", "modify", "modificationTime", "created"),
)
"""What the file systems of fsspec call that which changes with a file, the surest first."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file behind an address."""

    file_system: Any
    """An ``fsspec.AbstractFileSystem``."""
    path: str
    """As the file system calls it."""
    listed: str | None = None
    """Its stamp, where it came from a listing."""

    def stamp(self) -> str:
        """Size and the mark of its state; asked of the other end unless it was listed.

        Raises:
            OSError: there is no such file, or it cannot be asked for.
        """
        return self.listed if self.listed is not None else _stamp(self.file_system.info(self.path))

    def open(self) -> Any:
        """The file, open for reading bytes anywhere in it."""
        return self.file_system.open(self.path, "rb")


@dataclass(frozen=True, slots=True)
class RemoteRef(CachedRef):
    """An image behind an address."""

    file: RemoteFile
    max_bytes: int

    def stamp(self) -> str:
        """As `RemoteFile.stamp`; whatever goes wrong is an `ImageError`."""
        try:
            return self.file.stamp()
        except Exception as error:
            raise ImageError(f"image {self.item_id!r}: {one_line(error)}") from error

    def _write(self, file: IO[bytes]) -> None:
        try:
            original = self.file.open()
        except Exception as error:  # apart from what may go wrong with our own disk
            raise ImageError(f"image {self.item_id!r}: {one_line(error)}") from error
        written = 0
        with original:
            while chunk := original.read(1 << 20):
                written += file.write(chunk)
                if written > self.max_bytes:
                    raise too_large(self.item_id, self.max_bytes)


@dataclass(frozen=True)
class RemoteListing:
    """The visible files of a place, in order."""

    address: str
    """What was asked for, without passwords."""
    root: str
    """The address that names are relative to."""
    file_system: Any
    names: tuple[str, ...]
    paths: tuple[str, ...]
    stamps: tuple[str, ...]
    pattern: GlobPattern | None = None
    """What the names were asked to match; all have been listed."""
    is_file: bool = False
    """Whether the address is that of a file."""

    @classmethod
    def of(cls, address: str, *, recursive: bool = True) -> RemoteListing:
        """Ask for the files of a folder, of a pattern, or for a single one.

        Raises:
            SourceError: the protocol is unknown or needs a package, or the place cannot be listed.
        """
        public = redact_address(address)
        file_system, path = _open(address)
        pattern = GlobPattern(path) if is_pattern(path) else None
        base = path if pattern is None else pattern.root
        depth = None if recursive or pattern is not None else 1
        try:
            file_system.invalidate_cache()  # a listing of another run in this process
            found = file_system.find(base, maxdepth=depth, detail=True)
            file_system.invalidate_cache()  # it holds all that it was told of each file
        except FileNotFoundError as error:
            raise SourceError(f"source: {public!r} does not exist") from error
        except Exception as error:
            raise SourceError(f"source: {public!r} cannot be listed: {one_line(error)}") from error
        is_file = pattern is None and list(found) == [base]
        if is_file:
            base = posixpath.dirname(base)
        files = sorted(
            (name, path, _stamp(info))
            for path, info in found.items()
            if _is_visible(name := _below(base, path))
        )
        names, paths, stamps = zip(*files, strict=True) if files else ((), (), ())
        root = _address_of(file_system, base, address)
        return cls(public, root, file_system, names, paths, stamps, pattern, is_file)

    @property
    def suffix(self) -> str:
        """The ending that the address asks for, in lower case; ``""`` for a folder."""
        if self.pattern is not None and not self.pattern.names_ending:
            return ""
        asked = self.names[0] if self.is_file and self.names else ""
        return PurePosixPath(asked if self.pattern is None else self.pattern.rest).suffix.lower()

    def files(self, endings: tuple[str, ...]) -> Iterator[tuple[str, RemoteFile]]:
        """Names and files that match the pattern, if any, and have one of these endings.

        A single file is taken whatever its ending.
        """
        for name, path, stamp in zip(self.names, self.paths, self.stamps, strict=True):
            if self.pattern is not None:
                taken = self.pattern.takes(name, endings)
            else:
                taken = self.is_file or name.lower().endswith(endings)
            if taken:
                yield name, RemoteFile(self.file_system, path, stamp)


class RemoteSource:
    """The images of a listing.

    Args:
        listing: from `RemoteListing.of`.
        images_folder: where copies are kept.
        endings: of images, lower case with dot.
        max_bytes: files that are larger are refused when they are fetched.

    Raises:
        SourceError: no image is in it.
    """

    def __init__(
        self,
        listing: RemoteListing,
        *,
        images_folder: Path,
        endings: tuple[str, ...],
        max_bytes: int,
    ) -> None:
        self.root = listing.root
        self._listing = listing
        self._folder = images_folder
        self._endings = endings
        self._max_bytes = max_bytes
        if next(iter(self), None) is None:
            raise no_images_error(
                repr(listing.address),
                ", ".join(endings) if listing.pattern is None else listing.pattern.wants(endings),
                (FoundFile(name, name) for name in listing.names),
            )

    def __iter__(self) -> Iterator[ImageRef]:
        for name, file in self._listing.files(self._endings):
            item_id = item_name(name)
            yield RemoteRef(item_id, safe_path(self._folder, item_id), file, self._max_bytes)

    def __repr__(self) -> str:
        return f"RemoteSource({self._listing.address!r})"


def remote_file(address: str) -> RemoteFile:
    """One file behind an address; nothing is asked of the other end yet.

    Raises:
        SourceError: the protocol is unknown or needs a package.
    """
    return RemoteFile(*_open(address))


def _open(address: str) -> tuple[Any, str]:
    try:
        return url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"source: {redact_address(address)!r}: {_help(address, error)}"
        ) from error
    except Exception as error:  # an archive is opened here
        raise SourceError(
            f"source: {redact_address(address)!r} cannot be opened: {one_line(error)}"
        ) from error


def _help(address: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"a package is missing: {one_line(error)}"
    protocols = {part.split("://")[0] for part in address.split("::") if "://" in part}
    unknown = sorted(protocols - set(fsspec.available_protocols()))
    if unknown:
        return f"unknown protocol {unknown[0]!r}; give one that fsspec knows, such as s3, gs or zip"
    return one_line(error)


def _address_of(file_system: Any, path: str, asked: str) -> str:
    """The address of a path in the place of the one that was asked for."""
    within, _, outer = asked.partition("::")
    archive = f"::{outer}" if outer and "://" in within else ""
    return redact_address(file_system.unstrip_protocol(path) + archive)


def _below(base: str, path: str) -> str:
    """A path relative to the folder that was asked for."""
    return path[len(base) :].removeprefix("/") if path.startswith(base) else path


def _is_visible(name: str) -> bool:
    return bool(name) and not name.endswith("/") and "/." not in f"/{name}"


def _stamp(info: Mapping[str, Any]) -> str:
    mark = next((info[key] for key in _MARKS if info.get(key) is not None), "")
    if isinstance(mark, datetime):  # some list the one and inform of the other
        mark = mark.timestamp()
    return f"{info.get('size', '')}:{mark}"
