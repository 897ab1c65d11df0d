"""Importing our own exports restores classes, counts, masks and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.geometry.boxes import box_iou
from grounded_sam2.geometry.overlap import mask_iou
from grounded_sam2.importers import import_labels
from grounded_sam2.results import Label
from grounded_sam2.store import LabelStore

SPLIT = {"train": 0.5, "val": 0.3, "test": 0.2}


@pytest.fixture
def difficult(labeled: Any) -> Any:
    """A store with everything that is difficult for a format."""
    add, label = labeled.add, labeled.label
    add("a.png", label(labeled.disc()), label(labeled.two_parts(), "box", confidence=0.5), seed=1)
    add("background.png", seed=2)
    add("boxed.png", label(None, "box", box_xyxy=(1.25, 2.5, 30, 40.75)), seed=3)
    add("disc.jpg", label(labeled.disc(), confidence=0.0001, mask_quality=1.0), seed=4)
    add("dot.png", label(labeled.pixel(79, 0)), label(labeled.pixel(0, 59), "box"), seed=5)
    add("sub/deep/ring.png", label(labeled.ring(), "Katze ü", caption="cat"), seed=6)
    add("sub/ring.png", label(labeled.ring()), label(labeled.two_parts()), seed=7)
    add("turned.jpg", label(labeled.ring((80, 60))), size_hw=(80, 60), orientation=6, seed=8)
    add("z.png", label(labeled.disc(radius=25), "Katze ü", confidence=None), seed=9)
    return labeled


def by_name(folder: Path) -> dict[str, tuple[Label, ...]]:
    """Objects by the name of the image without its split."""
    with LabelStore.open(folder) as store:
        found = {}
        for item, labels in store.labels():
            name = item.item_id
            for split in SPLIT:
                name = name.removeprefix(f"{split}/")
            found[name] = labels.objects
        return found


@pytest.mark.parametrize(
    ("format_name", "segmentation", "exact"),
    [
        ("coco", "rle", True),
        ("coco", "polygons", False),
        ("yolo", "rle", False),
        ("hf", "rle", True),
    ],
    ids=["coco-rle", "coco-polygons", "yolo", "hf"],
)
def test_masks_are_restored(
    difficult: Any, tmp_path: Path, format_name: str, segmentation: Any, exact: bool
) -> None:
    options = ExportOptions(split=SPLIT, segmentation=segmentation)
    exported = export(format_name, difficult.store, tmp_path / "dataset", options)
    summary = import_labels(tmp_path / "dataset", tmp_path / "imported")
    assert summary.format == format_name
    assert summary.problems == ()
    assert summary.counts.failed == 0
    assert summary.counts.objects_per_class == exported.objects
    assert list(summary.counts.objects_per_class) == difficult.classes
    before, after = by_name(difficult.folder), by_name(tmp_path / "imported")
    compared = 0
    for name, objects in before.items():
        again = after[name]
        assert [each.class_name for each in again] == [each.class_name for each in objects]
        for old, new in zip(objects, again, strict=True):
            if old.mask is not None and new.mask is not None:
                overlap = mask_iou([old.mask], [new.mask])[0, 0]
                assert overlap == 1 if exact else overlap >= 0.98, name
                compared += 1
            assert new.origin == "human"
    assert compared == 10


@pytest.mark.parametrize("format_name", ["coco", "hf"])
def test_scores_and_captions_are_restored(difficult: Any, tmp_path: Path, format_name: str) -> None:
    export(format_name, difficult.store, tmp_path / "dataset")
    import_labels(tmp_path / "dataset", tmp_path / "imported", origin="model")
    before, after = by_name(difficult.folder), by_name(tmp_path / "imported")
    for name, objects in before.items():
        for old, new in zip(objects, after[name], strict=True):
            assert (new.caption, new.confidence, new.mask_quality, new.origin) == (
                old.caption,
                old.confidence,
                old.mask_quality,
                "model",
            )


def test_an_object_without_a_mask_is_restored_by_hf(difficult: Any, tmp_path: Path) -> None:
    export("hf", difficult.store, tmp_path / "dataset")
    import_labels(tmp_path / "dataset", tmp_path / "imported")
    (label,) = by_name(tmp_path / "imported")["boxed.png"]
    assert label.mask is None
    assert label.box_xyxy == (1.25, 2.5, 30, 40.75)


def test_boxes_are_restored(difficult: Any, tmp_path: Path) -> None:
    export("yolo-boxes", difficult.store, tmp_path / "dataset", ExportOptions(split=SPLIT))
    summary = import_labels(tmp_path / "dataset", tmp_path / "imported")
    assert summary.problems == ()
    before, after = by_name(difficult.folder), by_name(tmp_path / "imported")
    for name, objects in before.items():
        assert [each.class_name for each in after[name]] == [each.class_name for each in objects]
        for old, new in zip(objects, after[name], strict=True):
            assert new.mask is None
            assert box_iou([old.box_xyxy], [new.box_xyxy])[0, 0] > 0.99


@pytest.mark.parametrize("format_name", ["coco", "yolo", "hf"])
def test_splits_are_restored(difficult: Any, tmp_path: Path, format_name: str) -> None:
    options = ExportOptions(split=SPLIT)
    first = export(format_name, difficult.store, tmp_path / "dataset", options)
    import_labels(tmp_path / "dataset", tmp_path / "imported")
    options = ExportOptions(split=SPLIT, split_by="folder", seed=5)
    with LabelStore.open(tmp_path / "imported") as store:
        again = export(format_name, store, tmp_path / "again", options)
    assert again.images == first.images
    assert all(first.images.values())
