"""An export appears when it is complete, and replaces only an earlier export."""

from __future__ import annotations

import sys

import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS, ExportOptions, export
from grounded_sam2.exporters.options import ExportCounter
from grounded_sam2.exporters.staging import staged_export
from grounded_sam2.store import LabelStore

FORMATS = sorted(EXPORTERS.keys() - VIDEO_FORMATS)


def run(labeled, format_name="coco", **options):
    with LabelStore.open(labeled.folder) as store:
        return export(format_name, store, labeled.folder / format_name, ExportOptions(**options))


def test_files_that_are_not_from_an_export_are_never_replaced(rich):
    precious = rich.folder / "coco" / "images" / "precious.png"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    with pytest.raises(ExportError, match="'images' is there and is not from an export"):
        run(rich)
    assert precious.read_text() == "mine"


def test_an_export_of_another_format_is_not_replaced(rich):
    run(rich, "yolo")
    with LabelStore.open(rich.folder) as store, pytest.raises(ExportError, match="a yolo export"):
        export("coco", store, rich.folder / "yolo")


def test_other_files_beside_an_export_stay(rich):
    run(rich)
    (rich.folder / "coco" / "notes.txt").write_text("mine")
    run(rich)
    assert (rich.folder / "coco" / "notes.txt").read_text() == "mine"


def test_an_earlier_export_is_replaced_as_a_whole(rich, files):
    run(rich, "yolo")
    assert "labels/train/sub/ring.txt" in files(rich.folder / "yolo")
    (rich.folder / "yolo" / "labels" / "train.cache").write_text("of a trainer")
    (rich.images / "sub" / "ring.png").unlink()
    run(rich, "yolo")
    present = files(rich.folder / "yolo")
    assert "labels/train/sub/ring.txt" not in present
    assert "images/train/sub/ring.png" not in present
    assert "labels/train.cache" not in present


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_failed_export_leaves_the_earlier_one_unchanged(rich, files, monkeypatch, format_name):
    run(rich, format_name)
    before = files(rich.folder / format_name)

    def fail(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(ExportCounter, "add", fail)
    with pytest.raises(ExportError, match="No space left"):
        run(rich, format_name)
    assert files(rich.folder / format_name) == before


def test_the_remains_of_a_killed_export_are_removed(rich, files):
    run(rich)
    before = files(rich.folder / "coco")
    half = rich.folder / "coco" / ".export.partial" / "new" / "images"
    half.mkdir(parents=True)
    (half / "half.png").write_text("cut off")
    run(rich)
    assert files(rich.folder / "coco") == before


def test_a_failed_export_leaves_no_folder_behind(labeled):
    with LabelStore.open(labeled.folder) as store:
        folder = labeled.folder / "made" / "for" / "coco"
        with pytest.raises(ExportError, match="no images to export"):
            export("coco", store, folder, ExportOptions())
        assert not (labeled.folder / "made").exists()
        folder.mkdir(parents=True)
        with pytest.raises(ExportError, match="no images to export"):
            export("coco", store, folder, ExportOptions())
        assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked")
def test_a_second_export_to_the_same_folder_is_refused(rich, files):
    folder = rich.folder / "coco"
    run(rich)
    before = files(folder)
    with staged_export(folder, ["images", "annotations"], {"format": "coco"}):
        with pytest.raises(ExportError, match=r"another export.*wait until it ends"):
            run(rich)
        assert files(folder) == before
    run(rich)
    assert files(folder) == before
