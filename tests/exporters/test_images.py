"""Pictures and folders of an export, whatever the format."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from grounded_sam2.errors import ExportError
from grounded_sam2.exporters import EXPORTERS, VIDEO_FORMATS, ExportOptions, export
from grounded_sam2.exporters.file_names import ImageFileRules, UniqueFileNames
from grounded_sam2.exporters.options import ExportCounter
from grounded_sam2.exporters.staging import staged_export
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
def test_images_are_the_same_bytes_in_their_sub_folders(rich, files, format_name):
    summary = run(rich, format_name)
    assert files(rich.folder / format_name / "images" / "train") == files(rich.images)
    assert summary.images == {"train": 5}


@pytest.mark.parametrize("format_name", WITH_FOLDERS)
def test_adding_images_moves_none_of_the_others(rich, files, format_name):
    run(rich, format_name, split=SPLIT)
    before = set(files(rich.folder / format_name / "images"))
    for i in range(5):
        rich.add(f"a{i}.png", seed=10 + i)
    run(rich, format_name, split=SPLIT)
    after = set(files(rich.folder / format_name / "images"))
    assert before < after
    assert len(after) == 10


def test_an_unknown_format_is_named(rich):
    with pytest.raises(ExportError, match=r"'vok' is not known; choose from yolo, coco"):
        run(rich, "vok")


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_counts_the_same(rich, format_name):
    summary = run(rich, format_name, split=SPLIT)
    assert list(summary.images) == list(SPLIT)
    assert sum(summary.images.values()) == 5
    assert summary.objects == {"ball": 3, "box": 2, "Katze ü": 2}
    assert summary.skipped == ()


@pytest.mark.parametrize("format_name", FORMATS)
def test_nothing_labeled_is_an_error(labeled, format_name):
    path = labeled.image("a.png")
    labeled.write(ItemOutcome(labeled.item(path), None, "is empty"))
    with pytest.raises(ExportError, match="label a folder first"):
        run(labeled, format_name)
    assert not list((labeled.folder / format_name).glob("*"))


def test_options_that_make_no_sense_are_named():
    for wrong, reason in [
        ({"images": "move"}, "images 'move'"),
        ({"segmentation": "mask"}, "segmentation 'mask'"),
        ({"min_polygon_iou": 1.5}, r"min_polygon_iou 1\.5"),
        ({"min_confidence": -0.1}, r"min_confidence -0\.1"),
        ({"min_mask_quality": 80}, r"min_mask_quality 80: must lie between 0 and 1"),
        ({"split_by": "colour"}, "split_by 'colour': must be one of content, folder"),
        ({"split": {"train": 0.5}}, "sums to 0.5"),
    ]:
        with pytest.raises(ExportError, match=reason):
            ExportOptions(**wrong)


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


# How images are placed


def test_copies_are_files_of_their_own(rich):
    run(rich, images="copy")
    copied = rich.folder / "coco" / "images" / "train" / "a.png"
    assert not copied.is_symlink()
    assert copied.stat().st_nlink == 1


def test_hard_links_share_the_file(rich):
    run(rich, images="link")
    assert (rich.folder / "coco" / "images" / "train" / "a.png").samefile(rich.images / "a.png")
    assert not (rich.folder / "coco" / "images" / "train" / "a.png").is_symlink()


def test_a_hard_link_to_a_link_is_one_to_the_file(labeled):
    kept = labeled.image("kept.png").rename(labeled.images.parent / "kept.png")
    (labeled.images / "a.png").symlink_to(kept)
    labeled.write(ItemOutcome(labeled.item(labeled.images / "a.png"), Labels((60, 80))))
    run(labeled, images="link")
    placed = labeled.folder / "coco" / "images" / "train" / "a.png"
    assert placed.samefile(kept)
    assert not placed.is_symlink()


def test_where_links_cannot_be_they_are_copied_and_counted(rich, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    summary = run(rich, images="link")
    assert summary.images == {"train": 5}
    assert any("were copied: 5" in note for note in summary.notes)


def test_symbolic_links_point_to_the_originals_wherever_the_export_stands(rich):
    run(rich, images="symlink")
    (rich.folder / "coco").rename(rich.folder.parent / "moved")
    linked = rich.folder.parent / "moved" / "images" / "train" / "sub" / "ring.png"
    assert linked.is_symlink()
    assert linked.samefile(rich.images / "sub" / "ring.png")


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_a_turned_image_is_written_upright(labeled, name, orientation):
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


def test_an_image_that_is_gone_or_changed_is_left_out_and_counted(rich):
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


def test_images_that_moved_are_found_where_the_user_says(rich, files):
    run(rich)
    before = files(rich.folder / "coco")
    rich.images.rename(rich.images.with_name("moved"))
    with pytest.raises(ExportError, match="5 are gone; say where they are now"):
        run(rich)
    assert files(rich.folder / "coco") == before
    run(rich, images_from=rich.images.with_name("moved"))
    assert files(rich.folder / "coco") == before


# Names


def names(rules: ImageFileRules, *claims: str) -> list[str]:
    unique = UniqueFileNames(rules)
    result = [str(unique.claim(i, rules.suffix(os.path.splitext(i)[1])[0])) for i in claims]  # noqa: PTH122
    unique.close()
    return result


def test_names_stay_where_nothing_is_hurt():
    ids = ["a.jpg", "a.png", "b/a.jpg", "ü/ä.JPG", "no ending"]
    assert names(ImageFileRules(), *ids) == ids


def test_images_that_differ_by_their_ending_are_told_apart():
    rules = ImageFileRules(unique_stems=True)
    ids = ["a.jpg", "a.png", "a_png.png", "b/a.png", "c/a.png", "c/a.webp"]
    assert names(rules, *ids) == [
        *("a.jpg", "a_png.png", "a_png_png.png"),
        *("b/a.png", "c/a.png", "c/a_webp.webp"),
    ]


def test_images_that_differ_by_case_are_told_apart():
    assert names(ImageFileRules(), "A.png", "a.png") == ["A.png", "a_png.png"]
    assert names(ImageFileRules(unique_stems=True), "A.png", "a.png", "a.PNG") == [
        *("A.png", "a_png.png", "a_png_2.PNG"),
    ]


def test_images_that_differ_by_the_spelling_of_an_accent_are_told_apart():
    assert names(ImageFileRules(), "\u00fc.png", "u\u0308.png") == ["\u00fc.png", "u\u0308_png.png"]


def test_long_names_stay_within_what_file_systems_take():
    stem = "ü" * 125  # two bytes each
    first, second, third = names(
        ImageFileRules(unique_stems=True), f"{stem}.jpg", f"{stem}.png", f"{stem}.PNG"
    )
    assert first == f"{stem}.jpg"
    assert second == f"{'ü' * 123}_png.png"
    assert third == f"{'ü' * 122}_png_2.PNG"
    [cut] = names(ImageFileRules(suffixes=frozenset({".png"})), "a" * 255)
    assert cut == "a" * 250 + ".png"


def test_characters_that_readers_stumble_over_become_underscores():
    assert names(ImageFileRules(forbidden=r"[\s#]"), "a b/c#d.png", "a_b/c d.png") == [
        *("a_b/c_d.png", "a_b/c_d_png.png"),
    ]
    assert names(ImageFileRules(), "a\\b.png", "c d#.png") == ["a_b.png", "c d#.png"]


def test_a_reserved_folder_gets_another_name():
    rules = ImageFileRules(reserved_folder="images")
    assert names(rules, "images/a.png", "b/images/images.png") == [
        *("images_/a.png", "b/images_/images.png"),
    ]


def test_endings_that_readers_do_not_know_change():
    rules = ImageFileRules(suffixes=frozenset({".jpg", ".png"}))
    assert names(rules, "a.jpg", "b.JPG", "c.jfif", "d.gif", "e") == [
        *("a.jpg", "b.JPG", "c.jpg", "d.png", "e.png"),
    ]


def test_where_only_one_ending_is_known_all_get_it():
    rules = ImageFileRules(
        suffixes=frozenset({".jpg"}), fallback_suffix=".jpg", lower_case_suffix=True
    )
    assert [rules.suffix(s) for s in (".jpg", ".JPG", ".jpeg", ".png", "")] == [
        *((".jpg", False), (".jpg", False), (".jpg", False), (".jpg", True), (".jpg", True)),
    ]


def test_no_name_leads_out_of_its_folder():
    assert names(ImageFileRules(), "../../etc/a.png", "/b.png", "..") == [
        *("etc/a.png", "b.png", "picture"),
    ]


# The folder


def test_what_is_not_from_an_export_is_never_replaced(rich):
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


def test_nothing_of_an_earlier_export_stays(rich, files):
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
def test_an_export_that_fails_leaves_the_earlier_one(rich, files, monkeypatch, format_name):
    run(rich, format_name)
    before = files(rich.folder / format_name)

    def fail(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(ExportCounter, "add", fail)
    with pytest.raises(ExportError, match="No space left"):
        run(rich, format_name)
    assert files(rich.folder / format_name) == before


def test_what_a_killed_export_left_is_cleared(rich, files):
    run(rich)
    before = files(rich.folder / "coco")
    half = rich.folder / "coco" / ".export.partial" / "new" / "images"
    half.mkdir(parents=True)
    (half / "half.png").write_text("cut off")
    run(rich)
    assert files(rich.folder / "coco") == before


def test_another_run_of_the_store_can_be_exported(rich):
    second = rich.store.begin_run(replace(rich.run.config, source="elsewhere"), new_run=True)
    [(item, labels), *_] = rich.store.labels(rich.run.id)
    rich.store.write_batch(second.id, [ItemOutcome(item, labels)])
    assert run(rich).images == {"train": 1}
    assert run(rich, run_id=rich.run.id).images == {"train": 5}


# One folder, one export


def test_an_export_that_fails_leaves_no_folder_behind(labeled):
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
def test_two_exports_into_one_folder_do_not_meet(rich, files):
    folder = rich.folder / "coco"
    run(rich)
    before = files(folder)
    with staged_export(folder, ["images", "annotations"], {"format": "coco"}):
        with pytest.raises(ExportError, match=r"another export.*wait until it ends"):
            run(rich)
        assert files(folder) == before
    run(rich)
    assert files(folder) == before


def test_a_split_is_not_named_twice(labeled, files):
    for seed, name in enumerate(("train/a.png", "val/a.png", "val/train/b.png", "c.png")):
        labeled.add(name, labeled.label(labeled.disc()), seed=seed)
    run(labeled, split={"train": 0.5, "val": 0.5}, split_by="folder")
    placed = set(files(labeled.folder / "coco" / "images"))
    assert placed - {"train/c.png", "val/c.png"} == {"train/a.png", "val/a.png", "val/train/b.png"}


def test_a_name_without_its_split_may_be_taken(labeled, files):
    for seed, name in enumerate(("a.png", "train/a.png")):
        labeled.add(name, labeled.label(labeled.disc()), seed=seed)
    run(labeled)
    assert set(files(labeled.folder / "coco" / "images")) == {"train/a.png", "train/a_png.png"}
