"""Images of an export, in every format."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS, ExportOptions, export
from grounded_sam2.results import Labels
from grounded_sam2.sources.image import load_image
from grounded_sam2.store import ItemOutcome, LabelStore

FORMATS = sorted(EXPORTERS.keys() - VIDEO_FORMATS)
WITH_FOLDERS = [name for name in FORMATS if name not in ("voc", "hf")]  # of images, by split
SPLIT = {"train": 0.5, "val": 0.3, "test": 0.2}


def run(labeled, format_name="coco", **options):
    with LabelStore.open(labeled.folder) as store:
        return export(format_name, store, labeled.folder / format_name, ExportOptions(**options))


# Any format


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_export_repeats_to_the_byte(rich, files, format_name):
    run(rich, format_name, split=SPLIT)
    first = files(rich.folder / format_name)
    run(rich, format_name, split=SPLIT)
    assert files(rich.folder / format_name) == first
    with LabelStore.open(rich.folder) as store:
        export(format_name, store, rich.folder / "elsewhere", ExportOptions(split=SPLIT))
    assert files(rich.folder / "elsewhere") == first


@pytest.mark.parametrize("format_name", WITH_FOLDERS)
def test_images_keep_their_bytes_and_sub_folders(rich, files, format_name):
    summary = run(rich, format_name)
    assert files(rich.folder / format_name / "images" / "train") == files(rich.images)
    assert summary.images == {"train": 5}


@pytest.mark.parametrize("format_name", WITH_FOLDERS)
def test_adding_images_moves_no_other_image_to_another_split(rich, files, format_name):
    run(rich, format_name, split=SPLIT)
    before = set(files(rich.folder / format_name / "images"))
    for i in range(5):
        rich.add(f"a{i}.png", seed=10 + i)
    run(rich, format_name, split=SPLIT)
    after = set(files(rich.folder / format_name / "images"))
    assert before < after
    assert len(after) == 10


def test_an_unknown_format_is_an_error_that_lists_the_valid_ones(rich):
    with pytest.raises(ExportError, match=r"'vok' is not known; choose from yolo, coco"):
        run(rich, "vok")


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_has_the_same_counts(rich, format_name):
    summary = run(rich, format_name, split=SPLIT)
    assert list(summary.images) == list(SPLIT)
    assert sum(summary.images.values()) == 5
    assert summary.objects == {"ball": 3, "box": 2, "Katze ü": 2}
    assert summary.skipped == ()


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_store_without_labels_is_an_error(labeled, format_name):
    path = labeled.image("a.png")
    labeled.write(ItemOutcome(labeled.item(path), None, "is empty"))
    with pytest.raises(ExportError, match="label a folder first"):
        run(labeled, format_name)
    assert not list((labeled.folder / format_name).glob("*"))


# Thresholds


@pytest.mark.parametrize("format_name", FORMATS)
def test_objects_below_a_threshold_are_left_out_and_counted(rich, format_name):
    summary = run(rich, format_name, min_confidence=0.6)
    assert summary.images == {"train": 5}
    assert summary.objects == {"ball": 3, "box": 1, "Katze ü": 2}  # one without a confidence
    assert "objects below the thresholds, left out: 1" in summary.notes


def test_an_image_without_objects_above_the_thresholds_is_background(labeled):
    labeled.add("a.png", labeled.label(labeled.disc(), mask_quality=0.79))
    assert run(labeled, min_mask_quality=0.8).objects["ball"] == 0
    assert run(labeled, min_mask_quality=0.79).objects["ball"] == 1


# Copies and links


def test_copies_are_files_of_their_own(rich):
    run(rich, images="copy")
    copied = rich.folder / "coco" / "images" / "train" / "a.png"
    assert not copied.is_symlink()
    assert copied.stat().st_nlink == 1


def test_hard_links_share_the_file(rich):
    run(rich, images="link")
    assert (rich.folder / "coco" / "images" / "train" / "a.png").samefile(rich.images / "a.png")
    assert not (rich.folder / "coco" / "images" / "train" / "a.png").is_symlink()


def test_a_hard_link_to_a_symbolic_link_links_to_its_target(labeled):
    kept = labeled.image("kept.png").rename(labeled.images.parent / "kept.png")
    (labeled.images / "a.png").symlink_to(kept)
    labeled.write(ItemOutcome(labeled.item(labeled.images / "a.png"), Labels((60, 80))))
    run(labeled, images="link")
    placed = labeled.folder / "coco" / "images" / "train" / "a.png"
    assert placed.samefile(kept)
    assert not placed.is_symlink()


def test_images_that_cannot_be_linked_are_copied_and_counted(rich, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    summary = run(rich, images="link")
    assert summary.images == {"train": 5}
    assert any("were copied: 5" in note for note in summary.notes)


def test_symbolic_links_survive_a_move_of_the_export(rich):
    run(rich, images="symlink")
    (rich.folder / "coco").rename(rich.folder.parent / "moved")
    linked = rich.folder.parent / "moved" / "images" / "train" / "sub" / "ring.png"
    assert linked.is_symlink()
    assert linked.samefile(rich.images / "sub" / "ring.png")


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_an_image_rotated_by_exif_is_written_upright(labeled, name, orientation):
    path = labeled.add(name, orientation=orientation)
    run(labeled, images="symlink")
    written = labeled.folder / "coco" / "images" / "train" / name
    expected = load_image(path).astype(int)
    with PIL.Image.open(written) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.size == (80, 60)
        assert image.format == {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:].upper())
        difference = np.abs(np.asarray(image).astype(int) - expected)
    assert not written.is_symlink()
    assert difference.mean() < (1.5 if name == "a.jpg" else 1e-9)


def test_a_missing_or_changed_image_is_left_out_and_counted(rich):
    (rich.images / "a.png").unlink()
    (rich.images / "sub" / "ring.png").unlink()
    rich.image("z.png", seed=99)
    summary = run(rich)
    assert summary.images == {"train": 2}
    gone, changed = summary.skipped
    assert (gone.count, gone.example) == (2, "a.png")
    assert "are gone" in gone.reason
    assert (changed.count, changed.example) == (1, "z.png")
    assert "have changed" in changed.reason


def test_moved_images_are_found_in_the_given_folder(rich, files):
    run(rich)
    before = files(rich.folder / "coco")
    rich.images.rename(rich.images.with_name("moved"))
    with pytest.raises(ExportError, match="5 are gone; give the folder that holds them now"):
        run(rich)
    assert files(rich.folder / "coco") == before
    run(rich, images_from=rich.images.with_name("moved"))
    assert files(rich.folder / "coco") == before


def test_another_run_of_the_store_can_be_exported(rich):
    second = rich.store.begin_run(replace(rich.run.config, source="elsewhere"), new_run=True)
    [(item, labels), *_] = rich.store.labels(rich.run.id)
    rich.store.write_batch(second.id, [ItemOutcome(item, labels)])
    assert run(rich).images == {"train": 1}
    assert run(rich, run_id=rich.run.id).images == {"train": 5}
