"""References to images: names that cost nothing until they are opened."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from grounded_sam2.sources.refs import ImageRef


class TestLocalFiles:
    def test_a_file_is_where_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(b"picture")
        ref = ImageRef("a.jpg", path)
        assert ref.is_local()
        assert ref.fetch() == path
        assert path.read_bytes() == b"picture"

    def test_the_stamp_changes_with_size_or_time(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(b"picture")
        os.utime(path, ns=(0, 5))
        ref = ImageRef("a.jpg", path)
        assert ref.stamp() == "7:5"
        os.utime(path, ns=(0, 6))
        assert ref.stamp() == "7:6"
        path.write_bytes(b"pictures")
        os.utime(path, ns=(0, 6))
        assert ref.stamp() == "8:6"

    def test_a_missing_file_has_no_stamp(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            ImageRef("a.jpg", tmp_path / "a.jpg").stamp()

    def test_it_travels_to_other_processes(self) -> None:
        ref = ImageRef("a.jpg", Path("x/a.jpg"))
        assert pickle.loads(pickle.dumps(ref)) == ref
