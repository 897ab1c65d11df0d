"""List files, and image sources of paths and addresses."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from grounded_sam2.config import ImageConfig
from grounded_sam2.errors import ImageError, SourceError
from grounded_sam2.sources.image_list import ListSource, WebRef, is_address, read_list
from grounded_sam2.sources.refs import ImageRef


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("list/a.jpg", "list/sub/b.png", "elsewhere/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "list"


@pytest.fixture
def bucket() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/x/d.jpg", b"d")
    yield memory
    memory.rm("/bucket", recursive=True)


class WebServer:
    """Serves 12 bytes at any path but ``/never``, where no response comes."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.is_closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                if self.path == "/never":
                    server.is_closing.wait(10)
                self.send_response(200)
                self.send_header("Content-Length", "12")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client has closed the connection
                    self.wfile.write(b"from the web")

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = WebServer()
    with server.http:
        thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.is_closing.set()
        server.http.shutdown()
        thread.join()


def source(root: Path, *entries: str) -> ListSource:
    return ListSource(
        lambda: entries,
        name="list 'photos.txt'",
        folder=root,
        root=root,
        images_folder=root.parent / "copies",
        limits=ImageConfig(),
    )


def ids(source: ListSource) -> list[str]:
    return [ref.item_id for ref in source]


class TestFiles:
    def test_images_are_yielded_in_listed_order_without_duplicates(self, root: Path) -> None:
        given = source(root, "sub/b.png", "a.jpg", "./sub/../a.jpg", str(root / "sub" / "b.png"))
        assert list(given) == [
            ImageRef("sub/b.png", root / "sub" / "b.png"),
            ImageRef("a.jpg", root / "a.jpg"),
        ]
        assert ids(given) == ids(given)

    def test_id_outside_of_the_folder_is_the_whole_path(self, root: Path) -> None:
        outside = root.parent / "elsewhere" / "c.jpg"
        whole = str(outside).removeprefix("/")
        assert list(source(root, "a.jpg", "../elsewhere/c.jpg")) == [
            ImageRef("a.jpg", root / "a.jpg"),
            ImageRef(whole, outside),
        ]
        assert ids(source(root, str(outside))) == [whole]

    def test_root_may_be_relative(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(root)
        assert list(source(Path(), "a.jpg")) == [ImageRef("a.jpg", root / "a.jpg")]

    def test_file_addresses_are_paths(self, root: Path) -> None:
        (root / "a b.jpg").touch()
        assert list(source(root, f"file://{root}/a%20b.jpg")) == [
            ImageRef("a b.jpg", root / "a b.jpg")
        ]

    def test_missing_files_fail_alone(self, root: Path) -> None:
        refs = list(source(root, "none.jpg", "a.jpg", "nul\0.jpg"))
        with pytest.raises(FileNotFoundError):
            refs[0].stamp()
        with pytest.raises(ImageError, match="is no path"):
            refs[2].stamp()

    def test_names_that_are_not_utf8_are_found(self, root: Path) -> None:
        name = os.fsdecode(b"caf\xe9.jpg")
        (root / name).touch()
        assert list(source(root, name)) == [ImageRef(r"caf\xe9.jpg", root / name)]

    def test_links_keep_their_own_names(self, root: Path) -> None:
        (root / "link.jpg").symlink_to(root / "a.jpg")
        assert ids(source(root, "link.jpg", "a.jpg")) == ["link.jpg", "a.jpg"]


class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("https://host/x/a.jpg", "host/x/a.jpg"),
            ("HTTP://me:secret@host/a%20b.jpg?key=secret#top", "host/a b.jpg"),
            ("memory://bucket/x/d.jpg", "bucket/x/d.jpg"),
            ("simplecache::memory://bucket/x/d.jpg", "bucket/x/d.jpg"),
        ],
    )
    def test_id_of_an_address_is_host_and_path(
        self, root: Path, address: str, expected: str
    ) -> None:
        (ref,) = source(root, address)
        assert ref.item_id == expected
        assert ref.path == root.parent / "copies" / expected

    def test_equal_names_of_different_addresses_get_different_ids(self, root: Path) -> None:
        addresses = [f"https://host/photo.jpg?id={number}" for number in range(3)]
        names = ids(source(root, *addresses))
        assert names[0] == "host/photo.jpg"
        assert len(set(names)) == 3
        assert names[:2] == ids(source(root, *addresses[:2]))

    def test_missing_archive_fails_alone(self, root: Path) -> None:
        archive = str(root / "photos.zip")
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("x/a.jpg", b"zipped")
        there, missing = source(root, f"zip://x/a.jpg::{archive}", "zip://a.jpg::none.zip")
        assert there.item_id == archive.strip("/") + "/x/a.jpg"
        assert there.fetch().read_bytes() == b"zipped"
        with pytest.raises(SourceError, match=r"none\.zip' cannot be opened: does not exist"):
            missing.fetch()

    @pytest.mark.usefixtures("bucket")
    def test_files_in_object_stores_are_fetched(self, root: Path) -> None:
        (ref,) = source(root, "memory://bucket/x/d.jpg")
        assert ref.stamp().startswith("1:")
        assert ref.fetch().read_bytes() == b"d"
        assert ref.path == root.parent / "copies" / "bucket" / "x" / "d.jpg"

    def test_web_images_are_fetched_once(self, root: Path, web: WebServer) -> None:
        address = f"{web.address}/a.jpg?key=secret"
        ref = WebRef("a.jpg", root / "new" / "a.jpg", address, ImageConfig())
        assert "secret" not in ref.stamp()
        assert not ref.is_local()
        assert ref.fetch().read_bytes() == b"from the web"
        assert ref.is_local()
        assert ref.fetch() == ref.path
        assert web.requests == ["/a.jpg?key=secret"]
        assert pickle.loads(pickle.dumps(ref)) == ref

    @pytest.mark.parametrize(
        ("name", "limits", "expected"),
        [
            ("a.jpg", ImageConfig(url_max_bytes=11), "larger than 11 bytes"),
            ("never", ImageConfig(url_timeout_s=0.2), r"longer than 0\.2 s"),
        ],
    )
    def test_downloads_obey_the_limits(
        self, root: Path, web: WebServer, name: str, limits: ImageConfig, expected: str
    ) -> None:
        ref = WebRef("a.jpg", root / "new" / "a.jpg", f"{web.address}/{name}", limits)
        with pytest.raises(ImageError, match=expected):
            ref.fetch()
        assert not ref.is_local()

    def test_failed_download_leaves_no_file(self, root: Path) -> None:
        ref = WebRef("a.jpg", root / "new" / "a.jpg", "http://127.0.0.1:1/a.jpg", ImageConfig())
        with pytest.raises(ImageError, match="cannot be fetched"):
            ref.fetch()
        assert [path for path in (root / "new").rglob("*") if path.is_file()] == []

    def test_addresses_are_recognized(self) -> None:
        assert is_address("s3://bucket/x")
        assert is_address("simplecache::s3://bucket/x")
        assert not is_address("a::b.jpg")
        assert not is_address("c:/a.jpg")
        assert not is_address("/a/b://c")


class TestInvalidLists:
    def test_empty(self, root: Path) -> None:
        with pytest.raises(SourceError, match=r"list 'photos\.txt': names no image; write one"):
            source(root)

    def test_text_without_existing_files_is_an_error(self, root: Path) -> None:
        with pytest.raises(SourceError, match=r"none of its 2 files exists; the first is 'Dear', "):
            source(root, "Dear", "reader")

    def test_unknown_protocol_is_an_error(self, root: Path) -> None:
        with pytest.raises(SourceError, match="unknown protocol 's4'"):
            source(root, "a.jpg", "s4://bucket/a.jpg")


def entries(folder: Path, name: str, content: str | bytes, column: str | None = None) -> list[str]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_list(path, column=column))


class TestText:
    def test_comments_and_empty_lines_are_skipped(self, tmp_path: Path) -> None:
        content = "# images\na.jpg\n\n  b c.jpg \n  # no\n./#1.jpg\nhttps://host/x.jpg?a#b"
        expected = ["a.jpg", "b c.jpg", "./#1.jpg", "https://host/x.jpg?a#b"]
        assert entries(tmp_path, "list.txt", content) == expected
        assert entries(tmp_path, "list.lst", content) == expected

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_any_line_ending_is_read(self, tmp_path: Path, end: str) -> None:
        assert entries(tmp_path, "list.txt", f"a.jpg{end}b.jpg{end}") == ["a.jpg", "b.jpg"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_byte_order_mark_decides_the_encoding(self, tmp_path: Path, encoding: str) -> None:
        assert entries(tmp_path, "list.txt", "é.jpg\n漢.jpg".encode(encoding)) == [
            "é.jpg",
            "漢.jpg",
        ]

    def test_names_in_other_encodings_are_kept_as_bytes(self, tmp_path: Path) -> None:
        assert entries(tmp_path, "list.txt", b"caf\xe9.jpg") == [os.fsdecode(b"caf\xe9.jpg")]

    def test_nothing(self, tmp_path: Path) -> None:
        assert entries(tmp_path, "list.txt", "") == []
        assert entries(tmp_path, "list.txt", "# none\n") == []

    def test_column_of_a_text_list_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"list\.txt': has no columns, so none called 'x'"):
            entries(tmp_path, "list.txt", "a.jpg", "x")


class TestTables:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("list.csv", 'id,File_Name\n1,a.jpg\n2,"b, c.jpg"\n3\n4,\n'),
            ("list.csv", '"id";"file_name"\r\n1;a.jpg\r\n2;b, c.jpg\r\n'),
            ("list.tsv", "file_name\tid\na.jpg\t1\nb, c.jpg\t2\n"),
            ("list.CSV", 'url,file_name\nx,a.jpg\ny,"b, c.jpg"\n'),
        ],
        ids=["commas", "semicolons", "tabs", "two columns"],
    )
    def test_the_column_is_found_by_its_name(self, tmp_path: Path, name: str, content: str) -> None:
        assert entries(tmp_path, name, content) == ["a.jpg", "b, c.jpg"]

    def test_requested_column_is_read(self, tmp_path: Path) -> None:
        content = "path,photo\na,b\n"
        assert entries(tmp_path, "list.csv", content, "photo") == ["b"]

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"called image or .*; it has a\.jpg; say which"):
            entries(tmp_path, "list.csv", "a.jpg\nb.jpg\n")
        with pytest.raises(SourceError, match="no column called x; it has image, y"):
            entries(tmp_path, "list.csv", "image,y\na,b\n", "x")
        with pytest.raises(SourceError, match="it has none"):
            entries(tmp_path, "list.csv", "")


class TestJsonLines:
    def test_objects_and_strings_are_read(self, tmp_path: Path) -> None:
        content = '{"file_name": "a.jpg", "objects": {}}\n\n"é.jpg"\n{"image": "\\u00e9.png"}\n'
        assert entries(tmp_path, "list.jsonl", content) == ["a.jpg", "é.jpg", "é.png"]
        assert entries(tmp_path, "list.jsonl", '{"x": "a", "image": "b"}', "x") == ["a"]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ('"a.jpg"\n{"image"', "line 2 is no JSON: "),
            ('{"name": "a.jpg"}', r"line 1 has no text called image or .*what holds .*\(column\)"),
            ('{"image": {"path": "a.jpg"}}', "line 1 has no text called image"),
            ("[1]", "line 1 has no text"),
        ],
    )
    def test_errors_name_the_line(self, tmp_path: Path, content: str, expected: str) -> None:
        with pytest.raises(SourceError, match=rf"list\.jsonl': {expected}"):
            entries(tmp_path, "list.jsonl", content)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.txt': cannot be read: does not exist"):
        list(read_list(tmp_path / "none.txt"))
    with pytest.raises(SourceError, match=r"cannot be read: .*truncated"):
        entries(tmp_path, "list.txt", b"\xff\xfea\x00b")
