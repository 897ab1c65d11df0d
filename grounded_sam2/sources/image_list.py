"""Lists of images: paths and addresses, in the order that they are given in.

What is named twice comes once. An image that is not there fails alone. An id is the path below the
list's folder; of anything else, the whole path or address (``data/a.jpg`` for ``/data/a.jpg``,
``host/a.jpg`` for ``https://host/a.jpg``), so that it does not depend on what else is in the list.
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
    """Whether a text is an address (``s3://…``, ``zip://…::…``), not a path."""
    return _PROTOCOLS.match(text) is not None


@dataclass(frozen=True, slots=True)
class WebRef(CachedRef):
    """An image on the web.

    It is fetched once: that a page has changed since cannot be known without asking for each
    image in each run. Remove the copy to have it fetched again.
    """

    url: str
    limits: ImageConfig

    def stamp(self) -> str:
        """The address, as a hash: it may hold keys."""
        return f"web:{text_hash(self.url)}"

    def _write(self, file: IO[bytes]) -> None:
        limits = self.limits
        data = download(self.url, timeout_s=limits.url_timeout_s, max_bytes=limits.url_max_bytes)
        file.write(data)


class ListSource:
    """Pictures by their paths and addresses.

    Args:
        entries: gives them, as often as it is called, in the same order.
        name: what they are called in messages.
        folder: what relative paths are relative to.
        root: what ids are relative to: a folder, or an address if there are only addresses.
        images_folder: where copies of what is no local file are kept.
        limits: of downloads.

    Raises:
        SourceError: there are none; none of the files exists; an address of an unknown kind.
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
        self._copies = images_folder
        self._limits = limits
        self._check()

    def __iter__(self) -> Iterator[ImageRef]:
        ids = UniqueIds()
        seen = set()
        base = os.path.abspath(self.root) if isinstance(self.root, Path) else ""  # noqa: PTH100
        for entry in self._entries():
            place = _place_of(entry, self._folder)
            digest = text_hash(place)
            if digest not in seen:
                seen.add(digest)
                yield self._ref(place, ids.claim(_id_of(place, base), otherwise=digest[:8]))

    def __repr__(self) -> str:
        return f"ListSource({self._name})"

    def _ref(self, place: str, item_id: str) -> ImageRef:
        if not is_address(place):
            return ImageRef(item_id, Path(place))
        copy = safe_path(self._copies, item_id)
        if _is_web(place):
            return WebRef(item_id, copy, place, self._limits)
        try:
            return RemoteRef(item_id, copy, remote_file(place), self._limits.url_max_bytes)
        except SourceError as error:  # an archive that is not there
            return FailedRef(item_id, copy, str(error))

    def _check(self) -> None:
        """Refuse what is no list of images, before thousands of them fail one by one."""
        protocols: set[str] = set()
        found = False
        first, entries = "", 0
        for entries, entry in enumerate(self._entries(), start=1):  # noqa: B007
            first = first or entry
            if match := _PROTOCOLS.match(place := _place_of(entry, self._folder)):
                found = True
                if match[0] not in protocols and not _is_web(place):
                    remote_file(place)  # finds out whether such addresses can be opened
                protocols.add(match[0])
            else:
                found = found or os.path.lexists(place)
        if not entries:
            raise SourceError(f"{self._name}: names no image; write one path or address a line")
        if not found:
            raise SourceError(
                f"{self._name}: none of its {entries} files exists; the first is "
                f"{printable(first)!r}, looked for in {printable(self._folder)!r}"
            )


def _place_of(entry: str, base: str) -> str:
    """An entry as an absolute path or an address."""
    if entry.lower().startswith("file://"):
        entry = urllib.request.url2pathname(urllib.parse.urlsplit(entry).path)
    if is_address(entry):
        return entry
    return os.path.abspath(os.path.join(base, entry))  # noqa: PTH100, PTH118


def _is_web(place: str) -> bool:
    return place.lower().startswith(("http://", "https://"))


def _id_of(place: str, base: str) -> str:
    """What an image is called: see the module."""
    if not is_address(place):
        below = place.removeprefix(os.path.join(base, ""))  # noqa: PTH118
        return item_name(Path(below).as_posix().lstrip("/"))
    if _is_web(place):
        place = urllib.parse.unquote(re.split("[?#]", place)[0])
    # The inmost comes first (zip://a.jpg::s3://bucket/x.zip); caches have no path of their own.
    *inner, outer = redact_address(place).split("::")
    parts = [outer, *(part for part in reversed(inner) if "://" in part)]
    return item_name("/".join(part.rpartition("://")[2].strip("/") for part in parts))


def read_list(path: Path, *, column: str | None = None) -> Iterator[str]:
    """The entries of a list file, one at a time.

    Args:
        path: its ending says which kind it is.
        column: column or key that holds paths or addresses; found by its name if ``None``.

    Raises:
        SourceError: it cannot be read, is no such list, or has no such column.
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
        # Names that are not UTF-8 are read as the file system gives them.
        with path.open(encoding=_encoding(path), errors="surrogateescape", newline="") as file:
            for entry in reader(file, name, column):
                if entry := entry.strip():
                    yield entry
    except (OSError, csv.Error, UnicodeError) as error:
        raise SourceError(f"{name}: cannot be read: {one_line(error)}") from error


def _encoding(path: Path) -> str:
    """UTF-8 unless a mark at the beginning says what some editors and shells write instead."""
    with path.open("rb") as file:
        begin = file.read(3)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if begin == codecs.BOM_UTF8 else "utf-8"


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
