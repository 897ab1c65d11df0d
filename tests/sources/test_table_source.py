"""Images in the rows of Parquet and Arrow files."""

from __future__ import annotations

import gc
import io
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grounded_sam2.errors import ImageError, SourceError
from grounded_sam2.sources.refs import ImageRef
from grounded_sam2.sources.remote import RemoteListing
from grounded_sam2.sources.shards import Shard
from grounded_sam2.sources.table_source import RowSource, find_shard_column, text_entries

PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def png(value: int) -> bytes:
    written = io.BytesIO()
    PIL.Image.fromarray(np.full((2, 3), value, np.uint8)).save(written, "PNG")
    return written.getvalue()


def table(first: int, names: Sequence[str | None]) -> pa.Table:
    rows = [{"bytes": png(first + i), "path": name} for i, name in enumerate(names)]
    return pa.table({"id": range(len(names)), "image": pa.array(rows, PICTURE)})


def write_parquet(folder: Path, name: str, content: pa.Table, **options: Any) -> Shard:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path, **options)
    return Shard(name, path)


def write_arrow(folder: Path, name: str, content: pa.Table, *, stream: bool, rows: int) -> Shard:
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(folder / name, content.schema) as writer:
        writer.write_table(content, max_chunksize=rows)
    return Shard(name, folder / name)


def source(folder: Path, *shards: Shard, column: str | None = None) -> RowSource:
    found = find_shard_column(shards, column)
    return RowSource(shards, found, root=folder, images_folder=folder / "copies")


def ids(images: RowSource) -> list[str]:
    return [ref.item_id for ref in images]


def contents(refs: RowSource | Sequence[ImageRef]) -> list[bytes]:
    return [ref.fetch().read_bytes() for ref in refs]


NAMES = [f"{number}.png" for number in range(50)]
FILES = [png(number) for number in range(50)]


@pytest.fixture(params=["parquet", "arrow stream", "arrow file", "parquet elsewhere"])
def shard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shard]:
    """Fifty images in row groups of twenty."""
    content = table(0, NAMES)
    if request.param.startswith("arrow"):
        stream = request.param == "arrow stream"
        yield write_arrow(tmp_path, "cats.arrow", content, stream=stream, rows=20)
        return
    local = write_parquet(tmp_path, "cats.parquet", content, row_group_size=20)
    if request.param == "parquet":
        yield local
        return
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/cats.parquet", (tmp_path / "cats.parquet").read_bytes())
    ((name, file),) = RemoteListing.of("memory://bucket").files((".parquet",))
    yield Shard(name, file)
    memory.rm("/bucket", recursive=True)


class TestReading:
    def test_rows_are_read_in_order(self, tmp_path: Path, shard: Shard) -> None:
        images = source(tmp_path, shard)
        assert ids(images) == ids(images) == [f"cats/{name}" for name in NAMES]
        assert contents(images) == FILES
        assert (tmp_path / "copies" / "cats" / "7.png").read_bytes() == FILES[7]

    @pytest.mark.parametrize("step", [-1, 7, 23, -11])
    def test_rows_are_read_in_any_order(self, tmp_path: Path, shard: Shard, step: int) -> None:
        refs = list(source(tmp_path, shard))[::step]
        assert contents(refs) == FILES[::step]

    def test_rows_are_read_from_several_threads(self, tmp_path: Path, shard: Shard) -> None:
        with ThreadPoolExecutor(8) as pool:
            brought = list(pool.map(lambda ref: ref.fetch(), source(tmp_path, shard)))
        assert [path.read_bytes() for path in brought] == FILES

    def test_row_references_are_picklable(self, tmp_path: Path, shard: Shard) -> None:
        refs = list(source(tmp_path, shard))
        refs[3].fetch()
        copied = pickle.loads(pickle.dumps(refs[4]))
        assert copied == refs[4]
        assert copied.fetch().read_bytes() == FILES[4]

    def test_once(self, tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
        assert contents(source(tmp_path, shard)) == FILES
        opened = []
        batches = Shard.batches

        def counted(self: Shard, columns: Sequence[str], **options: Any) -> Any:
            opened.append(list(columns))
            return batches(self, columns, **options)

        monkeypatch.setattr(Shard, "batches", counted)
        assert contents(source(tmp_path, shard)) == FILES
        assert opened == [["image.path"]]  # names alone, no image

    def test_each_row_group_is_read_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shard = write_parquet(tmp_path, "cats.parquet", table(0, NAMES), row_group_size=20)
        refs = list(source(tmp_path, shard))
        opened = []
        batches = Shard.batches

        def counted(self: Shard, columns: Sequence[str], *, start: int = 0, rows: int = 1) -> Any:
            opened.append(start)
            return batches(self, columns, start=start, rows=rows)

        monkeypatch.setattr(Shard, "batches", counted)
        for row in (0, 2, 1, 8, 7, 19, 41, 40, 49):
            assert refs[row].fetch().read_bytes() == FILES[row]
        assert opened == [0, 41]  # the row group between was skipped


class TestNames:
    def test_rows_are_numbered_across_the_shards_of_a_split(self, tmp_path: Path) -> None:
        first = write_parquet(tmp_path, "data/train-00000-of-00002.parquet", table(0, [None] * 2))
        second = write_parquet(tmp_path, "data/train-00001-of-00002.parquet", table(2, [None]))
        other = write_parquet(tmp_path, "data/test-00000-of-00001.parquet", table(3, [None]))
        images = source(tmp_path, first, second, other)
        assert ids(images) == [
            *("train/000000.png", "train/000001.png", "train/000002.png", "test/000000.png"),
        ]
        assert contents(images) == FILES[:4]

    @pytest.mark.parametrize(
        ("shard", "expected"),
        [
            ("default/train/0000.parquet", "default/train/a.png"),
            ("train-00000-of-00001-0123456789abcdef.parquet", "train/a.png"),
            ("train/data-00000-of-00001.parquet", "train/a.png"),
            ("data.parquet", "a.png"),
            ("0001.parquet", "a.png"),
            ("cats.v2.parquet", "cats.v2/a.png"),
        ],
    )
    def test_split_is_the_name_of_the_shard(
        self, tmp_path: Path, shard: str, expected: str
    ) -> None:
        assert ids(source(tmp_path, write_parquet(tmp_path, shard, table(0, ["a.png"])))) == [
            expected
        ]

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("sub/a.png", "x/sub/a.png"),
            ("/home/user/.cache/a.png", "x/a.png"),
            (r"C:\photos\a.png", "x/a.png"),
            ("zip://a.png::https://host/photos.zip", "x/a.png"),
            ("../../a.png", "x/a.png"),
            ("a", "x/a.png"),
            ("", "x/000000.png"),
            ("a.JPEG", "x/a.JPEG"),
        ],
    )
    def test_stored_path_becomes_the_name(self, tmp_path: Path, path: str, expected: str) -> None:
        shard = write_parquet(tmp_path, "x.parquet", table(0, [path]))
        assert ids(source(tmp_path, shard)) == [expected]

    def test_equal_names_get_different_ids(self, tmp_path: Path) -> None:
        shard = write_parquet(tmp_path, "x.parquet", table(0, ["a.png", "b.png", "a.png"]))
        images = source(tmp_path, shard)
        assert ids(images) == ["x/a.png", "x/b.png", "x/a-000002.png"]
        assert contents(images) == FILES[:3]

    def test_column_of_file_names_takes_precedence(self, tmp_path: Path) -> None:
        content = table(0, ["a.png", "a.png"])
        content = content.append_column("file_name", [["x/a.png", None]])
        shard = write_parquet(tmp_path, "train.parquet", content)
        assert ids(source(tmp_path, shard)) == ["train/x/a.png", "train/000001.png"]

    def test_missing_extension_is_that_of_the_first_image(self, tmp_path: Path) -> None:
        jpeg = io.BytesIO()
        PIL.Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
        files = [None, b"damaged", jpeg.getvalue(), png(0)]
        shard = write_parquet(
            tmp_path, "x.parquet", pa.table({"jpg": pa.array(files, pa.binary())})
        )
        refs = list(source(tmp_path, shard))
        assert [ref.item_id for ref in refs] == [f"x/00000{number}" for number in range(4)]
        shard = write_parquet(tmp_path, "y.parquet", pa.table({"jpg": [None, *files[2:]]}))
        assert ids(source(tmp_path, shard)) == [f"y/00000{number}.jpg" for number in range(3)]

    def test_samples_become_png(self, tmp_path: Path) -> None:
        samples = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        column = pa.array([samples.tolist()], pa.list_(pa.list_(pa.list_(pa.uint8()))))
        shard = write_parquet(tmp_path, "x.parquet", pa.table({"pixels": column}))
        (ref,) = source(tmp_path, shard)
        assert ref.item_id == "x/000000.png"
        with PIL.Image.open(ref.fetch()) as image:
            np.testing.assert_array_equal(image, samples)


class TestStamps:
    def test_stamps_change_with_the_shard(self, tmp_path: Path) -> None:
        shard = write_parquet(tmp_path, "x.parquet", table(0, ["a.png", "b.png"]))
        before = [ref.stamp() for ref in source(tmp_path, shard)]
        assert before == [ref.stamp() for ref in source(tmp_path, shard)]
        assert len(set(before)) == 2
        assert contents(source(tmp_path, shard)) == FILES[:2]
        write_parquet(tmp_path, "x.parquet", table(5, ["a.png", "b.png", "c.png"]))
        assert not set(before) & {ref.stamp() for ref in source(tmp_path, shard)}
        assert contents(source(tmp_path, shard)) == FILES[5:8]


class TestFailures:
    def test_unreadable_shard_is_one_failed_item(self, tmp_path: Path) -> None:
        good = write_parquet(tmp_path, "b.parquet", table(0, ["a.png"]))
        (tmp_path / "a.parquet").write_bytes(b"PAR1 damaged")
        (tmp_path / "c.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-100])
        plain = write_parquet(tmp_path, "d.parquet", pa.table({"x": [1]}))
        refs = list(
            source(
                tmp_path,
                Shard("a.parquet", tmp_path / "a.parquet"),
                good,
                Shard("c.parquet", tmp_path / "c.parquet"),
                plain,
                Shard("e.parquet", tmp_path / "e.parquet"),
            )
        )
        assert [ref.item_id for ref in refs] == [
            *("a.parquet", "b/a.png", "c.parquet", "d.parquet", "e.parquet"),
        ]
        assert refs[1].fetch().read_bytes() == FILES[0]
        for number, expected in ((0, ""), (2, ""), (3, "holds no images"), (4, "does not exist")):
            with pytest.raises(SourceError, match=f"cannot be read: .*{expected}"):
                refs[number].fetch()

    def test_row_without_an_image_fails_alone(self, tmp_path: Path) -> None:
        content = pa.table({"image": pa.array([None, {"bytes": png(1), "path": "b"}], PICTURE)})
        first, second = source(tmp_path, write_parquet(tmp_path, "x.parquet", content))
        with pytest.raises(ImageError, match="the row holds no image"):
            first.fetch()
        assert second.fetch().read_bytes() == FILES[1]

    def test_row_that_no_longer_exists_is_an_error(self, tmp_path: Path) -> None:
        shard = write_parquet(tmp_path, "x.parquet", table(0, ["a.png", "b.png"]))
        refs = list(source(tmp_path, shard))
        write_parquet(tmp_path, "x.parquet", table(0, ["a.png"]))
        with pytest.raises(ImageError, match=r"shard 'x\.parquet' has no row 1 any more"):
            refs[1].fetch()

    def test_table_without_image_column_is_an_error(self, tmp_path: Path) -> None:
        shard = write_parquet(tmp_path, "x.parquet", pa.table({"url": ["a"], "n": [1]}))
        with pytest.raises(SourceError, match=r"'x\.parquet': no column with images among url, n;"):
            find_shard_column([shard])
        with pytest.raises(SourceError, match=r"column 'n' holds no images; .* n \(int64\)"):
            find_shard_column([shard], "n")
        assert list(text_entries([shard], find_shard_column([shard], "url"))) == ["a"]

    def test_empty_table_is_an_error(self, tmp_path: Path) -> None:
        assert ids(source(tmp_path, write_parquet(tmp_path, "x.parquet", table(0, [])))) == []


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    size = 100_000
    content = pa.table({"image": pa.array([bytes([n]) * size for n in range(200)], pa.binary())})
    shard = write_parquet(
        tmp_path, "x.parquet", content, row_group_size=200, write_batch_size=4, compression="NONE"
    )
    del content
    gc.collect()
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    peak = 0
    for ref in source(tmp_path, shard):
        ref.fetch()
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert 0 < peak < 80 * size  # the kept rows, and a page twice
