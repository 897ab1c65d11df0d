"""File names in a dataset are unique and readable, and otherwise the ids of the images."""

from __future__ import annotations

import os

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.file_names import ImageFileRules, UniqueFileNames
from grounded_sam2.store import LabelStore


def run(labeled, format_name="coco", **options):
    with LabelStore.open(labeled.folder) as store:
        return export(format_name, store, labeled.folder / format_name, ExportOptions(**options))


def names(rules: ImageFileRules, *claims: str) -> list[str]:
    unique = UniqueFileNames(rules)
    result = [str(unique.claim(i, rules.suffix(os.path.splitext(i)[1])[0])) for i in claims]  # noqa: PTH122
    unique.close()
    return result


def test_names_without_a_conflict_stay():
    ids = ["a.jpg", "a.png", "b/a.jpg", "ü/ä.JPG", "no ending"]
    assert names(ImageFileRules(), *ids) == ids


def test_names_with_equal_stems_get_different_stems():
    rules = ImageFileRules(unique_stems=True)
    ids = ["a.jpg", "a.png", "a_png.png", "b/a.png", "c/a.png", "c/a.webp"]
    assert names(rules, *ids) == [
        *("a.jpg", "a_png.png", "a_png_png.png"),
        *("b/a.png", "c/a.png", "c/a_webp.webp"),
    ]


def test_names_that_differ_by_case_get_different_names():
    assert names(ImageFileRules(), "A.png", "a.png") == ["A.png", "a_png.png"]
    assert names(ImageFileRules(unique_stems=True), "A.png", "a.png", "a.PNG") == [
        *("A.png", "a_png.png", "a_png_2.PNG"),
    ]


def test_names_that_differ_by_unicode_normalization_get_different_names():
    assert names(ImageFileRules(), "\u00fc.png", "u\u0308.png") == ["\u00fc.png", "u\u0308_png.png"]


def test_long_names_are_truncated_to_what_file_systems_accept():
    stem = "ü" * 125  # two bytes each
    first, second, third = names(
        ImageFileRules(unique_stems=True), f"{stem}.jpg", f"{stem}.png", f"{stem}.PNG"
    )
    assert first == f"{stem}.jpg"
    assert second == f"{'ü' * 123}_png.png"
    assert third == f"{'ü' * 122}_png_2.PNG"
    [cut] = names(ImageFileRules(suffixes=frozenset({".png"})), "a" * 255)
    assert cut == "a" * 250 + ".png"


def test_forbidden_characters_become_underscores():
    assert names(ImageFileRules(forbidden=r"[\s#]"), "a b/c#d.png", "a_b/c d.png") == [
        *("a_b/c_d.png", "a_b/c_d_png.png"),
    ]
    assert names(ImageFileRules(), "a\\b.png", "c d#.png") == ["a_b.png", "c d#.png"]


def test_a_reserved_folder_name_gets_an_underscore():
    rules = ImageFileRules(reserved_folder="images")
    assert names(rules, "images/a.png", "b/images/images.png") == [
        *("images_/a.png", "b/images_/images.png"),
    ]


def test_suffixes_that_readers_do_not_accept_change():
    rules = ImageFileRules(suffixes=frozenset({".jpg", ".png"}))
    assert names(rules, "a.jpg", "b.JPG", "c.jfif", "d.gif", "e") == [
        *("a.jpg", "b.JPG", "c.jpg", "d.png", "e.png"),
    ]


def test_if_readers_accept_one_suffix_all_images_get_it():
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


def test_an_id_that_begins_with_its_split_does_not_repeat_it(labeled, files):
    for seed, name in enumerate(("train/a.png", "val/a.png", "val/train/b.png", "c.png")):
        labeled.add(name, labeled.label(labeled.disc()), seed=seed)
    run(labeled, split={"train": 0.5, "val": 0.5}, split_by="folder")
    placed = set(files(labeled.folder / "coco" / "images"))
    assert placed - {"train/c.png", "val/c.png"} == {"train/a.png", "val/a.png", "val/train/b.png"}


def test_a_name_without_its_split_may_collide_and_gets_another(labeled, files):
    for seed, name in enumerate(("a.png", "train/a.png")):
        labeled.add(name, labeled.label(labeled.disc()), seed=seed)
    run(labeled)
    assert set(files(labeled.folder / "coco" / "images")) == {"train/a.png", "train/a_png.png"}
