"""Shards of table datasets: Parquet and Arrow files, read a few rows at a time from any row.

The ``datasets`` library downloads, exports and shares Parquet; ``save_to_disk`` writes Arrow. Both
are read with pyarrow alone, Parquet by pages and Arrow through a memory map, so that a shard takes
the memory of a few of its rows, whatever the size of its row groups.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from grounded_sam2.errors import SourceError, one_line, printable
from grounded_sam2.sources.fingerprint import file_stamp
from grounded_sam2.sources.remote import RemoteFile

__all__ = ["SHARD_EXTENSIONS", "Shard", "saved_shards"]

SHARD_EXTENSIONS = (".parquet", ".arrow")

_BUFFER_BYTES = 1 << 20
"""Without a buffer, pyarrow reads a column of a whole row group at once; with it, one page, whose
size the writer of the file chose."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet or Arrow file. No file stays open between calls."""

    name: str
    """POSIX path relative to the source's root."""
    file: Path | RemoteFile

    def stamp(self) -> str:
        """Identifier of the current state of the file.

        Raises:
            OSError: there is no such file, or its status cannot be read.
        """
        return file_stamp(self.file) if isinstance(self.file, Path) else self.file.stamp()

    def schema(self) -> Any:
        """The ``pyarrow.Schema``.

        Raises:
            OSError, pyarrow.ArrowException: the file cannot be read or has another format.
        """
        with self._open() as file:
            if self._is_parquet:
                return pq.read_schema(file)
            return _arrow_reader(file).schema

    def batches(
        self, columns: Sequence[str], *, start: int = 0, rows: int = 1024
    ) -> Iterator[tuple[int, Any]]:
        """Yield rows from `start` on, or from a little before.

        Args:
            columns: ``name``, or ``name.field`` for one field of a struct; Arrow files, which do
                not store fields apart, yield the whole struct.
            start: first row requested.
            rows: largest number of rows in a batch.

        Yields:
            Index of the first row, and a ``pyarrow.RecordBatch``.

        Raises:
            OSError, pyarrow.ArrowException: the file cannot be read.
        """
        with self._open() as file:
            yield from (_parquet_batches if self._is_parquet else _arrow_batches)(
                file, columns, start, rows
            )

    def group_starts(self) -> list[int]:
        """First row of each row group: rows at which reading can begin.

        Raises:
            OSError, pyarrow.ArrowException: the file cannot be read.
        """
        if not self._is_parquet:
            return [0]
        with self._open() as file:
            return [0, *_group_ends(pq.read_metadata(file))[:-1]]

    @property
    def _is_parquet(self) -> bool:
        return self.name.lower().endswith(".parquet")

    def _open(self) -> Any:
        if isinstance(self.file, RemoteFile):
            return closing(pa.PythonFile(self.file.open(), mode="r"))
        path = os.fsencode(self.file)
        return pa.OSFile(path) if self._is_parquet else pa.memory_map(path)


def saved_shards(folder: Path) -> list[Shard] | None:
    """Shards of a dataset that ``save_to_disk`` wrote to a folder, by split; ``None`` if none.

    Raises:
        SourceError: there is such a dataset, and its state file cannot be read.
    """
    index = folder / "dataset_dict.json"
    state = folder / "state.json"
    try:
        if index.is_file():
            splits = sorted(json.loads(index.read_bytes())["splits"])
        elif state.is_file() and (folder / "dataset_info.json").is_file():
            splits = ["."]
        else:
            return None
        names = []
        for split in splits:
            state = folder / split / "state.json"
            # not all files of the folder: some are caches
            for file in json.loads(state.read_bytes())["_data_files"]:
                names.append((PurePosixPath(split) / file["filename"]).as_posix())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"source: {printable(folder)!r} is a dataset saved to disk, and its state cannot be "
            f"read: {one_line(error)}; save it again"
        ) from error
    return [Shard(name, folder / name) for name in names]


def _parquet_batches(
    file: Any, columns: Sequence[str], start: int, rows: int
) -> Iterator[tuple[int, Any]]:
    parquet = pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    ends = _group_ends(parquet.metadata)
    groups = [group for group, end in enumerate(ends) if end > start]
    if not groups:
        return
    row = [0, *ends][groups[0]]
    for batch in parquet.iter_batches(
        rows, row_groups=groups, columns=list(columns), use_threads=False
    ):
        yield row, batch
        row += batch.num_rows


def _group_ends(metadata: Any) -> list[int]:
    """Index of the row after each row group."""
    groups = range(metadata.num_row_groups)
    return list(accumulate(metadata.row_group(group).num_rows for group in groups))


def _arrow_batches(
    file: Any, columns: Sequence[str], start: int, rows: int
) -> Iterator[tuple[int, Any]]:
    reader = _arrow_reader(file)
    names = [name for name in reader.schema.names if _is_requested(name, columns)]
    is_file = isinstance(reader, pa.RecordBatchFileReader)
    row = 0
    for batch in map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader:
        for first in range(0, batch.num_rows, rows):
            if row + first + rows > start:
                yield row + first, batch.select(names).slice(first, rows)
        row += batch.num_rows


def _is_requested(name: str, columns: Sequence[str]) -> bool:
    return any(column == name or column.startswith(f"{name}.") for column in columns)


def _arrow_reader(file: Any) -> Any:
    """Reader of the file format, which begins with ``ARROW1``, or else of the stream format, which
    ``datasets`` writes."""
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    return pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
