"""Files that list images: one path or address each.

- ``.txt``, and whatever is none of the others: one per line. Lines that begin with ``#`` are left
  out.
- ``.csv``, ``.tsv``: the column asked for, or the first called ``image``, ``file_name`` and so on.
- ``.jsonl``: the same key of the object on each line; or a text on each.

Blanks around an entry are left out, and so is an empty one. A list is UTF-8, or UTF-16 with a mark
at its beginning; what is neither in a name is kept as the bytes that it is.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.names import printable, reason_of

__all__ = ["LIST_SUFFIXES", "read_list"]

LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".ndjson")

_COLUMNS = ("image", "file_name", "image_path", "path", "file", "filename", "url", "image_url")


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
        raise SourceError(f"{name}: cannot be read: {reason_of(error)}") from error


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
