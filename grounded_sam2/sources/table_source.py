"""Image source for table datasets: the rows of local or remote Parquet and Arrow shards.

Images are ordered by shard name, then by row. An id is the split and the name of the image in its
row (``train/000000000139.jpg``), or else the index of the row in the split. The split is the name
of the shard without its number, so that ids survive another division into shards.

Iterating reads no image. Each image is copied, byte for byte, when it is fetched. A shard that
cannot be read becomes one failed item.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa

from grounded_sam2.errors import ImageError, SourceError, one_line
from grounded_sam2.sources.image import guess_extension
from grounded_sam2.sources.image_column import ImageColumn, find_column, image_bytes
from grounded_sam2.sources.names import UniqueIds, item_name, safe_path
from grounded_sam2.sources.refs import CachedRef, FailedRef, ImageRef
from grounded_sam2.sources.shards import Shard

__all__ = ["RowReader", "RowRef", "RowSource", "find_shard_column", "text_entries"]

_READ_ERRORS = (OSError, pa.ArrowException, SourceError)
_SHARD_NUMBER = re.compile(r"(^|[-_.])\d+-of-\d+(-[0-9a-f]+)?$|^\d+$")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|.*://")
_NO_SPLIT = ("", ".", "..", "data")
"""Parts of shard names that name no split."""
_CHUNK_ROWS = 8
_CHUNKS_KEPT = 4
"""Chunks held in memory: threads request neighboring rows, not quite in order."""


class RowReader:
    """Reads images of rows; fast for rows requested nearly in order. Safe to share by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: deque[tuple[Shard, int, Any]] = deque(maxlen=_CHUNKS_KEPT)
        self._stream: Iterator[tuple[int, Any]] = iter(())
        self._stream_of: Shard | None = None
        self._starts: list[int] = []
        self._next_row = 0

    def __reduce__(self) -> tuple[type[RowReader], tuple[()]]:
        """Pickle as a new reader: another process opens its own files."""
        return RowReader, ()

    def image(self, shard: Shard, column: ImageColumn, row: int) -> bytes:
        """The bytes of the image file in a row.

        Raises:
            ImageError: the row does not exist or holds no image.
            OSError, pyarrow.ArrowException: the shard cannot be read.
        """
        with self._lock:
            cell = self._cell(shard, column, row)
        folder = shard.file.parent if isinstance(shard.file, Path) else None
        return image_bytes(cell, column.kind, folder=folder)

    def _cell(self, shard: Shard, column: ImageColumn, row: int) -> Any:
        for kept, first, batch in self._chunks:
            if kept is shard and first <= row < first + batch.num_rows:
                return batch.column(column.name)[row - first]
        if self._stream_of is not shard or not self._can_read_on_to(row):
            self._chunks.clear()
            self._starts = shard.group_starts()
            self._stream = shard.batches([column.name], start=row, rows=_CHUNK_ROWS)
            self._stream_of = shard
        for first, batch in self._stream:
            self._next_row = first + batch.num_rows
            self._chunks.append((shard, first, batch))
            if row < self._next_row:
                return batch.column(column.name)[row - first]
        self._stream_of = None
        raise ImageError(f"shard {shard.name!r} has no row {row} any more")

    def _can_read_on_to(self, row: int) -> bool:
        """Whether reading on is cheaper than starting at the row group of `row`."""
        group_start = self._starts[bisect_right(self._starts, row) - 1]
        return group_start <= self._next_row <= row


@dataclass(frozen=True, slots=True)
class RowRef(CachedRef):
    """Reference to the image in a row of a shard."""

    shard: Shard
    shard_stamp: str
    row: int
    column: ImageColumn
    reader: RowReader = field(repr=False, compare=False)

    def stamp(self) -> str:
        """Stamp of the shard as listed, and the column and row of the image."""
        return f"{self.shard_stamp}#{self.column.name}[{self.row}]"

    def _write(self, file: IO[bytes]) -> None:
        file.write(self.reader.image(self.shard, self.column, self.row))


class RowSource:
    """The images of a table dataset.

    Args:
        shards: its files, in order.
        column: the image column, from `find_shard_column`.
        root: path or address that the names of shards are relative to.
        images_folder: holds the cached copies.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        column: ImageColumn,
        *,
        root: Path | str,
        images_folder: Path,
    ) -> None:
        self.root = root
        self._shards = tuple(shards)
        self._column = column
        self._images_folder = images_folder

    def __iter__(self) -> Iterator[ImageRef]:
        ids = UniqueIds()
        reader = RowReader()
        counts: Counter[str] = Counter()
        for shard in self._shards:
            split = _split_of(shard.name)
            extension: str | None = None
            try:
                stamp = shard.stamp()
                column = find_shard_column([shard], self._column.name)
                for row, stored_name in enumerate(_names(shard, column)):
                    number = f"{counts[split]:06}"
                    counts[split] += 1
                    name = stored_name or number
                    if not PurePosixPath(name).suffix:
                        extension = _extension(shard, column) if extension is None else extension
                        name += extension
                    full_name = item_name(f"{split}/{name}" if split else name)
                    item_id = ids.claim(full_name, otherwise=number)
                    copy = safe_path(self._images_folder, item_id)
                    yield RowRef(item_id, copy, shard, stamp, row, column, reader)
            except _READ_ERRORS as error:
                item_id = item_name(shard.name)
                reason = f"source: shard {shard.name!r} cannot be read: {one_line(error)}"
                yield FailedRef(item_id, safe_path(self._images_folder, item_id), reason)

    def __repr__(self) -> str:
        return f"RowSource({str(self.root)!r})"


def find_shard_column(shards: Iterable[Shard], wanted: str | None = None) -> ImageColumn:
    """The column of images, or of paths and addresses, of the first shard that has one.

    Raises:
        SourceError: no shard has one; the message names the columns found.
    """
    failure = SourceError("no files")
    for shard in shards:
        try:
            schema = shard.schema()
            if (column := find_column(schema, wanted)) is not None:
                return column
            failure = SourceError(
                f"no column with images among {', '.join(schema.names[:20])}; name the column "
                "that holds them, or their paths (column)"
            )
        except _READ_ERRORS as error:
            failure = SourceError(one_line(error))
        failure = SourceError(f"shard {shard.name!r}: {failure}")
    raise failure


def text_entries(shards: Iterable[Shard], column: ImageColumn) -> Iterator[str]:
    """Yield the strings of a column, such as paths and addresses; skip null and empty ones.

    Raises:
        SourceError: a shard cannot be read.
    """
    for shard in shards:
        try:
            for _, batch in shard.batches([column.name]):
                yield from filter(None, batch.column(column.name).to_pylist())
        except _READ_ERRORS as error:
            raise SourceError(f"shard {shard.name!r} cannot be read: {one_line(error)}") from error


def _names(shard: Shard, column: ImageColumn) -> Iterator[str]:
    """Name of the image in each row; ``""`` where there is none."""
    name_column = column.name_column
    for _, batch in shard.batches([] if name_column is None else [name_column]):
        if name_column is None:
            yield from [""] * batch.num_rows
        elif name_column in batch.schema.names:
            yield from map(_portable_name, batch.column(name_column).to_pylist())
        else:
            yield from map(_portable_name, batch.column(column.name).field("path").to_pylist())


def _portable_name(path: str | None) -> str:
    """A relative path as it is; of an absolute path or an address, the last part."""
    if path is None:
        return ""
    if _ABSOLUTE.match(path):
        path = re.split(r"[\\/]", path.split("::")[0])[-1]
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))


def _extension(shard: Shard, column: ImageColumn) -> str:
    """Extension for names without one: that of the first image, as few datasets mix formats."""
    if column.kind == "samples":
        return ".png"
    for row, batch in shard.batches([column.name], rows=1):
        try:
            folder = shard.file.parent if isinstance(shard.file, Path) else None
            cell = batch.column(column.name)[0]
            return guess_extension(image_bytes(cell, column.kind, folder=folder))
        except (ImageError, OSError):
            if row >= _CHUNK_ROWS:
                break
    return ""


def _split_of(name: str) -> str:
    path = PurePosixPath(name)
    parts = (*path.parent.parts, _SHARD_NUMBER.sub("", path.stem))
    return "/".join(part for part in parts if part not in _NO_SPLIT)
