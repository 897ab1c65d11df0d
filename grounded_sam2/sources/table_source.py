"""Pictures in the rows of a dataset: Parquet and Arrow, on this machine or behind an address.

The order is that of the shards by name, then of the rows. An id is the split and what the row calls
its image (``train/000000000139.jpg``), or else its number in the split; the split is the name of
the shard without its number, so that ids survive another division into shards.

Going through the names reads no image. Each image is copied, byte for byte, when it is asked
for. A shard that cannot be read is one item that fails.
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

_BROKEN = (OSError, pa.ArrowException, SourceError)
_SHARD_NUMBER = re.compile(r"(^|[-_.])\d+-of-\d+(-[0-9a-f]+)?$|^\d+$")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|.*://")
_NO_SPLIT = ("", ".", "..", "data")
"""Parts of shard names that say nothing."""
_CHUNK_ROWS = 8
_CHUNKS_KEPT = 4
"""Threads ask for neighboring rows, not quite in order: this many are in memory."""


class RowReader:
    """Reads the images of rows, fastest when asked nearly in order. May be shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: deque[tuple[Shard, int, Any]] = deque(maxlen=_CHUNKS_KEPT)
        self._stream: Iterator[tuple[int, Any]] = iter(())
        self._stream_of: Shard | None = None
        self._starts: list[int] = []
        self._next_row = 0

    def __reduce__(self) -> tuple[type[RowReader], tuple[()]]:
        """Another process opens its own files."""
        return RowReader, ()

    def image(self, shard: Shard, column: ImageColumn, row: int) -> bytes:
        """The file of the image in a row.

        Raises:
            ImageError: there is none.
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
        if self._stream_of is not shard or not self._is_ahead(row):
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

    def _is_ahead(self, row: int) -> bool:
        """Whether reading on is the shortest way to a row."""
        nearest = self._starts[bisect_right(self._starts, row) - 1]
        return nearest <= self._next_row <= row


@dataclass(frozen=True, slots=True)
class RowRef(CachedRef):
    """The image of a row."""

    shard: Shard
    shard_stamp: str
    row: int
    column: ImageColumn
    reader: RowReader = field(repr=False, compare=False)

    def stamp(self) -> str:
        """The stamp of the shard when it was listed, and where in it the image is."""
        return f"{self.shard_stamp}#{self.column.name}[{self.row}]"

    def _write(self, file: IO[bytes]) -> None:
        file.write(self.reader.image(self.shard, self.column, self.row))


class RowSource:
    """The images of a dataset.

    Args:
        shards: its files, in order.
        column: from `find_shard_column`.
        root: the place that the names of shards are relative to.
        images_folder: where copies are kept.
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
        self._folder = images_folder

    def __iter__(self) -> Iterator[ImageRef]:
        ids = UniqueIds()
        reader = RowReader()
        counts: Counter[str] = Counter()
        for shard in self._shards:
            split = _split_of(shard.name)
            ending: str | None = None
            try:
                stamp = shard.stamp()
                column = find_shard_column([shard], self._column.name)
                for row, given in enumerate(_names(shard, column)):
                    number = f"{counts[split]:06}"
                    counts[split] += 1
                    name = given or number
                    if not PurePosixPath(name).suffix:
                        ending = _ending(shard, column) if ending is None else ending
                        name += ending
                    whole = item_name(f"{split}/{name}" if split else name)
                    item_id = ids.claim(whole, otherwise=number)
                    copy = safe_path(self._folder, item_id)
                    yield RowRef(item_id, copy, shard, stamp, row, column, reader)
            except _BROKEN as error:
                item_id = item_name(shard.name)
                reason = f"source: shard {shard.name!r} cannot be read: {one_line(error)}"
                yield FailedRef(item_id, safe_path(self._folder, item_id), reason)

    def __repr__(self) -> str:
        return f"RowSource({str(self.root)!r})"


def find_shard_column(shards: Iterable[Shard], wanted: str | None = None) -> ImageColumn:
    """The column with images, or with paths and addresses, of the first shard that has one.

    Raises:
        SourceError: none has one. Says what is there instead.
    """
    failure = SourceError("no files")
    for shard in shards:
        try:
            schema = shard.schema()
            if (column := find_column(schema, wanted)) is not None:
                return column
            failure = SourceError(
                f"no column with images among {', '.join(schema.names[:20])}; say which holds "
                "them, or their paths (column)"
            )
        except _BROKEN as error:
            failure = SourceError(one_line(error))
        failure = SourceError(f"shard {shard.name!r}: {failure}")
    raise failure


def text_entries(shards: Iterable[Shard], column: ImageColumn) -> Iterator[str]:
    """The texts in a column, such as paths and addresses; null and empty ones are left out.

    Raises:
        SourceError: a shard cannot be read.
    """
    for shard in shards:
        try:
            for _, batch in shard.batches([column.name]):
                yield from filter(None, batch.column(column.name).to_pylist())
        except _BROKEN as error:
            raise SourceError(f"shard {shard.name!r} cannot be read: {one_line(error)}") from error


def _names(shard: Shard, column: ImageColumn) -> Iterator[str]:
    """What each row calls its image; ``""`` where it does not say."""
    named_by = column.named_by
    for _, batch in shard.batches([] if named_by is None else [named_by]):
        if named_by is None:
            yield from [""] * batch.num_rows
        elif named_by in batch.schema.names:
            yield from map(_name_in, batch.column(named_by).to_pylist())
        else:
            yield from map(_name_in, batch.column(column.name).field("path").to_pylist())


def _name_in(path: str | None) -> str:
    """The part of a path or address that means something elsewhere."""
    if path is None:
        return ""
    if _ABSOLUTE.match(path):
        path = re.split(r"[\\/]", path.split("::")[0])[-1]
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))


def _ending(shard: Shard, column: ImageColumn) -> str:
    """The ending for images without: that of the first, since few datasets mix formats."""
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
