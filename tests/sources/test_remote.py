"""Image sources of fsspec: a file system in memory, and archives."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from grounded_sam2.errors import ImageError, SourceError
from grounded_sam2.sources.remote import (
    RemoteListing,
    RemoteRef,
    RemoteSource,
    remote_file,
)

EXTENSIONS = (".jpg", ".png")
NAMES = [
    *("a-1.png", "a.png", "a/1.PNG", "a/b/c.jpg", "a0.png", "é b.png", "notes.txt"),
    *(".hidden.png", ".git/x.png", "a/.git/x.png"),
]


@pytest.fixture
def bucket() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    for name in NAMES:
        memory.pipe(f"/bucket/photos/{name}", f"bytes of {name}".encode())
    yield memory
    memory.rm("/bucket", recursive=True)


def open_image_source(
    address: str, folder: Path, *, recursive: bool = True, max_bytes: int = 1000
) -> RemoteSource:
    listing = RemoteListing.of(address, recursive=recursive)
    return RemoteSource(listing, images_folder=folder, extensions=EXTENSIONS, max_bytes=max_bytes)


def ids(source: RemoteSource) -> list[str]:
    return [ref.item_id for ref in source]


class TestListing:
    ALL = ("a-1.png", "a.png", "a/1.PNG", "a/b/c.jpg", "a0.png", "é b.png")

    @pytest.mark.usefixtures("bucket")
    def test_listing_is_ordered_like_a_folder_without_hidden_files(self, tmp_path: Path) -> None:
        source = open_image_source("memory://bucket/photos", tmp_path)
        assert ids(source) == ids(source) == list(self.ALL)
        assert source.root == "memory:///bucket/photos"
        assert ids(open_image_source("memory://bucket/photos/", tmp_path)) == list(self.ALL)
        assert ids(open_image_source("memory://bucket", tmp_path))[0] == "photos/a-1.png"

    @pytest.mark.usefixtures("bucket")
    def test_subfolders_are_skipped_without_recursion(self, tmp_path: Path) -> None:
        source = open_image_source("memory://bucket/photos", tmp_path, recursive=False)
        assert ids(source) == ["a-1.png", "a.png", "a0.png", "é b.png"]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [("*.png", ["a-1.png", "a.png", "a0.png", "é b.png"]), ("**/*.jpg", ["a/b/c.jpg"])],
    )
    @pytest.mark.usefixtures("bucket")
    def test_pattern_selects_files(self, tmp_path: Path, pattern: str, expected: list[str]) -> None:
        source = open_image_source(f"memory://bucket/photos/{pattern}", tmp_path)
        assert ids(source) == expected
        assert source.root == "memory:///bucket/photos"

    @pytest.mark.usefixtures("bucket")
    def test_one_file_is_listed_whatever_its_extension(self, tmp_path: Path) -> None:
        source = open_image_source("memory://bucket/photos/notes.txt", tmp_path)
        assert ids(source) == ["notes.txt"]
        assert source.root == "memory:///bucket/photos"

    def test_file_with_a_wildcard_in_its_name_is_listed(self, bucket: Any, tmp_path: Path) -> None:
        bucket.pipe("/bucket/odd/a[1].png", b"odd")
        assert ids(open_image_source("memory://bucket/odd/a[1].png", tmp_path)) == ["a[1].png"]

    def test_folder_named_like_its_only_file_is_a_folder(self, bucket: Any, tmp_path: Path) -> None:
        bucket.pipe("/bucket/x/x", b"no image")
        with pytest.raises(SourceError, match=r"looked for \.jpg, \.png; found none \(1\)"):
            open_image_source("memory://bucket/x", tmp_path)


class TestFetching:
    def test_copies_equal_the_originals(self, bucket: Any, tmp_path: Path) -> None:
        refs = list(open_image_source("memory://bucket/photos", tmp_path / "photos"))
        for ref in refs:
            assert not ref.is_local()
            assert ref.fetch() == ref.path == tmp_path / "photos" / ref.item_id
            assert ref.is_local()
            assert ref.path.read_bytes() == f"bytes of {ref.item_id}".encode()

    def test_image_is_fetched_once_while_original_and_copy_are_unchanged(
        self, bucket: Any, tmp_path: Path
    ) -> None:
        def ref() -> RemoteRef:
            (ref,) = open_image_source("memory://bucket/photos/a.png", tmp_path)
            assert isinstance(ref, RemoteRef)
            return ref

        copied = ref().fetch().stat().st_ino
        assert ref().fetch().stat().st_ino == copied
        stamp = ref().stamp()

        bucket.pipe("/bucket/photos/a.png", b"changed")
        assert ref().stamp() != stamp
        assert ref().fetch().read_bytes() == b"changed"

        (tmp_path / "a.png").write_bytes(b"damaged here")
        assert ref().fetch().read_bytes() == b"changed"

        (tmp_path / "a.png").unlink()
        assert not ref().is_local()
        assert ref().fetch().read_bytes() == b"changed"

        (tmp_path / ".fetched" / "a.png.json").write_bytes(b"")  # after a power cut
        assert ref().fetch().read_bytes() == b"changed"

    def test_failed_fetch_leaves_no_partial_file(self, bucket: Any, tmp_path: Path) -> None:
        (ref,) = open_image_source("memory://bucket/photos/a.png", tmp_path, max_bytes=5)
        with pytest.raises(
            ImageError, match=r"'a\.png': is larger than 5 bytes; raise images\.url"
        ):
            ref.fetch()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_image_deleted_after_listing_is_an_error(self, bucket: Any, tmp_path: Path) -> None:
        (ref,) = open_image_source("memory://bucket/photos/a.png", tmp_path)
        bucket.rm("/bucket/photos/a.png")
        with pytest.raises(ImageError, match=r"image 'a\.png': does not exist"):
            ref.fetch()

    @pytest.mark.usefixtures("bucket")
    def test_remote_references_are_picklable(self, tmp_path: Path) -> None:
        (ref,) = open_image_source("memory://bucket/photos/a.png", tmp_path)
        assert pickle.loads(pickle.dumps(ref)).fetch().read_bytes() == b"bytes of a.png"


class TestSingleFiles:
    def test_stamp_of_an_unlisted_file_is_requested(self, bucket: Any) -> None:
        file = remote_file("memory://bucket/photos/a.png")
        (path,) = RemoteListing.of("memory://bucket/photos/a.png").stamps
        assert file.stamp() == path
        bucket.rm("/bucket/photos/a.png")
        with pytest.raises(FileNotFoundError):
            file.stamp()
        ref = RemoteRef("a.png", Path("a.png"), file, 1000)
        with pytest.raises(ImageError, match=r"'a\.png': does not exist"):
            ref.stamp()


class TestArchives:
    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        path = tmp_path / "photos.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name in (*NAMES, "../evil.png", "__MACOSX/._a.png", "a/b/../../../evil.jpg"):
                file.writestr(name, f"bytes of {name}")
        return path

    def test_zip_archive_is_listed(self, archive: Path, tmp_path: Path) -> None:
        source = open_image_source(f"zip://::{archive}", tmp_path / "copies")
        assert ids(source) == list(TestListing.ALL)
        assert source.root == f"zip://::{archive}"
        for ref in source:
            assert ref.fetch().read_bytes() == f"bytes of {ref.item_id}".encode()
            assert ref.path.is_relative_to(tmp_path / "copies")

    def test_pattern_selects_files_of_an_archive(self, archive: Path, tmp_path: Path) -> None:
        assert ids(open_image_source(f"zip://**/*.jpg::{archive}", tmp_path)) == ["a/b/c.jpg"]
        assert ids(open_image_source(f"zip://a::{archive}", tmp_path)) == ["1.PNG", "b/c.jpg"]

    def test_archive_in_a_bucket_is_listed(
        self, archive: Path, bucket: Any, tmp_path: Path
    ) -> None:
        bucket.pipe("/bucket/p.zip", archive.read_bytes())
        source = open_image_source("zip://a/b::memory://bucket/p.zip", tmp_path / "copies")
        (ref,) = source
        assert source.root == "zip://a/b::memory://bucket/p.zip"
        assert ref.fetch().read_bytes() == b"bytes of a/b/c.jpg"

    def test_tar_archive_is_listed(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"bytes")
        with tarfile.open(tmp_path / "p.tar.gz", "w:gz") as file:
            file.add(tmp_path / "a.png", "x/a.png")
        (ref,) = open_image_source(f"tar://::{tmp_path}/p.tar.gz", tmp_path / "copies")
        assert ref.item_id == "x/a.png"
        assert ref.fetch().read_bytes() == b"bytes"

    def test_file_that_is_no_archive_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "bad.zip").write_bytes(b"no archive")
        with pytest.raises(
            SourceError, match=r"bad\.zip' cannot be opened: File is not a zip file"
        ):
            RemoteListing.of(f"zip://::{tmp_path}/bad.zip")
        with pytest.raises(SourceError, match=r"none\.zip' cannot be opened: does not exist"):
            RemoteListing.of(f"zip://::{tmp_path}/none.zip")


class TestFailures:
    def test_unknown_protocol_is_an_error(self) -> None:
        with pytest.raises(SourceError, match=r"'s4://b/x': unknown protocol 's4'; give one that"):
            RemoteListing.of("s4://b/x")

    def test_missing_package_is_named(self) -> None:
        fsspec.register_implementation(
            "cloud-of-tests", "no_such_package.Cloud", errtxt="Install cloudfs to access it"
        )
        with pytest.raises(SourceError, match="a package is missing: Install cloudfs to access it"):
            RemoteListing.of("cloud-of-tests://b/x")

    @pytest.mark.usefixtures("bucket")
    def test_location_without_images_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"no images in 'memory://bucket/none'; .*no files"):
            open_image_source("memory://bucket/none", tmp_path)
        with pytest.raises(SourceError, match=r"for \*\.bmp; found \.png \(5\), \.jpg"):
            open_image_source("memory://bucket/photos/*.bmp", tmp_path)

    def test_failed_listing_is_an_error(
        self, tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def find(*_: object, **__: object) -> None:
            raise RuntimeError("no credentials")

        monkeypatch.setattr(type(bucket), "find", find)
        with pytest.raises(SourceError, match="cannot be listed: no credentials"):
            RemoteListing.of("memory://bucket/photos")
