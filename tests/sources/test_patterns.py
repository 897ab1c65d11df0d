"""Patterns: what they match, where they look, and what they are relative to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.patterns import GlobSource, Pattern, is_pattern
from grounded_sam2.sources.refs import ImageRef


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in (
        *("a.jpg", "b.JPG", "c.png", "notes.txt", ".hidden.jpg", "train/a.jpg", "train/b.dat"),
        *("train/deep/er/c.jpg", "val/a.jpg", "val/.git/x.jpg", "val/x.jpg/d.jpg"),
    ):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "images"


def ids(source: GlobSource) -> list[str]:
    return [ref.item_id for ref in source]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg"]),
        ("*.[jJ][pP][gG]", ["a.jpg", "b.JPG"]),
        ("?.png", ["c.png"]),
        ("*", ["a.jpg", "b.JPG", "c.png"]),
        ("*/*.jpg", ["train/a.jpg", "val/a.jpg"]),
        ("**/a.jpg", ["a.jpg", "train/a.jpg", "val/a.jpg"]),
        (
            "**/*.jpg",
            ["a.jpg", "train/a.jpg", "train/deep/er/c.jpg", "val/a.jpg", "val/x.jpg/d.jpg"],
        ),
        ("t*/**/*.jpg", ["train/a.jpg", "train/deep/er/c.jpg"]),
        ("t*/**", ["train/a.jpg", "train/deep/er/c.jpg"]),
        ("t*/*.dat", ["train/b.dat"]),
        ("**/deep/**/*.jpg", ["train/deep/er/c.jpg"]),
        ("./**/./c.png", ["c.png"]),
    ],
)
def test_what_matches(pictures: Path, pattern: str, expected: list[str]) -> None:
    source = GlobSource(f"{pictures}/{pattern}")
    assert ids(source) == ids(source) == expected
    assert source.root == pictures


def test_ids_are_relative_to_the_folder_before_the_wildcard(pictures: Path) -> None:
    source = GlobSource(pictures / "train" / "*.jpg")
    assert list(source) == [ImageRef("a.jpg", pictures / "train" / "a.jpg")]
    assert GlobSource(f"{pictures}/val/.git/*.jpg").root == pictures / "val" / ".git"


def test_relative_to_the_working_directory(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    assert ids(GlobSource("*.png")) == ["c.png"]
    assert GlobSource("*.png").root == Path()


def test_other_endings_where_the_pattern_names_none(pictures: Path) -> None:
    assert ids(GlobSource(f"{pictures}/*", extensions="png")) == ["c.png"]
    assert ids(GlobSource(f"{pictures}/*.jpg", extensions="png")) == ["a.jpg"]


def test_excluded_folders(pictures: Path) -> None:
    source = GlobSource(f"{pictures}/**/*.jpg", exclude=[pictures / "train"])
    assert ids(source) == ["a.jpg", "val/a.jpg", "val/x.jpg/d.jpg"]


def test_loops_end(pictures: Path) -> None:
    (pictures / "train" / "up").symlink_to(pictures)
    assert ids(GlobSource(f"{pictures}/t*/**/a.jpg")) == ["train/a.jpg"]


def test_only_folders_that_can_match_are_looked_into(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert ids(GlobSource(f"{pictures}/t*/*.jpg")) == ["train/a.jpg"]
    assert set(listed) == {str(pictures), str(pictures / "train")}


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.touch()
    (ref,) = GlobSource(f"{tmp_path}/c*.png")
    assert ref.path == path


class TestNothing:
    def test_no_match_says_what_is_there(self, pictures: Path) -> None:
        with pytest.raises(
            SourceError, match=r"no pictures in '.*/images'; looked for \*\.bmp; "
        ) as caught:
            GlobSource(f"{pictures}/*.bmp")
        assert "found .jpg (2), .png (1), .txt (1)" in str(caught.value)
        with pytest.raises(SourceError, match=r"looked for \* with the ending \.bmp, \.gif; found"):
            GlobSource(f"{pictures}/*", extensions=["bmp", "gif"])

    def test_no_folder(self, pictures: Path) -> None:
        with pytest.raises(SourceError, match="none' cannot be listed: No such file"):
            GlobSource(f"{pictures}/none/*.jpg")

    def test_folders_within_a_name(self, pictures: Path) -> None:
        with pytest.raises(SourceError, match=r"'\*\*' stands for folders and must be between"):
            GlobSource(f"{pictures}/**.jpg")


def test_what_a_pattern_is() -> None:
    assert is_pattern("a/*.jpg")
    assert is_pattern("a[1].jpg")
    assert not is_pattern("a/b{1}.jpg")
    pattern = Pattern("/*.jpg")
    assert (pattern.root, pattern.rest) == ("/", "*.jpg")
