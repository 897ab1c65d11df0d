"""Rows are divided into row groups and shards."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grounded_sam2.exporters.parquet_shards import ParquetShardWriter

SCHEMA = pa.schema({"number": pa.int64()})


def write(folder, rows: int, **limits: int) -> list[pq.ParquetFile]:
    """Write rows of ten bytes, and return the shards in the order of their names."""
    with ParquetShardWriter(folder, "train", SCHEMA, **limits) as shards:
        for number in range(rows):
            shards.write({"number": number}, size=10)
    return [pq.ParquetFile(path) for path in sorted(folder.iterdir())]


def numbers(shards: list[pq.ParquetFile]) -> list[int]:
    return [row["number"] for shard in shards for row in shard.read().to_pylist()]


def group_sizes(shards: list[pq.ParquetFile]) -> list[list[int]]:
    return [
        [shard.metadata.row_group(i).num_rows for i in range(shard.num_row_groups)]
        for shard in shards
    ]


def test_few_rows_are_one_group_in_one_shard(tmp_path):
    shards = write(tmp_path, 7)
    assert [path.name for path in tmp_path.iterdir()] == ["train-00000-of-00001.parquet"]
    assert group_sizes(shards) == [[7]]
    assert numbers(shards) == list(range(7))


def test_many_rows_go_into_several_groups_and_shards(tmp_path):
    shards = write(tmp_path, 7, group_rows=2, shard_bytes=30)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"train-0000{i}-of-00002.parquet" for i in range(2)]
    assert group_sizes(shards) == [[2, 2], [2, 1]]
    assert numbers(shards) == list(range(7))


def test_large_rows_make_small_groups(tmp_path):
    assert group_sizes(write(tmp_path, 3, group_bytes=1)) == [[1, 1, 1]]


def test_no_rows_make_no_file(tmp_path):
    assert write(tmp_path, 0) == []


def write_three_rows_and_fail(folder) -> None:
    with ParquetShardWriter(folder, "train", SCHEMA, group_rows=2) as shards:
        for number in range(3):
            shards.write({"number": number}, size=10)
        raise ValueError("stop")


def test_after_an_error_the_shard_holds_the_groups_written_before_it(tmp_path):
    with pytest.raises(ValueError, match="stop"):
        write_three_rows_and_fail(tmp_path)
    assert numbers([pq.ParquetFile(path) for path in tmp_path.iterdir()]) == [0, 1]
