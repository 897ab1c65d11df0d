"""Files that list images, as people and programs write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.list_files import read_list


def entries(folder: Path, name: str, content: str | bytes, column: str | None = None) -> list[str]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_list(path, column=column))


class TestText:
    def test_comments_and_empty_lines_are_left_out(self, tmp_path: Path) -> None:
        content = "# images\na.jpg\n\n  b c.jpg \n  # no\n./#1.jpg\nhttps://host/x.jpg?a#b"
        expected = ["a.jpg", "b c.jpg", "./#1.jpg", "https://host/x.jpg?a#b"]
        assert entries(tmp_path, "list.txt", content) == expected
        assert entries(tmp_path, "list.lst", content) == expected

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends(self, tmp_path: Path, end: str) -> None:
        assert entries(tmp_path, "list.txt", f"a.jpg{end}b.jpg{end}") == ["a.jpg", "b.jpg"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings_that_say_what_they_are(self, tmp_path: Path, encoding: str) -> None:
        assert entries(tmp_path, "list.txt", "é.jpg\n漢.jpg".encode(encoding)) == [
            "é.jpg",
            "漢.jpg",
        ]

    def test_names_in_any_other_encoding_are_those_of_the_file_system(self, tmp_path: Path) -> None:
        assert entries(tmp_path, "list.txt", b"caf\xe9.jpg") == [os.fsdecode(b"caf\xe9.jpg")]

    def test_nothing(self, tmp_path: Path) -> None:
        assert entries(tmp_path, "list.txt", "") == []
        assert entries(tmp_path, "list.txt", "# none\n") == []

    def test_a_column_is_refused(self, tmp_path: Path) -> None:
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

    def test_another_column(self, tmp_path: Path) -> None:
        content = "path,picture\na,b\n"
        assert entries(tmp_path, "list.csv", content, "picture") == ["b"]

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"called image or .*; it has a\.jpg; say which"):
            entries(tmp_path, "list.csv", "a.jpg\nb.jpg\n")
        with pytest.raises(SourceError, match="no column called x; it has image, y"):
            entries(tmp_path, "list.csv", "image,y\na,b\n", "x")
        with pytest.raises(SourceError, match="it has none"):
            entries(tmp_path, "list.csv", "")


class TestJsonLines:
    def test_objects_and_texts(self, tmp_path: Path) -> None:
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
