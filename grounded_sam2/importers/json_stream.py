"""Large JSON files, read element by element.

COCO keeps a whole dataset in one object of a few long arrays. Here they are decoded in the order of
the file, one element in memory at a time: a file of 91 MB takes 16 MB instead of the 565 MB of
``json.load``, and a quarter of its time. What Python's own decoder takes is taken here too, such as
the ``NaN`` that Python's encoder writes and streaming parsers refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from grounded_sam2.errors import DatasetError

__all__ = ["Element", "first_key", "iter_elements"]

_CHUNK = 1 << 20
_TAIL = 16
"""Characters at the end of what was read: a number, a literal or an escape may be cut off there."""


class Element(NamedTuple):
    """An element of an array in the outermost object."""

    key: str
    """What the object calls the array."""
    value: Any
    text: str
    """Its JSON, as the file has it."""


def iter_elements(path: Path) -> Iterator[Element]:
    """All elements of all arrays in the outermost object, in the order of the file.

    Values that are no arrays are passed over.

    Raises:
        DatasetError: the file cannot be read, or is not one whole JSON object; says where.
    """
    with _opened(path) as stream:
        for key in _members(stream, "{", "}"):
            stream.expect(":")
            if stream.next() != "[":
                stream.value()
                continue
            for value in _members(stream, "[", "]"):
                yield Element(key, value, stream.text)
        if stream.next():
            raise stream.broken("more after its end")


def first_key(path: Path) -> str | None:
    """The first key of a file that holds a JSON object; ``None`` for any other file."""
    try:
        with _opened(path) as stream:
            return next(_members(stream, "{", "}"), None)
    except DatasetError:
        return None


@contextmanager
def _opened(path: Path) -> Iterator[_Stream]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield _Stream(path, file)
    except UnicodeDecodeError as error:
        raise DatasetError(f"'{path}' is no JSON: it is not in UTF-8") from error
    except OSError as error:
        raise DatasetError(f"'{path}' cannot be read: {error.strerror or error}") from error


def _members(stream: _Stream, begin: str, end: str) -> Iterator[Any]:
    """The values of an array, or the keys of an object; who gets a key reads its value."""
    stream.expect(begin)
    if stream.next() != end:
        yield stream.value()
        while stream.next() != end:
            stream.expect(",")
            yield stream.value()
    stream.expect(end)


class _Stream:
    """JSON values one after the other; as much of the file in memory as the present one needs."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.text = ""
        """The JSON of the value read last."""
        self._path = path
        self._file = file
        self._decode = json.JSONDecoder().raw_decode
        self._buffer = ""
        self._at = 0
        self._dropped = 0
        self._ended = False

    def next(self) -> str:
        """The next character that is no white space; ``""`` at the end of the file."""
        while True:
            rest = self._buffer[self._at : self._at + 1]
            if rest and rest not in " \t\r\n":
                return rest
            if rest:
                self._at += 1
            elif not self._read_more():
                return ""

    def expect(self, character: str) -> None:
        """Go past this character."""
        if self.next() != character:
            raise self.broken(f"'{character}' is missing")
        self._at += 1

    def value(self) -> Any:
        """The next value, decoded."""
        self.next()
        while True:
            try:
                value, end = self._decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                cut_off = error.pos >= len(self._buffer) - _TAIL or "Unterminated" in error.msg
                if cut_off and self._read_more():
                    continue
                self._at = error.pos
                raise self.broken(error.msg) from error
            except RecursionError as error:
                raise self.broken("values within values without end") from error
            if end < len(self._buffer) - _TAIL or not self._read_more():  # 1e may become 1e+5
                self.text = self._buffer[self._at : end]
                self._at = end
                return value

    def broken(self, why: str) -> DatasetError:
        """The error to raise for what stands here."""
        return DatasetError(
            f"'{self._path}' is no whole JSON object: {why} at character {self._dropped + self._at}"
        )

    def _read_more(self) -> bool:
        if self._ended:
            return False
        self._dropped += self._at
        rest = self._buffer[self._at :]
        more = self._file.read(max(_CHUNK, len(rest)))  # twice as much for a value that is large
        self._buffer, self._at = rest + more, 0
        self._ended = not more
        return True
