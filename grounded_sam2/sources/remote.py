"""Image source for remote storage and archives: whatever fsspec opens.

``s3://bucket/prefix``, ``gs://…``, ``hf://datasets/owner/name``, ``zip://**/*.jpg::images.zip``.
Each protocol's library looks for credentials in its own way.

A location is listed once. The names are kept, and of each file its size and ETag, checksum or
modification time. The order is that of the paths below the root, as in a folder.
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
from grounded_sam2.sources.download import too_large_error
from grounded_sam2.sources.folder import no_images_error
from grounded_sam2.sources.names import item_name, redact_address, safe_path
from grounded_sam2.sources.patterns import GlobPattern, is_pattern
from grounded_sam2.sources.refs import CachedRef, ImageRef
from grounded_sam2.sources.walk import FoundFile

__all__ = ["RemoteFile", "RemoteListing", "RemoteRef", "RemoteSource", "remote_file"]

_VERSION_KEYS = (
    *("ETag", "etag", "md5Hash", "blob_id", "sha", "CRC", "mtime", "LastModified"),
    *("last_modified", "last_write_time", "modify", "modificationTime", "created"),
)
"""Keys under which the file systems of fsspec report a file's version, the most reliable first."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that fsspec opens. Picklable: the file system pickles by its options."""

    file_system: Any
    """An ``fsspec.AbstractFileSystem``."""
    path: str
    """Path within the file system."""
    listed_stamp: str | None = None
    """Its stamp as of the listing; ``None`` if it was not listed."""

    def stamp(self) -> str:
        """Size and version of the file: as listed, or else requested from the file system.

        Raises:
            OSError: there is no such file, or the request fails.
        """
        if self.listed_stamp is not None:
            return self.listed_stamp
        return _stamp(self.file_system.info(self.path))

    def open(self) -> Any:
        """Open the file for reading, binary and seekable."""
        return self.file_system.open(self.path, "rb")


@dataclass(frozen=True, slots=True)
class RemoteRef(CachedRef):
    """Reference to an image in a file system of fsspec."""

    file: RemoteFile
    max_bytes: int

    def stamp(self) -> str:
        """As `RemoteFile.stamp`, but any failure is an `ImageError`."""
        try:
            return self.file.stamp()
        except Exception as error:
            raise ImageError(f"image {self.item_id!r}: {one_line(error)}") from error

    def _write(self, file: IO[bytes]) -> None:
        try:
            original = self.file.open()
        except Exception as error:  # failures of the local disk stay OSErrors
            raise ImageError(f"image {self.item_id!r}: {one_line(error)}") from error
        written = 0
        with original:
            while chunk := original.read(1 << 20):
                written += file.write(chunk)
                if written > self.max_bytes:
                    raise too_large_error(self.item_id, self.max_bytes)


@dataclass(frozen=True)
class RemoteListing:
    """The visible files of a remote folder or glob pattern, or one file, in order."""

    address: str
    """The requested address, without credentials."""
    root: str
    """Address that `names` are relative to."""
    file_system: Any
    names: tuple[str, ...]
    paths: tuple[str, ...]
    stamps: tuple[str, ...]
    pattern: GlobPattern | None = None
    """Requested pattern; `names` holds all files below its root, matching or not."""
    is_file: bool = False
    """Whether the address is that of one file."""

    @classmethod
    def of(cls, address: str, *, recursive: bool = True) -> RemoteListing:
        """List a folder, a glob pattern or one file.

        Raises:
            SourceError: the protocol is unknown or needs a package, or the listing fails.
        """
        public = redact_address(address)
        file_system, path = _open(address)
        pattern = GlobPattern(path) if is_pattern(path) else None
        base = path if pattern is None else pattern.root
        depth = None if recursive or pattern is not None else 1
        try:
            file_system.invalidate_cache()  # listings of earlier runs in this process
            found = file_system.find(base, maxdepth=depth, detail=True)
            file_system.invalidate_cache()  # its details of every file take much memory
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
            if _is_visible(name := _relative(base, path))
        )
        names, paths, stamps = zip(*files, strict=True) if files else ((), (), ())
        root = _address_of(file_system, base, address)
        return cls(public, root, file_system, names, paths, stamps, pattern, is_file)

    @property
    def suffix(self) -> str:
        """Extension that the address names, in lower case; ``""`` for a folder."""
        if self.pattern is not None:
            requested = self.pattern.relative if self.pattern.has_extension else ""
        else:
            requested = self.names[0] if self.is_file and self.names else ""
        return PurePosixPath(requested).suffix.lower()

    def files(self, extensions: tuple[str, ...]) -> Iterator[tuple[str, RemoteFile]]:
        """Yield names and files that match the pattern, if any, and have one of the extensions.

        A single file is yielded whatever its extension.
        """
        for name, path, stamp in zip(self.names, self.paths, self.stamps, strict=True):
            if self.pattern is not None:
                matches = self.pattern.matches(name, extensions)
            else:
                matches = self.is_file or name.lower().endswith(extensions)
            if matches:
                yield name, RemoteFile(self.file_system, path, stamp)


class RemoteSource:
    """The images of a listing.

    Args:
        listing: from `RemoteListing.of`.
        images_folder: holds the cached copies.
        extensions: extensions of images, lower case with dot.
        max_bytes: larger files are refused when they are fetched.

    Raises:
        SourceError: the listing has no image.
    """

    def __init__(
        self,
        listing: RemoteListing,
        *,
        images_folder: Path,
        extensions: tuple[str, ...],
        max_bytes: int,
    ) -> None:
        self.root = listing.root
        self._listing = listing
        self._folder = images_folder
        self._extensions = extensions
        self._max_bytes = max_bytes
        if next(iter(self), None) is None:
            wanted = ", ".join(extensions)
            if listing.pattern is not None:
                wanted = listing.pattern.describe(extensions)
            found = (FoundFile(name, name) for name in listing.names)
            raise no_images_error(repr(listing.address), wanted, found)

    def __iter__(self) -> Iterator[ImageRef]:
        for name, file in self._listing.files(self._extensions):
            item_id = item_name(name)
            yield RemoteRef(item_id, safe_path(self._folder, item_id), file, self._max_bytes)

    def __repr__(self) -> str:
        return f"RemoteSource({self._listing.address!r})"


def remote_file(address: str) -> RemoteFile:
    """The file at an address; makes no request yet.

    Raises:
        SourceError: the protocol is unknown or needs a package.
    """
    return RemoteFile(*_open(address))


def _open(address: str) -> tuple[Any, str]:
    try:
        return url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"source: {redact_address(address)!r}: {_open_failure(address, error)}"
        ) from error
    except Exception as error:  # an archive is already opened here
        raise SourceError(
            f"source: {redact_address(address)!r} cannot be opened: {one_line(error)}"
        ) from error


def _open_failure(address: str, error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"a package is missing: {one_line(error)}"
    protocols = {part.split("://")[0] for part in address.split("::") if "://" in part}
    unknown = sorted(protocols - set(fsspec.available_protocols()))
    if unknown:
        return f"unknown protocol {unknown[0]!r}; give one that fsspec knows, such as s3, gs or zip"
    return one_line(error)


def _address_of(file_system: Any, path: str, requested: str) -> str:
    """The address of a path in the same file system, and archive if any, as the requested one."""
    within, _, outer = requested.partition("::")
    archive = f"::{outer}" if outer and "://" in within else ""
    return redact_address(file_system.unstrip_protocol(path) + archive)


def _relative(base: str, path: str) -> str:
    """A path relative to the listed folder."""
    return path[len(base) :].removeprefix("/") if path.startswith(base) else path


def _is_visible(name: str) -> bool:
    return bool(name) and not name.endswith("/") and "/." not in f"/{name}"


def _stamp(info: Mapping[str, Any]) -> str:
    version = next((info[key] for key in _VERSION_KEYS if info.get(key) is not None), "")
    if isinstance(version, datetime):  # some file systems list numbers and report datetimes
        version = version.timestamp()
    return f"{info.get('size', '')}:{version}"
