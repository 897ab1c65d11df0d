"""References to local images."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from grounded_sam2.sources.refs import ImageRef


class TestLocalFiles:
    def test_local_file_is_fetched_in_place(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(b"content")
        ref = ImageRef("a.jpg", path)
        assert ref.is_local()
        assert ref.fetch() == path
        assert path.read_bytes() == b"content"

    def test_stamp_changes_with_size_or_time(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(b"content")
        os.utime(path, ns=(0, 5))
        ref = ImageRef("a.jpg", path)
        assert ref.stamp() == "7:5"
        os.utime(path, ns=(0, 6))
        assert ref.stamp() == "7:6"
        path.write_bytes(b"contents")
        os.utime(path, ns=(0, 6))
        assert ref.stamp() == "8:6"

    def test_stamp_of_a_missing_file_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            ImageRef("a.jpg", tmp_path / "a.jpg").stamp()

    def test_references_are_picklable(self) -> None:
        ref = ImageRef("a.jpg", Path("x/a.jpg"))
        assert pickle.loads(pickle.dumps(ref)) == ref
