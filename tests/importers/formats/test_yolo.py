"""YOLO datasets in practice: all forms of data.yaml and of rows, images and labels without each
other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from grounded_sam2.errors import DatasetError
from grounded_sam2.store import LabelStore

SQUARE = "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"
"""The central 4 × 4 pixels of 8 × 8."""


@pytest.fixture
def yolo(tmp_path: Path, write_image: Any) -> Callable[..., Path]:
    """Write a dataset of one 8 × 8 image with this label file, unless other values are given."""

    def write(rows: str | None = SQUARE, *, names: Any = ("cat", "dog"), **values: Any) -> Path:
        data = tmp_path / "data"
        write_image(data / "images" / "train" / "a.png", (8, 8))
        (data / "labels" / "train").mkdir(parents=True, exist_ok=True)
        if rows is not None:
            (data / "labels" / "train" / "a.txt").write_text(rows, encoding="utf-8")
        given = {"train": "images/train", "names": list(names) if names else names} | values
        (data / "data.yaml").write_text(yaml.safe_dump(given))
        return data

    return write


class TestRows:
    def test_an_outline_becomes_a_mask(self, yolo: Any, imported: Any) -> None:
        label = imported(yolo()).only
        expected = np.zeros((8, 8), bool)
        expected[2:6, 2:6] = True
        np.testing.assert_array_equal(label.mask.decode(), expected)
        assert label.box_xyxy == (2, 2, 6, 6)
        assert (label.class_name, label.caption, label.origin) == ("cat", "cat", "human")

    def test_a_row_of_five_numbers_is_a_box(self, yolo: Any, imported: Any) -> None:
        label = imported(yolo("1 0.5 0.5 0.25 0.75\n")).only
        assert label.mask is None
        assert label.box_xyxy == (3, 1, 5, 7)
        assert label.class_name == "dog"

    def test_one_file_may_contain_boxes_and_outlines(self, yolo: Any, imported: Any) -> None:
        first, second = imported(yolo(f"1 0.5 0.5 0.25 0.75\n{SQUARE}\n")).objects["train/a.png"]
        assert first.mask is None
        assert second.mask is not None

    @pytest.mark.parametrize("row", ["1 0.5 0.5 0.25 0.75 0.625", f"{SQUARE} 0.625"])
    def test_one_additional_number_is_the_confidence(
        self, yolo: Any, imported: Any, row: str
    ) -> None:
        assert imported(yolo(row)).only.confidence == 0.625

    def test_a_hole_joined_by_a_zero_width_bridge_is_restored(
        self, yolo: Any, imported: Any
    ) -> None:
        outer = "0 0  1 0  1 1  0 1  0 0"
        inner = "0.25 0.25  0.25 0.75  0.75 0.75  0.75 0.25  0.25 0.25"
        mask = imported(yolo(f"0 {outer} {inner} 0 0")).only.mask.decode()
        assert mask.sum() == 48
        assert not mask[2:6, 2:6].any()

    def test_two_parts_joined_by_a_zero_width_bridge_are_restored(
        self, yolo: Any, imported: Any
    ) -> None:
        first = "0 0  0.25 0  0.25 0.25  0 0.25  0 0"
        second = "0.75 0.75  1 0.75  1 1  0.75 1  0.75 0.75"
        mask = imported(yolo(f"0 {first} {second} 0 0")).only.mask.decode()
        assert mask.sum() == 8
        assert mask[0:2, 0:2].all()
        assert mask[6:8, 6:8].all()

    def test_coordinates_within_the_tolerance_are_clipped(self, yolo: Any, imported: Any) -> None:
        got = imported(yolo("0 -0.005 0 1.005 0 1.005 1.004 -0.005 1.004"))
        assert got.only.mask.area == 64
        assert got.reasons == {}

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("cat 0.5 0.5 0.25 0.75", "contains something that is not a number; left out"),
            ("2 0.5 0.5 0.25 0.75", "of a class that data.yaml does not name; left out"),
            ("-1 0.5 0.5 0.25 0.75", "of a class that data.yaml does not name; left out"),
            ("0.5 0.5 0.5 0.25 0.75", "of a class that data.yaml does not name; left out"),
            ("nan 0.5 0.5 0.25 0.75", "of a class that data.yaml does not name; left out"),
            ("0", "has too few numbers for a box or an outline; left out"),
            ("0 0.5 0.5", "has too few numbers for a box or an outline; left out"),
            ("0 0.5 0.5 nan 0.5", "coordinates are not within 0 and 1; left out"),
            ("0 320 240 100 50", "coordinates are not within 0 and 1; left out"),
            ("0 0 0 1.02 0 1.02 1", "coordinates are not within 0 and 1; left out"),
            ("0 0.5 0.5 0 0.5", "is a box without extent; left out"),
            ("0 0.5 0.5 0.5 0.5 0.5 0.5", "lies outside the image; left out"),
        ],
    )
    def test_a_broken_row_is_listed_and_the_others_are_read(
        self, yolo: Any, imported: Any, row: str, reason: str
    ) -> None:
        got = imported(yolo(f"{SQUARE}\n\n{row}\n"))
        assert got.only.mask.area == 16
        (problem,) = [each for each in got.summary.problems if each.reason == reason]
        assert problem.count == 1
        assert problem.examples[0].startswith("line 3 of train/a.png")

    def test_windows_line_ends_and_a_byte_order_mark_are_read(
        self, yolo: Any, imported: Any
    ) -> None:
        assert len(imported(yolo(f"\ufeff{SQUARE}\r\n{SQUARE}\r\n")).objects["train/a.png"]) == 2


class TestFiles:
    @pytest.mark.parametrize("rows", ["", "\n", None], ids=["empty", "blank", "missing"])
    def test_an_image_without_labels_is_background(
        self, yolo: Any, imported: Any, rows: str | None
    ) -> None:
        assert imported(yolo(rows)).objects == {"train/a.png": ()}

    def test_unreadable_labels_fail_the_image(self, yolo: Any, imported: Any) -> None:
        data = yolo()
        (data / "labels" / "train" / "a.txt").write_bytes(b"\xff\xfe0")
        got = imported(data)
        assert got.objects == {}
        assert "cannot be read" in got.failures["train/a.png"]

    def test_labels_without_an_image_are_listed(self, yolo: Any, imported: Any) -> None:
        data = yolo()
        (data / "labels" / "train" / "sub").mkdir()
        (data / "labels" / "train" / "sub" / "lost.txt").write_text(SQUARE)
        (data / "labels" / "train" / "classes.txt").write_text("cat\ndog\n")
        got = imported(data)
        assert got.reasons == {"labels without an image; left out": 1}
        assert got.summary.problems[0].examples[0].endswith("sub/lost.txt")

    def test_sub_folders_upper_case_extensions_and_equal_stems_are_read(
        self, yolo: Any, imported: Any, write_image: Any
    ) -> None:
        data = yolo()
        write_image(data / "images" / "train" / "sub" / "b.PNG", (8, 8))
        write_image(data / "images" / "train" / "a.jpg", (8, 8))
        (data / "labels" / "train" / "sub").mkdir()
        (data / "labels" / "train" / "sub" / "b.txt").write_text(SQUARE)
        got = imported(data)
        counts = {name: len(objects) for name, objects in got.objects.items()}
        assert counts == {"train/a.jpg": 1, "train/a.png": 1, "train/sub/b.PNG": 1}

    def test_labels_refer_to_the_upright_image(
        self, yolo: Any, imported: Any, write_image: Any
    ) -> None:
        data = yolo("0 0.25 0.5 0.5 1")
        (data / "images" / "train" / "a.png").unlink()
        write_image(data / "images" / "train" / "a.jpg", (4, 8), orientation=6)
        assert imported(data).only.box_xyxy == (0, 0, 2, 8)

    def test_labels_may_be_beside_the_images(
        self, imported: Any, write_image: Any, tmp_path: Path
    ) -> None:
        data = tmp_path / "data"
        write_image(data / "obj" / "a.png", (8, 8))
        (data / "obj" / "a.txt").write_text(SQUARE)
        (data / "data.yaml").write_text("train: obj\nnames: [cat]\n")
        assert imported(data).only.mask.area == 16

    def test_the_last_folder_called_images_is_replaced(
        self, imported: Any, write_image: Any, tmp_path: Path
    ) -> None:
        data = tmp_path / "images" / "data"
        write_image(data / "images" / "a.png", (8, 8))
        (data / "labels").mkdir()
        (data / "labels" / "a.txt").write_text(SQUARE)
        (data / "data.yaml").write_text("train: images\nnames: [cat]\n")
        assert imported(data).only


class TestDataYaml:
    @pytest.mark.parametrize(
        ("names", "classes"),
        [
            (["cat", "dog"], ["cat", "dog"]),
            ({0: "cat", 5: "dog"}, ["cat", "dog"]),
            ({"10": "dog", "0": "cat", "9": "owl"}, ["cat", "owl", "dog"]),
            (["cat", "cat"], ["cat"]),
            ([1, 2], ["1", "2"]),
        ],
    )
    def test_names_may_be_a_list_or_a_mapping(
        self, yolo: Any, imported: Any, names: Any, classes: list[str]
    ) -> None:
        data = yolo(names=None)
        (data / "data.yaml").write_text(yaml.safe_dump({"train": "images/train", "names": names}))
        got = imported(data)
        assert list(got.summary.counts.objects_per_class) == classes
        assert got.only.class_name == classes[0]

    @pytest.mark.parametrize(
        "values",
        [
            {"path": "."},
            {"path": "../data"},
            {"path": "{root}"},
            {"path": "/somewhere/else"},
            {"train": ["images/train"]},
            {"train": "../images/train"},
            {"train": "{root}/images/train"},
            {"train": "images"},
            {"train": "train.txt"},
            {"train": ["listed.txt"]},
            {"val": "images/train"},
            {"train": "images/train", "val": "images/train", "test": ""},
            {"train": "images/train/", "val": "absent"},
        ],
        ids=str,
    )
    def test_paths_may_be_folders_lists_absolute_or_relative(
        self, yolo: Any, imported: Any, tmp_path: Path, values: dict[str, Any]
    ) -> None:
        root = str(tmp_path / "data")
        filled = {
            key: value.replace("{root}", root) if isinstance(value, str) else value
            for key, value in values.items()
        }
        data = yolo(**filled)
        (data / "train.txt").write_text("./images/train/a.png\n\n")
        (data / "listed.txt").write_text(f"{root}/images/train/a.png\n")
        assert list(imported(data).objects) == ["train/a.png"]

    def test_a_folder_listed_for_two_splits_belongs_to_the_split_of_its_name(
        self, yolo: Any, imported: Any, write_image: Any
    ) -> None:
        data = yolo(train="images/val", val="images/val")
        write_image(data / "images" / "val" / "b.png", (8, 8))
        assert list(imported(data).objects) == ["val/b.png"]

    @pytest.mark.parametrize("folder", ["", "val"])
    def test_without_any_path_the_images_are_in_images(
        self, imported: Any, write_image: Any, tmp_path: Path, folder: str
    ) -> None:
        data = tmp_path / "data"
        write_image(data / "images" / folder / "a.png", (8, 8))
        (data / "labels" / folder).mkdir(parents=True)
        (data / "labels" / folder / "a.txt").write_text(SQUARE)
        (data / "data.yaml").write_text("names: [cat]\n")
        assert imported(data).only
        assert list(imported(data).objects) == [f"{folder}/a.png".removeprefix("/")]

    def test_missing_paths_are_listed(self, yolo: Any, imported: Any) -> None:
        got = imported(yolo(test="images/absent"))
        assert list(got.objects) == ["train/a.png"]
        assert got.reasons == {"paths in data.yaml that do not exist; left out": 1}

    def test_several_folders_of_a_split_keep_their_names(
        self, yolo: Any, imported: Any, write_image: Any
    ) -> None:
        data = yolo(train=["images/one", "images/two"])
        for folder in ("one", "two"):
            write_image(data / "images" / folder / "x.png", (8, 8))
        assert list(imported(data).objects) == ["train/one/x.png", "train/two/x.png"]

    def test_a_list_may_contain_missing_images_and_equal_names(
        self, yolo: Any, imported: Any, write_image: Any
    ) -> None:
        data = yolo(train="list.txt")
        write_image(data / "one" / "x.png", (8, 8))
        write_image(data / "two" / "x.png", (8, 8))
        (data / "list.txt").write_text("one/x.png\ntwo/x.png\ntwo/lost.png\n")
        got = imported(data)
        assert list(got.objects) == ["train/x-list.png", "train/x.png"]
        assert "does not exist" in got.failures["train/lost.png"]

    def test_images_are_searched_in_the_given_folder(
        self, yolo: Any, imported: Any, write_image: Any, tmp_path: Path
    ) -> None:
        write_image(tmp_path / "moved" / "images" / "b.png", (8, 8))
        data = yolo(train="images")
        assert list(imported(data, images=tmp_path / "moved").objects) == ["train/b.png"]

    def test_the_yaml_file_itself_or_one_of_another_name_is_accepted(
        self, yolo: Any, imported: Any
    ) -> None:
        data = yolo()
        assert imported(data / "data.yaml").only
        (data / "data.yaml").rename(data / "shapes.yml")
        assert imported(data).only

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("train: images/train\n", "names no classes"),
            ("train: images/train\nnames: []\n", "names no classes"),
            ("train: images/train\nnames: {cat: 0}\n", "numbers with names"),
            ("names: [cat]\ntrain: absent\n", "train: absent"),
            ("names: [cat]\ntrain: images/train\nkpt_shape: [17, 3]\n", "poses"),
            ("- cat\n", "not a data.yaml"),
            ("names: [cat\n", "not YAML"),
            ("a: 2024-13-45\n", "not YAML"),
        ],
    )
    def test_a_data_yaml_without_required_entries_adds_no_run(
        self, yolo: Any, imported: Any, tmp_path: Path, text: str, message: str
    ) -> None:
        data = yolo()
        (data / "data.yaml").write_text(text)
        with pytest.raises(DatasetError, match=message):
            imported(data)
        with LabelStore.open(tmp_path / "labeled") as store:
            assert store.runs() == []

    def test_neither_paths_nor_a_folder_of_images_is_refused(
        self, imported: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "data.yaml").write_text("names: [cat]\n")
        with pytest.raises(DatasetError, match="it names none"):
            imported(tmp_path / "data")

    def test_a_folder_without_data_yaml_is_refused(self, imported: Any, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        with pytest.raises(DatasetError, match=r"no data\.yaml"):
            imported(tmp_path / "data", format="yolo")
