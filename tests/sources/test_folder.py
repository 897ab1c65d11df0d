"""Folders and files as image sources: selection, ids and order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grounded_sam2.errors import SourceError
from grounded_sam2.sources.folder import IMAGE_EXTENSIONS, FolderSource
from grounded_sam2.sources.refs import ImageRef


def make(root: Path, *names: str) -> Path:
    """Create empty files, which a folder source does not open."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def ids(source: FolderSource) -> list[str]:
    return [ref.item_id for ref in source]


def test_refs_name_the_item_and_its_file(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.png")
    source = FolderSource(tmp_path)
    assert list(source) == [
        ImageRef("a.jpg", tmp_path / "a.jpg"),
        ImageRef("sub/b.png", tmp_path / "sub" / "b.png"),
    ]
    assert ids(FolderSource(str(tmp_path))) == ["a.jpg", "sub/b.png"]


def test_order_is_by_whole_path(tmp_path: Path) -> None:
    names = [
        *("a/1.png", "a.png", "a-1.png", "a-/z.png", "a/b/c.png", "a/b.png", "a/b-.png", "a0.png"),
        *("10.png", "2.png", "B.png", "b.png", "é.png", "z/é.png", "z/𝔞.png", "z/￼.png", "a b.png"),
    ]
    source = FolderSource(make(tmp_path, *names))
    assert ids(source) == sorted(names)
    assert ids(source) == sorted(names)
    assert len(source) == len(names)


def test_order_does_not_depend_on_the_order_of_creation(tmp_path: Path) -> None:
    names = [f"{folder}/{i}.png" for folder in "xyz" for i in range(10)]
    forwards = FolderSource(make(tmp_path / "1", *names))
    backwards = FolderSource(make(tmp_path / "2", *reversed(names)))
    assert ids(forwards) == ids(backwards)


def test_extensions_match_in_any_case(tmp_path: Path) -> None:
    names = ["a.JPG", "b.jpg", "c.Png", "d.TIFF", "e.jpeg"]
    make(tmp_path, *names, "notes.txt", "jpg", "f.jpg.part", "g.mp4")
    assert ids(FolderSource(tmp_path)) == names


@pytest.mark.parametrize("extensions", [".png", "png", "PNG", [".PNG"], ("png",)])
def test_extensions_are_given_with_or_without_dot(
    tmp_path: Path, extensions: str | list[str]
) -> None:
    make(tmp_path, "a.png", "b.jpg", "c.PNG", "dpng")
    assert ids(FolderSource(tmp_path, extensions=extensions)) == ["a.png", "c.PNG"]


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    make(tmp_path, ".a.jpg", "._b.jpg", ".git/c.jpg", ".jpg", "d.jpg", "e/.f/g.jpg")
    assert ids(FolderSource(tmp_path)) == ["d.jpg"]


def test_a_hidden_root_is_listed(tmp_path: Path) -> None:
    assert ids(FolderSource(make(tmp_path / ".cache", "a.jpg"))) == ["a.jpg"]


def test_subfolders_are_skipped_without_recursion(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg")
    assert ids(FolderSource(tmp_path, recursive=False)) == ["a.jpg"]


def test_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    assert ids(FolderSource(make(tmp_path, "a.jpg/b.png"))) == ["a.jpg/b.png"]


def test_excluded_folders_are_skipped(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "out/images/a.jpg", "outer/b.jpg", "sub/out/c.jpg")
    source = FolderSource(tmp_path, exclude=[tmp_path / "sub" / ".." / "out"])
    assert ids(source) == ["a.jpg", "outer/b.jpg", "sub/out/c.jpg"]


class TestLinks:
    def test_links_are_followed_under_their_own_names(self, tmp_path: Path) -> None:
        elsewhere = make(tmp_path / "elsewhere", "x.jpg")
        root = make(tmp_path / "root", "a.jpg")
        (root / "linked").symlink_to(elsewhere)
        (root / "one.jpg").symlink_to(elsewhere / "x.jpg")
        assert ids(FolderSource(root)) == ["a.jpg", "linked/x.jpg", "one.jpg"]

    def test_links_to_a_parent_folder_are_not_followed(self, tmp_path: Path) -> None:
        root = make(tmp_path, "a.jpg", "sub/b.jpg", "sub/deep/c.jpg")
        (root / "sub" / "deep" / "up").symlink_to(root)
        (root / "sub" / "here").symlink_to(root / "sub")
        (root / "self").symlink_to(root / "self")
        assert ids(FolderSource(root)) == ["a.jpg", "sub/b.jpg", "sub/deep/c.jpg"]

    def test_broken_link_is_an_image_that_fails_when_opened(self, tmp_path: Path) -> None:
        root = make(tmp_path, "a.jpg")
        (root / "b.jpg").symlink_to(root / "gone.jpg")
        (root / "c.txt").symlink_to(root / "gone.txt")
        assert ids(FolderSource(root)) == ["a.jpg", "b.jpg"]


def test_pipes_are_skipped(tmp_path: Path) -> None:
    os.mkfifo(make(tmp_path, "a.jpg") / "b.jpg")
    assert ids(FolderSource(tmp_path)) == ["a.jpg"]


def test_names_that_are_not_utf8_get_printable_ids(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/d\xff/caf\xe9.png"
    Path(os.fsdecode(path)).parent.mkdir()
    Path(os.fsdecode(path)).touch()
    (ref,) = FolderSource(tmp_path)
    assert ref.item_id == "d\\xff/caf\\xe9.png"
    assert os.fsencode(ref.path) == path


def test_literal_escapes_in_names_get_ids_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, os.fsdecode(b"\xff.png"), r"\xff.png", r"a\b.png")
    assert sorted(ids(FolderSource(tmp_path))) == [r"\x5cxff.png", r"\xff.png", r"a\b.png"]


class TestFiles:
    def test_one_file_is_read_whatever_its_extension(self, tmp_path: Path) -> None:
        make(tmp_path, "scan.dat", "other.jpg")
        source = FolderSource(tmp_path / "scan.dat")
        assert list(source) == [ImageRef("scan.dat", tmp_path / "scan.dat")]
        assert len(source) == 1

    def test_ids_of_several_files_are_relative_to_their_common_folder(self, tmp_path: Path) -> None:
        make(tmp_path, "x/b/1.jpg", "x/a/2.jpg", "x/a/3.jpg")
        given = [tmp_path / name for name in ("x/b/1.jpg", "x/a/2.jpg", "x/b/../a/2.jpg")]
        source = FolderSource(given)
        assert ids(source) == ["a/2.jpg", "b/1.jpg"]
        assert source.root == tmp_path / "x"

    def test_relative_paths_are_accepted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(tmp_path, "a.jpg", "sub/b.jpg")
        monkeypatch.chdir(tmp_path / "sub")
        assert ids(FolderSource(["b.jpg", "../a.jpg"])) == ["a.jpg", "sub/b.jpg"]

    def test_missing_files_folders_among_files_and_empty_lists_are_errors(
        self, tmp_path: Path
    ) -> None:
        make(tmp_path, "a.jpg")
        with pytest.raises(SourceError, match=r"none\.jpg' does not exist"):
            FolderSource([tmp_path / "a.jpg", tmp_path / "none.jpg"])
        with pytest.raises(SourceError, match="is a folder among files"):
            FolderSource([tmp_path / "a.jpg", tmp_path])
        with pytest.raises(SourceError, match="list of files is empty"):
            FolderSource([])


class TestNoImages:
    def test_missing_folder_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="none' does not exist"):
            FolderSource(tmp_path / "none")

    def test_empty_folder_is_an_error_that_names_the_extensions(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError) as caught:
            FolderSource(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert ", ".join(IMAGE_EXTENSIONS) in str(caught.value)
        assert "found no files" in str(caught.value)

    def test_error_counts_other_files_by_extension(self, tmp_path: Path) -> None:
        make(tmp_path, "a.txt", "sub/b.TXT", "c.mp4", "README")
        expected = r"looked for \.png; found \.txt \(2\), .*"
        with pytest.raises(SourceError, match=expected) as caught:
            FolderSource(tmp_path, extensions="png")
        assert ".mp4 (1)" in str(caught.value)
        assert "none (1)" in str(caught.value)

    def test_images_only_in_subfolders_are_an_error_without_recursion(self, tmp_path: Path) -> None:
        make(tmp_path, "sub/a.jpg")
        with pytest.raises(SourceError, match="without its subfolders"):
            FolderSource(tmp_path, recursive=False)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make listing a folder fail, also for root, to whom permissions do not apply."""
    listed = os.scandir

    def lock(folder: Path) -> None:
        def scandir(path: str) -> Iterator[os.DirEntry[str]]:
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", path)
            return listed(path)

        monkeypatch.setattr(os, "scandir", scandir)

    return lock


class TestFoldersThatCannotBeListed:
    def test_unreadable_folder_is_a_failed_item_in_its_place(
        self, tmp_path: Path, unreadable: Callable[[Path], None]
    ) -> None:
        root = make(tmp_path, "a.jpg", "b/c/d.jpg", "b/e.jpg", "f.jpg")
        unreadable(root / "b" / "c")
        refs = list(FolderSource(root))
        assert [ref.item_id for ref in refs] == ["a.jpg", "b/c", "b/e.jpg", "f.jpg"]
        assert refs[1].stamp() == refs[1].stamp()
        with pytest.raises(SourceError, match="b/c' cannot be listed: Permission denied"):
            refs[1].fetch()

    def test_folder_deleted_during_the_walk_is_a_failed_item(self, tmp_path: Path) -> None:
        images = iter(FolderSource(make(tmp_path, "a.jpg", "sub/b.jpg")))
        next(images)
        shutil.rmtree(tmp_path / "sub")
        (ref,) = images
        with pytest.raises(SourceError, match="sub' cannot be listed: No such file"):
            ref.fetch()

    def test_folder_with_nothing_readable_is_an_error(
        self, tmp_path: Path, unreadable: Callable[[Path], None]
    ) -> None:
        unreadable(make(tmp_path, "sub/b.jpg") / "sub")
        with pytest.raises(SourceError, match=r"no images in .*sub' cannot be listed: Perm"):
            FolderSource(tmp_path)

    def test_unreadable_root_is_an_error_in_every_iteration(self, tmp_path: Path) -> None:
        source = FolderSource(make(tmp_path / "root", "a.jpg"))
        shutil.rmtree(tmp_path / "root")
        with pytest.raises(SourceError, match="root' cannot be listed: No such file"):
            list(source)


def test_folders_as_deep_as_paths_allow_are_listed(tmp_path: Path) -> None:
    folders = [f"{tmp_path}/" + "d/" * depth for depth in range(1, 1501)]
    try:
        for folder in folders:
            os.mkdir(folder)  # noqa: PTH102  (pathlib and shutil recurse)
        Path(folders[-1], "a.jpg").touch()
        (ref,) = FolderSource(tmp_path)
        assert ref.item_id == "d/" * 1500 + "a.jpg"
    finally:
        Path(folders[-1], "a.jpg").unlink()
        for folder in reversed(folders):
            os.rmdir(folder)  # noqa: PTH106


class TestExtensions:
    @pytest.mark.parametrize("extensions", ["*.png", [".png", "PNG", ".Png"]])
    def test_extensions_are_normalized(self, tmp_path: Path, extensions: str | list[str]) -> None:
        source = FolderSource(make(tmp_path, "a.png", "b.jpg"), extensions=extensions)
        assert source.extensions == (".png",)
        assert ids(source) == ["a.png"]

    @pytest.mark.parametrize("extensions", ["", ".", "*", [], [".jpg", ""]])
    def test_empty_extensions_are_an_error(
        self, tmp_path: Path, extensions: str | list[str]
    ) -> None:
        with pytest.raises(SourceError, match=r"empty; give at least one, such as \.jpg"):
            FolderSource(make(tmp_path, "a.jpg"), extensions=extensions)
