"""Lists of images, as files and as image sources: paths and addresses, in the listed order.

List files:

- ``.csv``, ``.tsv``: one column, named by the caller or else the first one called ``image``,
  ``file_name`` and so on.
- ``.jsonl``, ``.ndjson``: the same key of the object on each line, or a string on each line.
- ``.txt`` and any other extension: one entry per line. Lines that begin with ``#`` are skipped.

Blanks around entries and empty entries are dropped. A list is UTF-8, or UTF-16 with a byte order
mark; bytes of a name that are not UTF-8 are kept as the file system would give them.

Sources: duplicates are dropped, and a missing image fails alone. The id of an image is its path
relative to the list's folder; outside of the folder, its whole path or address (``data/a.jpg`` for
``/data/a.jpg``, ``host/a.jpg`` for ``https://host/a.jpg``). So it does not depend on the other
entries.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import SourceError, one_line, printable
from grounded_sam2.sources.download import download
from grounded_sam2.sources.names import UniqueIds, item_name, redact_address, safe_path, text_hash
from grounded_sam2.sources.refs import CachedRef, FailedRef, ImageRef
from grounded_sam2.sources.remote import RemoteRef, remote_file

__all__ = ["LIST_EXTENSIONS", "ListSource", "WebRef", "is_address", "read_list"]

LIST_EXTENSIONS = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson")

_COLUMNS = ("image", "file_name", "image_path", "path", "file", "filename", "url", "image_url")
_PROTOCOLS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*(?=://)")


def is_address(text: str) -> bool:
    """Whether text is an address (``s3://…``, ``zip://…::…``) rather than a path."""
    return _PROTOCOLS.match(text) is not None


@dataclass(frozen=True, slots=True)
class WebRef(CachedRef):
    """Reference to an image at an ``http`` or ``https`` address.

    It is fetched once: detecting a change would take a request per image and run. Delete the copy
    to fetch it again.
    """

    url: str
    limits: ImageConfig

    def stamp(self) -> str:
        """Hash of the address, which may hold secrets."""
        return f"web:{text_hash(self.url)}"

    def _write(self, file: IO[bytes]) -> None:
        limits = self.limits
        data = download(self.url, timeout_s=limits.url_timeout_s, max_bytes=limits.url_max_bytes)
        file.write(data)


class ListSource:
    """Images by their paths and addresses.

    Args:
        entries: returns the paths and addresses; called once per iteration, in the same order.
        name: name of the list in messages.
        folder: base of relative paths.
        root: base of ids: a folder, or an address if all entries are addresses.
        images_folder: holds the cached copies of images that are not local files.
        limits: limits of downloads.

    Raises:
        SourceError: the list is empty, none of its files exists, or an address has an unknown
            protocol.
    """

    def __init__(
        self,
        entries: Callable[[], Iterable[str]],
        *,
        name: str,
        folder: Path,
        root: Path | str,
        images_folder: Path,
        limits: ImageConfig,
    ) -> None:
        self.root = root
        self._entries = entries
        self._name = name
        self._folder = os.path.abspath(folder)  # noqa: PTH100  (links keep their own names)
        self._images_folder = images_folder
        self._limits = limits
        self._check_entries()

    def __iter__(self) -> Iterator[ImageRef]:
        ids = UniqueIds()
        seen = set()
        base = os.path.abspath(self.root) if isinstance(self.root, Path) else ""  # noqa: PTH100
        for entry in self._entries():
            location = _absolute(entry, self._folder)
            digest = text_hash(location)
            if digest not in seen:
                seen.add(digest)
                item_id = ids.claim(_item_id(location, base), otherwise=digest[:8])
                yield self._ref(location, item_id)

    def __repr__(self) -> str:
        return f"ListSource({self._name})"

    def _ref(self, location: str, item_id: str) -> ImageRef:
        if not is_address(location):
            return ImageRef(item_id, Path(location))
        copy = safe_path(self._images_folder, item_id)
        if _is_web_address(location):
            return WebRef(item_id, copy, location, self._limits)
        try:
            return RemoteRef(item_id, copy, remote_file(location), self._limits.url_max_bytes)
        except SourceError as error:  # a missing archive
            return FailedRef(item_id, copy, str(error))

    def _check_entries(self) -> None:
        """Raise if this is no list of images, before thousands of entries fail one by one."""
        protocols: set[str] = set()
        found = False
        first, entries = "", 0
        for entries, entry in enumerate(self._entries(), start=1):  # noqa: B007
            first = first or entry
            location = _absolute(entry, self._folder)
            if match := _PROTOCOLS.match(location):
                found = True
                if match[0] not in protocols and not _is_web_address(location):
                    remote_file(location)  # raises for an unknown protocol
                protocols.add(match[0])
            else:
                found = found or os.path.lexists(location)
        if not entries:
            raise SourceError(f"{self._name}: names no image; write one path or address a line")
        if not found:
            raise SourceError(
                f"{self._name}: none of its {entries} files exists; the first is "
                f"{printable(first)!r}, looked for in {printable(self._folder)!r}"
            )


def _absolute(entry: str, base: str) -> str:
    """An entry as an absolute path or an address."""
    if entry.lower().startswith("file://"):
        entry = urllib.request.url2pathname(urllib.parse.urlsplit(entry).path)
    if is_address(entry):
        return entry
    return os.path.abspath(os.path.join(base, entry))  # noqa: PTH100, PTH118


def _is_web_address(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def _item_id(location: str, base: str) -> str:
    """The id of an image; see the module."""
    if not is_address(location):
        relative = location.removeprefix(os.path.join(base, ""))  # noqa: PTH118
        return item_name(Path(relative).as_posix().lstrip("/"))
    if _is_web_address(location):
        location = urllib.parse.unquote(re.split("[?#]", location)[0])
    # The innermost part comes first (zip://a.jpg::s3://bucket/x.zip); caches have no own path.
    *inner, outer = redact_address(location).split("::")
    parts = [outer, *(part for part in reversed(inner) if "://" in part)]
    return item_name("/".join(part.rpartition("://")[2].strip("/") for part in parts))


def read_list(path: Path, *, column: str | None = None) -> Iterator[str]:
    """Yield the entries of a list file.

    Args:
        path: the file; its extension selects the format.
        column: column or key of the paths or addresses; found by its usual names if ``None``.

    Raises:
        SourceError: the file cannot be read, has another format, or lacks the column.
    """
    name = f"list {printable(path)!r}"
    readers: Mapping[str, Callable[[IO[str], str, str | None], Iterator[str]]] = {
        ".csv": _csv_entries,
        ".tsv": _csv_entries,
        ".jsonl": _json_entries,
        ".ndjson": _json_entries,
    }
    reader = readers.get(path.suffix.lower(), _text_entries)
    try:
        # surrogateescape: as the file system gives names that are not UTF-8
        with path.open(encoding=_encoding(path), errors="surrogateescape", newline="") as file:
            for entry in reader(file, name, column):
                if entry := entry.strip():
                    yield entry
    except (OSError, csv.Error, UnicodeError) as error:
        raise SourceError(f"{name}: cannot be read: {one_line(error)}") from error


def _encoding(path: Path) -> str:
    """Encoding by the byte order mark, which some editors and shells write; UTF-8 without one."""
    with path.open("rb") as file:
        beginning = file.read(3)
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if beginning == codecs.BOM_UTF8 else "utf-8"


def _text_entries(file: IO[str], name: str, column: str | None) -> Iterator[str]:
    if column is not None:
        raise SourceError(f"{name}: has no columns, so none called {column!r}; leave it out")
    return (line for line in file if not line.lstrip().startswith("#"))


def _csv_entries(file: IO[str], name: str, column: str | None) -> Iterator[str]:
    header = file.readline()
    delimiter = max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    known = {each.strip().lower(): number for number, each in reversed(list(enumerate(names)))}
    wanted = _COLUMNS if column is None else (column.lower(),)
    number = next((known[each] for each in wanted if each in known), None)
    if number is None:
        raise SourceError(
            f"{name}: has no column called {' or '.join(wanted)}; it has "
            f"{', '.join(names) or 'none'}; say which holds the images (column), or write a .txt"
        )
    for row in csv.reader(file, delimiter=delimiter):
        if len(row) > number:
            yield row[number]


def _json_entries(file: IO[str], name: str, column: str | None) -> Iterator[str]:
    wanted = _COLUMNS if column is None else (column,)
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise SourceError(f"{name}: line {number} is no JSON: {error}") from error
        if isinstance(value, dict):
            value = next((value[key] for key in wanted if key in value), None)
        if not isinstance(value, str):
            raise SourceError(
                f"{name}: line {number} has no text called {' or '.join(wanted)}; say what holds "
                "the image (column)"
            )
        yield value
