"""Glob patterns: matches, listed folders and ids."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.patterns import GlobPattern, GlobSource, is_pattern
from grounded_sam2.sources.refs import ImageRef


@pytest.fixture
def images(tmp_path: Path) -> Path:
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
def test_pattern_matches_files(images: Path, pattern: str, expected: list[str]) -> None:
    source = GlobSource(f"{images}/{pattern}")
    assert ids(source) == ids(source) == expected
    assert source.root == images


def test_ids_are_relative_to_the_folder_before_the_wildcard(images: Path) -> None:
    source = GlobSource(images / "train" / "*.jpg")
    assert list(source) == [ImageRef("a.jpg", images / "train" / "a.jpg")]
    assert GlobSource(f"{images}/val/.git/*.jpg").root == images / "val" / ".git"


def test_pattern_may_be_relative_to_the_working_directory(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(images)
    assert ids(GlobSource("*.png")) == ["c.png"]
    assert GlobSource("*.png").root == Path()


def test_extensions_apply_where_the_pattern_names_none(images: Path) -> None:
    assert ids(GlobSource(f"{images}/*", extensions="png")) == ["c.png"]
    assert ids(GlobSource(f"{images}/*.jpg", extensions="png")) == ["a.jpg"]


def test_excluded_folders_are_skipped(images: Path) -> None:
    source = GlobSource(f"{images}/**/*.jpg", exclude=[images / "train"])
    assert ids(source) == ["a.jpg", "val/a.jpg", "val/x.jpg/d.jpg"]


def test_links_to_a_parent_folder_are_not_followed(images: Path) -> None:
    (images / "train" / "up").symlink_to(images)
    assert ids(GlobSource(f"{images}/t*/**/a.jpg")) == ["train/a.jpg"]


def test_only_folders_that_may_match_are_listed(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert ids(GlobSource(f"{images}/t*/*.jpg")) == ["train/a.jpg"]
    assert set(listed) == {str(images), str(images / "train")}


def test_names_that_are_not_utf8_are_found(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.touch()
    (ref,) = GlobSource(f"{tmp_path}/c*.png")
    assert ref.path == path


class TestNoImages:
    def test_error_names_the_extensions_found(self, images: Path) -> None:
        with pytest.raises(
            SourceError, match=r"no images in '.*/images'; looked for \*\.bmp; "
        ) as caught:
            GlobSource(f"{images}/*.bmp")
        assert "found .jpg (2), .png (1), .txt (1)" in str(caught.value)
        with pytest.raises(SourceError, match=r"for \* with the extension \.bmp, \.gif; found"):
            GlobSource(f"{images}/*", extensions=["bmp", "gif"])

    def test_missing_folder_is_an_error(self, images: Path) -> None:
        with pytest.raises(SourceError, match="none' cannot be listed: No such file"):
            GlobSource(f"{images}/none/*.jpg")

    def test_double_star_within_a_name_is_an_error(self, images: Path) -> None:
        with pytest.raises(SourceError, match=r"'\*\*' stands for folders and must be between"):
            GlobSource(f"{images}/**.jpg")


def test_wildcards_are_recognized() -> None:
    assert is_pattern("a/*.jpg")
    assert is_pattern("a[1].jpg")
    assert not is_pattern("a/b{1}.jpg")
    pattern = GlobPattern("/*.jpg")
    assert (pattern.root, pattern.relative) == ("/", "*.jpg")
