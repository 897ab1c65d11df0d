"""Selection of the image source for an input, and the default output folder."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.factory import default_output_folder, open_image_source
from grounded_sam2.sources.folder import FolderSource
from grounded_sam2.sources.image_list import ListSource
from grounded_sam2.sources.patterns import GlobSource
from grounded_sam2.sources.refs import ImageSource
from grounded_sam2.sources.remote import RemoteSource
from grounded_sam2.sources.table_source import RowSource


def png(value: int) -> bytes:
    written = io.BytesIO()
    PIL.Image.fromarray(np.full((2, 3), value, np.uint8)).save(written, "PNG")
    return written.getvalue()


def write_table(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one input of each type, each in its own folder."""
    for number, name in enumerate(["a.png", "b.PNG", "sub/c.jpg", "sub/d.dat"]):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    images = pa.array(
        [{"bytes": png(number), "path": f"{number}.png"} for number in range(3)],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    write_table(tmp_path / "dataset" / "data" / "train-00000-of-00001.parquet", image=images)
    write_table(tmp_path / "links.parquet", url=["photos/a.png", "photos/sub/c.jpg"])
    (tmp_path / "list.txt").write_text("photos/b.PNG\nphotos/a.png\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(tmp_path / "photos" / "a.png", "x/a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bucket(here: Path) -> Iterator[None]:
    memory = fsspec.filesystem("memory")
    memory.put(f"{here}/", "/bucket/", recursive=True)
    yield
    memory.rm("/bucket", recursive=True)


def opened(given: Any, **options: Any) -> ImageSource:
    return open_image_source(given, images_folder=Path("copies"), **options)


def ids(source: ImageSource) -> list[str]:
    return [ref.item_id for ref in source]


IMAGES = ["a.png", "b.PNG", "sub/c.jpg"]
ROWS = ["train/0.png", "train/1.png", "train/2.png"]


class TestInputs:
    @pytest.mark.parametrize(
        ("given", "kind", "expected"),
        [
            ("photos", FolderSource, IMAGES),
            (Path("photos"), FolderSource, IMAGES),
            ("photos/sub/d.dat", FolderSource, ["d.dat"]),
            (["photos"], FolderSource, IMAGES),
            (["photos/sub/d.dat", "photos/a.png"], FolderSource, ["a.png", "sub/d.dat"]),
            ("photos/**/*.jpg", GlobSource, ["sub/c.jpg"]),
            ("list.txt", ListSource, ["photos/b.PNG", "photos/a.png"]),
            ("dataset", RowSource, ROWS),
            ("dataset/**/*.parquet", RowSource, ROWS),
            ("dataset/data/train-00000-of-00001.parquet", RowSource, ROWS),
            ("archive.zip", RemoteSource, ["x/a.png"]),
            ("zip://x::archive.zip", RemoteSource, ["a.png"]),
            ("memory://bucket/photos", RemoteSource, IMAGES),
            ("memory://bucket/photos/sub/d.dat", RemoteSource, ["d.dat"]),
            ("memory://bucket/**/*.jpg", RemoteSource, ["photos/sub/c.jpg"]),
            ("memory://bucket/archive.zip", RemoteSource, ["x/a.png"]),
            ("memory://bucket/dataset", RowSource, ROWS),
            ("memory://bucket/dataset/**/*.parquet", RowSource, ROWS),
            ("https://host/x/a.png", ListSource, ["host/x/a.png"]),
            (["memory://bucket/photos/a.png"], RemoteSource, ["a.png"]),
            (
                ["memory://bucket/photos/a.png", "photos/a.png"],
                ListSource,
                ["bucket/photos/a.png", "a.png"],
            ),
        ],
    )
    @pytest.mark.usefixtures("bucket")
    def test_input_selects_the_source(self, given: Any, kind: type, expected: list[str]) -> None:
        source = opened(given)
        assert type(source) is kind
        assert ids(source) == ids(source) == expected

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("photos", Path("photos")),
            ("photos/**/*.jpg", Path("photos")),
            ("lists/../list.txt", Path("lists/..")),
            ("dataset", Path("dataset")),
            ("memory://bucket/photos", "memory:///bucket/photos"),
            ("memory://bucket/dataset", "memory:///bucket/dataset"),
            ("zip://x::archive.zip", "zip://x::archive.zip"),
            ("https://me:secret@host/x/a.png", "https://host/x"),
            (["https://host/x/a.png", "https://host/y/a.png"], "https://host"),
        ],
    )
    @pytest.mark.usefixtures("bucket")
    def test_root_is_the_location_of_the_input(
        self, here: Path, given: Any, expected: Path | str
    ) -> None:
        (here / "lists").mkdir()
        assert opened(given).root == expected

    @pytest.mark.usefixtures("bucket")
    def test_images_that_are_no_local_files_are_copied(self) -> None:
        for given in ("dataset", "memory://bucket/photos", "archive.zip"):
            for ref in opened(given):
                path = ref.fetch()
                assert path.is_relative_to("copies")
                assert path.as_posix().endswith(f"/{ref.item_id}")
                assert path.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.usefixtures("here")
    def test_equal_names_of_two_locations_get_separate_copies(self) -> None:
        shutil.copytree("dataset", "other")
        places = {next(iter(opened(given))).path.parent for given in ("dataset", "other")}
        assert {path.parent.name.rpartition("-")[0] for path in places} == {"dataset", "other"}

    def test_copies_are_reused_after_moving_input_and_output_together(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (before, *_) = opened("dataset")
        before.fetch()
        here.rename(here.with_name("moved"))
        monkeypatch.chdir(here.with_name("moved"))
        (after, *_) = opened("dataset")
        assert after == before
        assert after.is_local()

    def test_file_addresses_are_paths(self, here: Path) -> None:
        assert ids(opened(f"file://{here}/photos")) == IMAGES

    def test_existing_file_named_like_a_pattern_is_a_file(self, here: Path) -> None:
        shutil.copy(here / "photos" / "a.png", here / "a[1].png")
        assert ids(opened("a[1].png")) == ["a[1].png"]
        assert ids(opened(["a[1].png", "photos/a.png"])) == ["a[1].png", "photos/a.png"]


class TestOptions:
    @pytest.mark.parametrize("given", ["photos", "memory://bucket/photos"])
    @pytest.mark.usefixtures("bucket")
    def test_extensions_and_recursion_are_options(self, given: str) -> None:
        assert ids(opened(given, extensions="jpg")) == ["sub/c.jpg"]
        assert ids(opened(given, recursive=False)) == ["a.png", "b.PNG"]

    def test_excluded_folders_are_skipped(self, here: Path) -> None:
        assert ids(opened("photos", exclude=["photos/sub"])) == ["a.png", "b.PNG"]

    @pytest.mark.usefixtures("here")
    def test_column_of_paths_is_a_list(self) -> None:
        source = opened("links.parquet", column="url")
        assert type(source) is ListSource
        assert ids(source) == ["photos/a.png", "photos/sub/c.jpg"]

    def test_column_of_a_list_file_is_an_option(self, here: Path) -> None:
        (here / "list.csv").write_text("image,other\nx,photos/a.png\n", encoding="utf-8")
        assert ids(opened("list.csv", column="other")) == ["photos/a.png"]

    @pytest.mark.parametrize(
        "given",
        [
            *("photos", "photos/a.png", "photos/*.png", "archive.zip"),
            *("memory://bucket/photos", "https://host/a.png"),
            ["photos/a.png", "photos/b.PNG"],
        ],
    )
    @pytest.mark.usefixtures("bucket")
    def test_column_of_an_input_without_columns_is_an_error(self, given: Any) -> None:
        with pytest.raises(SourceError, match=r"column 'x' was requested, and '.*' has no table"):
            opened(given, column="x")


class TestImagesAndTables:
    def test_images_and_tables_in_one_folder_are_an_error_unless_selected(self, here: Path) -> None:
        shutil.copy(here / "photos" / "a.png", here / "dataset" / "logo.png")
        with pytest.raises(SourceError, match=r"holds images and also tables .*'data/train-00000"):
            opened("dataset")
        assert ids(opened("dataset", extensions=[".png"])) == ["logo.png"]
        assert ids(opened("dataset", extensions=[".parquet"])) == ROWS
        assert ids(opened("dataset", column="image")) == ROWS
        assert ids(opened("dataset", exclude=["dataset/data"])) == ["logo.png"]
        assert ids(opened("dataset/*.png")) == ["logo.png"]

    @pytest.mark.usefixtures("bucket")
    def test_images_and_tables_at_one_address_are_an_error(self) -> None:
        with pytest.raises(SourceError, match="holds images and also tables with images"):
            opened("memory://bucket")
        assert ids(opened("memory://bucket", extensions="parquet"))[0] == "dataset/train/0.png"

    def test_table_of_metadata_beside_images_is_ignored(self, here: Path) -> None:
        write_table(here / "photos" / "metadata.parquet", file_name=["a.png"], label=["cat"])
        assert ids(opened("photos")) == IMAGES


class TestHub:
    """Hub datasets, with another file system in place of that of ``huggingface_hub``."""

    @pytest.fixture
    def hub(self, bucket: None) -> Iterator[None]:
        class Hub(MemoryFileSystem):
            protocol = "hf"
            root_marker = ""

            @classmethod
            def _strip_protocol(cls, path: str) -> str:
                return path.removeprefix("hf://").strip("/")

            def find(self, path: str, **options: Any) -> Any:
                found = MemoryFileSystem().find(f"/bucket/{path.split('/', 3)[-1]}", **options)
                return {name.replace("/bucket", "datasets/me/it", 1): found[name] for name in found}

            def _open(self, path: str, *args: Any, **options: Any) -> Any:
                return MemoryFileSystem().open(path.replace("datasets/me/it", "/bucket", 1))

        before = fsspec.get_filesystem_class("hf")
        fsspec.register_implementation("hf", Hub, clobber=True)
        yield
        fsspec.register_implementation("hf", before, clobber=True)

    @pytest.mark.usefixtures("hub")
    def test_hub_datasets_of_rows_and_of_files_are_read(self) -> None:
        rows = opened("hf://datasets/me/it/dataset")
        assert rows.root == "hf://datasets/me/it/dataset"
        assert ids(rows) == ROWS
        assert next(iter(rows)).fetch().read_bytes() == png(0)
        assert ids(opened("hf://datasets/me/it/photos")) == IMAGES


class TestInputsWithoutImages:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("none", "'none' does not exist; give a folder, a file, a pattern, a list"),
            ("", "'' does not exist; give a folder"),
            ("ylecun/mnist", "for a dataset on the hub, give hf://datasets/ylecun/mnist"),
            (Path("s3://bucket/x"), "give an address as text, with two slashes, not as a Path"),
            ("none/*.jpg", r"'none' cannot be listed: "),
            ("photos/*.bmp", r"no images in 'photos'; looked for \*\.bmp; found"),
            ("empty", "no images in 'empty'; looked for .jpg, .* found no files"),
            ("empty.txt", r"list 'empty\.txt': names no image"),
            ("empty.parquet", r"'empty\.parquet': its tables have no rows"),
            ("damaged.parquet", r"'damaged\.parquet': shard 'damaged\.parquet': "),
            ("damaged.zip", "cannot be opened: File is not a zip file"),
            (
                "plain",
                r"'plain': shard 'x\.parquet': no column with images among n; name",
            ),
            ([], "list of files is empty"),
            (["photos/a.png", "photos"], "is a folder among files"),
            (["photos/a.png", "list.txt"], r"'list\.txt' among several: a pattern, list"),
            (["photos/a.png", "photos/*.jpg"], "among several"),
            (["photos/a.png", "archive.zip"], "among several"),
            ("memory://bucket/list.txt", "a list must be a local file; download it first"),
            ("s4://bucket", "unknown protocol 's4'"),
        ],
    )
    @pytest.mark.usefixtures("bucket")
    def test_inputs_without_images_are_errors_that_name_them(
        self, here: Path, given: Any, expected: str
    ) -> None:
        (here / "empty").mkdir()
        (here / "empty.txt").touch()
        (here / "damaged.parquet").write_bytes(b"no table")
        (here / "damaged.zip").write_bytes(b"no archive")
        write_table(here / "empty.parquet", image=pa.array([], pa.binary()))
        write_table(here / "plain" / "x.parquet", n=[1])
        with pytest.raises(SourceError, match=expected):
            opened(given)

    @pytest.mark.usefixtures("here")
    def test_requesting_tables_of_a_folder_without_tables_is_an_error(self) -> None:
        with pytest.raises(SourceError, match="tables were requested, and 'photos' has no table"):
            opened("photos", extensions="parquet")

    def test_opening_a_source_writes_no_file(self, here: Path) -> None:
        for given in ("photos", "dataset", "archive.zip", "list.txt"):
            list(opened(given))
        assert not (here / "copies").exists()


@pytest.mark.parametrize("given", ["mixed", "mixed/**", "mixed/*.png"])
def test_any_file_name_is_read(here: Path, given: str) -> None:
    folder = here / "mixed"
    for name in (b"caf\xe9.png", b"A.png", b"a.png", b".hidden.png", b"x.png/in.png", b"n\n.png"):
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(0))
    (folder / "dangling.png").symlink_to("none.png")
    (folder / "loop").symlink_to(folder)
    with contextlib.suppress(OSError):  # some systems have none
        os.mkfifo(folder / "pipe.png")
    expected = ["A.png", "a.png", r"caf\xe9.png", "dangling.png", "n\n.png"]
    if given != "mixed/*.png":
        expected.append("x.png/in.png")
    assert ids(opened(given)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("photos", "photos_labeled"),
        ("photos/", "photos_labeled"),
        (Path("photos/sub"), "photos/sub_labeled"),
        ("list.txt", "list_labeled"),
        ("archive.zip", "archive_labeled"),
        ("photos/**/*.jpg", "photos_labeled"),
        (["photos/a.png", "photos/sub/c.jpg"], "photos_labeled"),
        ("memory://bucket/photos", "photos_labeled"),
        ("s3://bucket/photos/2026/*.jpg", "2026_labeled"),
        ("https://host/a.jpg", "a_labeled"),
    ],
)
def test_default_output_folder_is_beside_the_input(here: Path, given: Any, expected: str) -> None:
    assert default_output_folder(given).absolute() == here / expected


def test_default_output_folder_of_addresses_is_in_the_working_directory() -> None:
    given = ["https://me:secret@h/a/x.mp4?key=b/c", "https://h/a/y.mp4"]
    assert default_output_folder(given) == Path("a_labeled")
    assert default_output_folder(["https://h/x.mp4", "https://h/y.mp4"]) == Path("h_labeled")
