"""Parquet shards of a dataset, written in constant memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetShardWriter"]


class ParquetShardWriter:
    """Writer of ``<name>-00000-of-00002.parquet`` and so on; without rows, of no file.

    Shards get their names at the end, when their number is known. A context manager.

    Args:
        folder: folder of the shards.
        name: prefix of their names.
        schema: columns of the rows.
        group_rows: number of rows at which a row group, which is what readers load at once, ends.
        group_bytes: number of bytes at which a row group ends.
        shard_bytes: number of bytes at which a shard ends: hosts prefer files of limited size.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        schema: pa.Schema,
        *,
        group_rows: int = 100,
        group_bytes: int = 32 * 2**20,
        shard_bytes: int = 500 * 10**6,
    ) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._max_group_rows = group_rows
        self._max_group_bytes = group_bytes
        self._max_shard_bytes = shard_bytes
        self._shards: list[Path] = []
        self._writer: Any = None
        self._rows: list[Mapping[str, Any]] = []
        self._group_bytes = 0
        self._shard_bytes = 0

    def __enter__(self) -> ParquetShardWriter:
        return self

    def write(self, row: Mapping[str, Any], *, size: int) -> None:
        """Add a row of about this number of bytes."""
        self._rows.append(row)
        self._group_bytes += size
        if len(self._rows) >= self._max_group_rows or self._group_bytes >= self._max_group_bytes:
            self._end_group()
        if self._shard_bytes >= self._max_shard_bytes:
            self._end_shard()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._end_group()
        self._end_shard()
        for number, shard in enumerate(self._shards):
            suffix = f"{number:05}-of-{len(self._shards):05}"
            shard.rename(self._folder / f"{self._name}-{suffix}.parquet")

    def _end_group(self) -> None:
        # pyarrow is slow to load, and other formats do not need it.
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            return
        if self._writer is None:
            self._shards.append(self._folder / f"{self._name}-{len(self._shards)}.partial")
            # Dictionaries and statistics pay off for values that repeat or are searched.
            self._writer = pq.ParquetWriter(
                self._shards[-1], self._schema, use_dictionary=False, write_statistics=False
            )
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._shard_bytes += self._group_bytes
        self._rows, self._group_bytes = [], 0

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_bytes = None, 0
