"""Streaming reader of large JSON files: decodes the elements of arrays one at a time.

COCO keeps a whole dataset in one object with a few long arrays. They are decoded in file order,
with one element in memory: a file of 91 MB takes 16 MB instead of the 565 MB of ``json.load``, and
a quarter of its time. Everything that Python's own decoder accepts is accepted, such as the ``NaN``
that Python's encoder writes and streaming parsers refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from grounded_sam2.errors import DatasetError

__all__ = ["ArrayElement", "first_key", "iter_elements"]

_CHUNK_SIZE = 1 << 20
_TAIL = 16
"""Characters at the end of the buffer where a number, a literal or an escape may be cut off."""


class ArrayElement(NamedTuple):
    """An element of an array in the outermost object."""

    key: str
    """Key of the array in the object."""
    value: Any
    text: str
    """Its JSON text in the file."""


def iter_elements(path: Path, *, chunk_size: int = _CHUNK_SIZE) -> Iterator[ArrayElement]:
    """Yield all elements of all arrays in the outermost object, in file order.

    Values that are not arrays are skipped.

    Args:
        path: the JSON file.
        chunk_size: characters to read at a time; more for a value that is longer.

    Raises:
        DatasetError: the file cannot be read, or is not a complete JSON object; gives the position.
    """
    with _open_stream(path, chunk_size) as stream:
        for key in _members(stream, "{", "}"):
            stream.expect(":")
            if stream.next() != "[":
                stream.value()
                continue
            for value in _members(stream, "[", "]"):
                yield ArrayElement(key, value, stream.text)
        if stream.next():
            raise stream.error("more after its end")


def first_key(path: Path, *, chunk_size: int = _CHUNK_SIZE) -> str | None:
    """Return the first key of the JSON object in a file; ``None`` for any other content."""
    try:
        with _open_stream(path, chunk_size) as stream:
            return next(_members(stream, "{", "}"), None)
    except DatasetError:
        return None


@contextmanager
def _open_stream(path: Path, chunk_size: int) -> Iterator[_Stream]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield _Stream(path, file, chunk_size)
    except UnicodeDecodeError as error:
        raise DatasetError(f"'{path}' is not JSON: it is not in UTF-8") from error
    except OSError as error:
        raise DatasetError(f"'{path}' cannot be read: {error.strerror or error}") from error


def _members(stream: _Stream, begin: str, end: str) -> Iterator[Any]:
    """Yield the values of an array, or the keys of an object, whose values the caller reads."""
    stream.expect(begin)
    if stream.next() != end:
        yield stream.value()
        while stream.next() != end:
            stream.expect(",")
            yield stream.value()
    stream.expect(end)


class _Stream:
    """JSON values of a file in sequence; only the text of the current value is in memory."""

    def __init__(self, path: Path, file: TextIO, chunk_size: int) -> None:
        self.text = ""
        """JSON text of the last value read."""
        self._path = path
        self._file = file
        self._chunk_size = chunk_size
        self._decode = json.JSONDecoder().raw_decode
        self._buffer = ""
        self._position = 0
        self._dropped = 0
        self._at_end = False

    def next(self) -> str:
        """Return the next character that is not white space; ``""`` at the end of the file."""
        while True:
            character = self._buffer[self._position : self._position + 1]
            if character and character not in " \t\r\n":
                return character
            if character:
                self._position += 1
            elif not self._read_more():
                return ""

    def expect(self, character: str) -> None:
        """Skip this character, which must be the next one."""
        if self.next() != character:
            raise self.error(f"'{character}' is missing")
        self._position += 1

    def value(self) -> Any:
        """Decode and return the next value."""
        self.next()
        while True:
            try:
                value, end = self._decode(self._buffer, self._position)
            except json.JSONDecodeError as error:
                cut_off = error.pos >= len(self._buffer) - _TAIL or "Unterminated" in error.msg
                if cut_off and self._read_more():
                    continue
                self._position = error.pos
                raise self.error(error.msg) from error
            except RecursionError as error:
                raise self.error("values are nested too deeply") from error
            if end < len(self._buffer) - _TAIL or not self._read_more():  # 1e may become 1e+5
                self.text = self._buffer[self._position : end]
                self._position = end
                return value

    def error(self, why: str) -> DatasetError:
        """Return the error to raise at the current position."""
        return DatasetError(
            f"'{self._path}' is not a complete JSON object: {why} at character "
            f"{self._dropped + self._position}"
        )

    def _read_more(self) -> bool:
        if self._at_end:
            return False
        self._dropped += self._position
        rest = self._buffer[self._position :]
        more = self._file.read(max(self._chunk_size, len(rest)))  # doubles for a long value
        self._buffer, self._position = rest + more, 0
        self._at_end = not more
        return True
