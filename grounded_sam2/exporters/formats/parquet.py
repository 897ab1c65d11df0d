"""Rows into Parquet shards, in memory that does not grow with their number.

A group of rows is as much as a reader takes at once: about a hundred images, fewer when they are
large. A shard is as much as a host likes in one file. How many there are is known at the end only,
when they get their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grounded_sam2.errors import ExportError

__all__ = ["ShardWriter", "pyarrow"]

_GROUP_ROWS = 100
_GROUP_BYTES = 32 * 2**20
_SHARD_BYTES = 500 * 10**6


def pyarrow() -> Any:
    """The library, loaded when it is first needed.

    Raises:
        ExportError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ExportError(
            "format 'hf': needs pyarrow to write Parquet; install it with pip install pyarrow"
        ) from error
    return pyarrow


class ShardWriter:
    """``<name>-00000-of-00002.parquet`` and so on; no file at all for no rows. A context."""

    def __init__(self, folder: Path, name: str, schema: Any) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._pa = pyarrow()
        self._shards: list[Path] = []
        self._writer: Any = None
        self._rows: list[Mapping[str, Any]] = []
        self._group_bytes = 0
        self._shard_bytes = 0

    def __enter__(self) -> ShardWriter:
        return self

    def write(self, row: Mapping[str, Any], *, size: int) -> None:
        """Add a row of about this many bytes."""
        self._rows.append(row)
        self._group_bytes += size
        if len(self._rows) >= _GROUP_ROWS or self._group_bytes >= _GROUP_BYTES:
            self._end_group()
        if self._shard_bytes >= _SHARD_BYTES:
            self._end_shard()

    def __exit__(self, error: object, *_: object) -> None:
        if error is None:
            self._end_group()
        self._end_shard()
        for number, shard in enumerate(self._shards):
            total = f"{number:05}-of-{len(self._shards):05}"
            shard.rename(self._folder / f"{self._name}-{total}.parquet")

    def _end_group(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._shards.append(self._folder / f"{self._name}-{len(self._shards)}.partial")
            # Dictionaries and statistics are for values that repeat or are searched.
            self._writer = self._pa.parquet.ParquetWriter(
                self._shards[-1], self._schema, use_dictionary=False, write_statistics=False
            )
        self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
        self._shard_bytes += self._group_bytes
        self._rows, self._group_bytes = [], 0

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_bytes = None, 0
