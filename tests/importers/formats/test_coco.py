"""COCO datasets in practice: ids of all kinds, all forms of segmentation, all image folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from grounded_sam2.errors import DatasetError
from grounded_sam2.store import LabelStore

IMAGE = {"id": 1, "file_name": "a.png", "height": 6, "width": 8}
CAT = {"id": 7, "name": "cat"}
DOG = {"id": 90, "name": "dog"}
SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]
"""Columns 1 to 3, rows 1 and 2."""


@pytest.fixture
def coco(tmp_path: Path, write_image: Any, write_json: Any) -> Callable[..., Path]:
    """Write a dataset of one image with these annotations, unless others are given."""

    def write(
        *annotations: Any, images: Any = (IMAGE,), categories: Any = (CAT, DOG), where: str = ""
    ) -> Path:
        write_image(tmp_path / "data" / "a.png")
        of_all = {"image_id": 1, "category_id": 7}
        given = [
            {"id": number, **of_all, **each} if isinstance(each, dict) else each
            for number, each in enumerate(annotations, start=1)
        ]
        parts = {"images": list(images), "annotations": given, "categories": list(categories)}
        write_json(tmp_path / "data" / (where or "labels.json"), parts)
        return tmp_path / "data"

    return write


def pixels(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


class TestSegmentations:
    def test_a_polygon_becomes_a_mask_with_a_tight_box(self, coco: Any, imported: Any) -> None:
        label = imported(coco({"segmentation": SQUARE, "bbox": [0, 0, 8, 6]})).only
        expected = pixels("        ", " ###    ", " ###    ", "        ", "        ", "        ")
        np.testing.assert_array_equal(label.mask.decode(), expected)
        assert label.box_xyxy == (1, 1, 4, 3)  # the mask's, not the file's
        assert (label.class_name, label.caption, label.origin) == ("cat", "cat", "human")
        assert label.confidence is label.mask_quality is label.track_id is None

    def test_several_polygons_are_joined_even_where_they_overlap(
        self, coco: Any, imported: Any
    ) -> None:
        other = [3, 2, 6, 2, 6, 5, 3, 5]
        label = imported(coco({"segmentation": [*SQUARE, other]})).only
        expected = pixels("        ", " ###    ", " #####  ", "   ###  ", "   ###  ", "        ")
        np.testing.assert_array_equal(label.mask.decode(), expected)

    def test_a_flat_list_is_one_polygon(self, coco: Any, imported: Any) -> None:
        assert imported(coco({"segmentation": SQUARE[0]})).only.mask.area == 6

    @pytest.mark.parametrize(
        "form",
        [
            lambda mask: {"size": [6, 8], "counts": run_lengths(mask)},
            lambda mask: {"size": [6, 8], "counts": encoded(mask)["counts"].decode()},
        ],
        ids=["uncompressed", "compressed"],
    )
    def test_run_lengths_are_in_column_major_order(
        self, coco: Any, imported: Any, form: Any
    ) -> None:
        mask = pixels("##      ", "#  ##   ", "   ##   ", "        ", "       #", "#       ")
        label = imported(coco({"segmentation": form(mask)})).only
        np.testing.assert_array_equal(label.mask.decode(), mask)

    @pytest.mark.parametrize("segmentation", [None, [], {}], ids=["null", "list", "object"])
    def test_without_a_segmentation_the_box_is_kept(
        self, coco: Any, imported: Any, segmentation: Any
    ) -> None:
        got = imported(coco({"segmentation": segmentation, "bbox": [1.5, 2, 3.25, 2]}))
        assert got.only.mask is None
        assert got.only.box_xyxy == (1.5, 2, 4.75, 4)
        assert got.reasons == {}

    @pytest.mark.parametrize(
        ("segmentation", "detail"),
        [
            ([[1, 1, 4, 1, 4]], "pairs"),
            ([[1, 1, 4, float("nan"), 4, 4]], "finite"),
            ([[1, 1, 4, 4]], "3 points"),
            ("1 1 4 1 4 4", "neither polygons nor run lengths"),
            (5, "has no len"),
            ([["a", "b"]], "could not convert"),
            ({"size": [6, 8], "counts": [3, 4]}, "7 pixels instead of 48"),
            ({"size": [6, 8], "counts": "~~~"}, "cut off"),
            ({"counts": [48]}, "size"),
        ],
    )
    def test_of_a_broken_segmentation_the_box_is_kept_and_the_problem_listed(
        self, coco: Any, imported: Any, segmentation: Any, detail: str
    ) -> None:
        got = imported(coco({"segmentation": segmentation, "bbox": [1, 2, 3, 2]}))
        assert got.only.mask is None
        assert got.only.box_xyxy == (1, 2, 4, 4)
        (problem,) = got.summary.problems
        assert (problem.reason, problem.count) == ("segmentation cannot be read; kept as a box", 1)
        assert problem.examples[0].startswith("annotation 1 of a.png: ")
        assert detail in problem.examples[0]

    def test_a_mask_of_another_size_than_the_image_is_dropped(
        self, coco: Any, imported: Any
    ) -> None:
        wrong = {"size": [8, 6], "counts": [10, 5, 33]}
        got = imported(coco({"segmentation": wrong, "bbox": [1, 2, 3, 2]}, {"segmentation": wrong}))
        assert got.only.box_xyxy == (1, 2, 4, 4)
        assert got.reasons == {
            "mask has another size than the image; kept as a box": 1,
            "mask has another size than the image; left out": 1,
        }

    def test_an_outline_thinner_than_a_pixel_becomes_a_box(self, coco: Any, imported: Any) -> None:
        got = imported(coco({"segmentation": [[1.6, 1, 1.9, 1, 1.9, 4, 1.6, 4]]}))
        assert got.only.mask is None
        assert got.only.box_xyxy == (1.6, 1, 1.9, 4)
        assert got.reasons == {"outline contains no pixel; kept as a box, if any": 1}

    def test_coordinates_beyond_the_image_are_clipped(self, coco: Any, imported: Any) -> None:
        got = imported(
            coco(
                {"segmentation": [[-0.5, 2, 3, 2, 3, 6.7, -0.5, 6.7]]},
                {"segmentation": [[5, 2, 30, 2, 30, 4, 5, 4]]},
                {"bbox": [-9, -9, 12, 11]},
                {"bbox": [20, 20, 3, 3]},
                {"bbox": [2, 2, 5, 4.9]},
            )
        )
        boxes = [label.box_xyxy for label in got.objects["a.png"]]
        assert boxes == [(0, 2, 3, 6), (5, 2, 8, 4), (0, 0, 3, 2), (2, 2, 7, 6)]
        assert got.reasons == {
            "extends beyond the image; clipped": 2,
            "lies outside the image; left out": 1,
        }


class TestObjects:
    def test_category_ids_may_be_any_numbers_or_texts(self, coco: Any, imported: Any) -> None:
        got = imported(
            coco(
                {"category_id": 90, "bbox": [0, 0, 2, 2]},
                {"category_id": "7", "bbox": [0, 0, 2, 2]},
                categories=[DOG, {"id": 0, "name": "bird"}, CAT, {"id": -3}],
            )
        )
        assert [label.class_name for label in got.objects["a.png"]] == ["dog", "cat"]
        assert got.summary.counts.objects_per_class == {"dog": 1, "bird": 0, "cat": 1, "-3": 0}
        assert list(got.summary.counts.objects_per_class) == ["dog", "bird", "cat", "-3"]

    def test_crowds_are_left_out_and_counted(self, coco: Any, imported: Any) -> None:
        crowd = {"iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [6, 12, 30]}}
        got = imported(coco(crowd, {"bbox": [0, 0, 2, 2]}))
        assert got.only.mask is None
        assert got.reasons == {
            "marks a crowd; left out (crowds=True, --crowds imports it as an object)": 1
        }

    def test_crowds_are_imported_on_request(self, coco: Any, imported: Any) -> None:
        crowd = {"iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [6, 12, 30]}}
        got = imported(coco(crowd), crowds=True)
        assert got.only.box_xyxy == (1, 0, 3, 6)

    def test_valid_scores_captions_and_track_ids_are_read(self, coco: Any, imported: Any) -> None:
        valid = {"score": 0.25, "mask_quality": 1, "caption": "a cat", "track_id": 12}
        invalid = {"score": 12.5, "mask_quality": "good", "caption": 5, "track_id": "x"}
        box = {"bbox": [0, 0, 2, 2]}
        first, second = imported(coco(valid | box, invalid | box), origin="model").objects["a.png"]
        assert (first.confidence, first.mask_quality, first.caption) == (0.25, 1.0, "a cat")
        assert (first.track_id, first.origin) == (12, "model")
        assert second.confidence is second.mask_quality is second.track_id is None
        assert second.caption == "cat"

    @pytest.mark.parametrize(
        ("annotation", "reason"),
        [
            ({"bbox": [1, 2, 3]}, "without a readable bbox or segmentation; left out"),
            ({"bbox": [1, 2, 0, 3]}, "without a readable bbox or segmentation; left out"),
            ({"bbox": [1, 2, 10**400, 3]}, "without a readable bbox or segmentation; left out"),
            ({"bbox": None}, "without a readable bbox or segmentation; left out"),
            ({}, "without a readable bbox or segmentation; left out"),
            ({"category_id": 8}, "of a category that is not listed; left out"),
            ({"category_id": None}, "of a category that is not listed; left out"),
            ({"category_id": [7]}, "of a category that is not listed; left out"),
            ({"image_id": 2}, "of an image that is not listed; left out"),
            ({"image_id": None}, "annotation without an image_id; left out"),
            ("text", "annotation without an image_id; left out"),
        ],
    )
    def test_a_broken_annotation_is_listed_and_the_others_are_read(
        self, coco: Any, imported: Any, annotation: Any, reason: str
    ) -> None:
        got = imported(coco(annotation, {"bbox": [0, 0, 2, 2]}))
        assert got.only.box_xyxy == (0, 0, 2, 2)
        assert got.reasons == {reason: 1}
        assert "annotation " in got.summary.problems[0].examples[0]

    def test_all_broken_annotations_are_counted_and_the_first_20_listed(
        self, coco: Any, imported: Any
    ) -> None:
        got = imported(coco(*[{"category_id": 8}] * 30, {"bbox": [0, 0, 2, 2]}))
        (problem,) = got.summary.problems
        assert (problem.count, len(problem.examples)) == (30, 20)
        assert problem.examples[:2] == (
            "annotation 1 of a.png: category_id 8",
            "annotation 2 of a.png: category_id 8",
        )


class TestImages:
    def test_image_ids_may_be_texts(self, coco: Any, imported: Any) -> None:
        first = {"id": "00012", "file_name": "a.png"}
        got = imported(coco({"image_id": "00012", "bbox": [0, 0, 2, 2]}, images=[first]))
        assert got.only

    def test_an_image_id_may_be_quoted_in_one_place_only(self, coco: Any, imported: Any) -> None:
        assert imported(coco({"image_id": "1", "bbox": [0, 0, 2, 2]})).only

    def test_an_image_without_annotations_is_background(self, coco: Any, imported: Any) -> None:
        assert imported(coco()).objects == {"a.png": ()}

    def test_a_missing_image_fails_with_the_reason(self, coco: Any, imported: Any) -> None:
        lost = {"id": 2, "file_name": "sub/lost.jpg"}
        got = imported(coco({"image_id": 2, "bbox": [0, 0, 2, 2]}, images=[lost, IMAGE]))
        assert got.objects == {"a.png": ()}
        assert list(got.failures) == ["sub/lost.jpg"]
        assert "is in none of the folders" in got.failures["sub/lost.jpg"]
        assert got.summary.counts.failed == 1

    def test_a_file_that_is_not_an_image_fails(
        self, coco: Any, imported: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "b.png").write_bytes(b"text")
        got = imported(coco(images=[IMAGE, {"id": 2, "file_name": "b.png"}]))
        assert "is not an image" in got.failures["b.png"]

    def test_an_image_listed_twice_loses_no_labels(self, coco: Any, imported: Any) -> None:
        again = IMAGE | {"id": 2}
        got = imported(coco({"bbox": [0, 0, 2, 2]}, {"image_id": 2}, images=[IMAGE, again]))
        assert list(got.objects) == ["a-0-2.png", "a.png"]

    def test_an_image_with_a_used_id_or_without_one_is_left_out(
        self, coco: Any, imported: Any
    ) -> None:
        got = imported(coco(images=[IMAGE, IMAGE | {"file_name": "b.png"}, {"id": 3}, 4]))
        assert list(got.objects) == ["a.png"]
        assert got.reasons == {
            "image has the id of another one; left out": 1,
            "image without an id or a file_name; left out": 2,
        }

    @pytest.mark.parametrize(
        ("file_name", "item_id"),
        [
            ("sub/b.png", "sub/b.png"),
            ("./sub/b.png", "sub/b.png"),
            ("sub\\b.png", "sub/b.png"),
            ("/home/somebody/data/sub/b.png", "sub/b.png"),
            ("C:\\data\\sub\\b.png", "sub/b.png"),
            ("https://example.com/x/sub/b.png?size=full", "sub/b.png"),
            ("{root}/sub/b.png", "sub/b.png"),
            ("{root}/../elsewhere/b.png", "b.png"),
            ("../elsewhere/b.png", "elsewhere/b.png"),
        ],
    )
    def test_an_image_is_found_by_a_relative_absolute_or_foreign_path(
        self,
        coco: Any,
        imported: Any,
        write_image: Any,
        tmp_path: Path,
        file_name: str,
        item_id: str,
    ) -> None:
        write_image(tmp_path / "data" / "sub" / "b.png")
        write_image(tmp_path / "elsewhere" / "b.png")
        name = file_name.replace("{root}", str(tmp_path / "data"))
        got = imported(coco(images=[{"id": 1, "file_name": name}]))
        assert list(got.objects) == [item_id]

    def test_images_are_searched_in_the_given_folder(
        self, coco: Any, imported: Any, write_image: Any
    ) -> None:
        data = coco(images=[{"id": 1, "file_name": "b.png"}])
        write_image(data.parent / "images" / "b.png")
        assert imported(data).failures
        assert list(imported(data, images=data.parent / "images").objects) == ["b.png"]

    @pytest.mark.parametrize("name", ["\0.png", "x" * 5000, "\ud800.png", ".."])
    def test_a_file_name_that_cannot_exist_fails_its_image(
        self, coco: Any, imported: Any, name: str
    ) -> None:
        got = imported(coco({"bbox": [0, 0, 2, 2]}, images=[{"id": 1, "file_name": name}]))
        assert got.objects == {}
        assert len(got.failures) == 1


class TestSizes:
    """Stored image of 6 × 8: the declared size decides whether labels refer to it."""

    MARK = [[0, 0, 2, 0, 2, 1, 0, 1]]  # noqa: RUF012
    """Two adjacent pixels in the upper left corner."""

    def run(self, coco: Any, imported: Any, write_image: Any, orientation: int, **size: int) -> Any:
        image = {"id": 1, "file_name": "b.jpg", **size}
        data = coco({"segmentation": self.MARK}, {"bbox": [0, 0, 2, 1]}, images=[image])
        write_image(data / "b.jpg", (6, 8), orientation=orientation)
        return imported(data)

    @pytest.mark.parametrize(
        ("orientation", "box"),
        [(5, (0, 0, 1, 2)), (6, (5, 0, 6, 2)), (7, (5, 6, 6, 8)), (8, (0, 6, 1, 8))],
    )
    def test_labels_of_the_stored_image_are_oriented(
        self, coco: Any, imported: Any, write_image: Any, orientation: int, box: Any
    ) -> None:
        got = self.run(coco, imported, write_image, orientation, height=6, width=8)
        masked, boxed = got.objects["b.jpg"]
        assert masked.mask.size_hw == (8, 6)
        assert masked.box_xyxy == boxed.box_xyxy == box

    @pytest.mark.parametrize("orientation", range(5, 9))
    @pytest.mark.parametrize("size", [{"height": 8, "width": 6}, {}, {"height": 0, "width": 0}])
    def test_labels_of_the_upright_image_are_kept(
        self, coco: Any, imported: Any, write_image: Any, orientation: int, size: Any
    ) -> None:
        masked, boxed = self.run(coco, imported, write_image, orientation, **size).objects["b.jpg"]
        assert masked.box_xyxy == boxed.box_xyxy == (0, 0, 2, 1)

    @pytest.mark.parametrize("orientation", range(1, 5))
    def test_labels_refer_to_the_upright_image_if_both_sizes_are_equal(
        self, coco: Any, imported: Any, write_image: Any, orientation: int
    ) -> None:
        got = self.run(coco, imported, write_image, orientation, height=6, width=8)
        assert got.objects["b.jpg"][0].box_xyxy == (0, 0, 2, 1)

    @pytest.mark.parametrize(("orientation", "size"), [(1, (8, 6)), (1, (12, 16)), (6, (7, 8))])
    def test_labels_for_another_size_fail_the_image(
        self, coco: Any, imported: Any, write_image: Any, orientation: int, size: Any
    ) -> None:
        got = self.run(coco, imported, write_image, orientation, height=size[0], width=size[1])
        assert f"for an image of {size[1]}×{size[0]} pixels" in got.failures["b.jpg"]

    def test_the_size_of_run_lengths_is_used_if_none_is_declared(
        self, coco: Any, imported: Any, write_image: Any
    ) -> None:
        rle = {"size": [6, 8], "counts": [0, 1, 47]}
        data = coco({"segmentation": rle}, images=[{"id": 1, "file_name": "b.jpg"}])
        write_image(data / "b.jpg", (6, 8), orientation=6)
        assert imported(data).only.box_xyxy == (5, 0, 6, 1)


class TestLayouts:
    @pytest.mark.parametrize(
        ("annotations", "images", "item_ids"),
        [
            ("annotations/instances_train2017.json", "train2017", ["train/b.png"]),
            ("annotations/instances_val.json", "images/val", ["val/b.png"]),
            ("annotations/instances_default.json", "images", ["b.png"]),
            ("valid/_annotations.coco.json", "valid", ["val/b.png"]),
            ("test/labels.json", "test/data", ["test/b.png"]),
            ("labels.json", "data", ["b.png"]),
            ("labels.json", "images", ["b.png"]),
            ("result.json", "", ["b.png"]),
        ],
    )
    def test_images_are_found_in_every_layout(
        self,
        imported: Any,
        write_image: Any,
        write_json: Any,
        tmp_path: Path,
        annotations: str,
        images: str,
        item_ids: list[str],
    ) -> None:
        data = tmp_path / "data"
        write_json(data / annotations, {"images": [{"id": 1, "file_name": "b.png"}]})
        write_image(data / images / "b.png")
        assert list(imported(data).objects) == item_ids
        assert list(imported(data / annotations).objects) == item_ids

    def test_splits_have_independent_ids(
        self, imported: Any, write_image: Any, write_json: Any, tmp_path: Path
    ) -> None:
        data = tmp_path / "data"
        for split, category in (("train2017", CAT), ("val2017", DOG | {"id": 7})):
            box = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [0, 0, 2, 2]}
            parts = {"annotations": [box], "categories": [category], "images": [IMAGE]}
            write_json(data / "annotations" / f"instances_{split}.json", parts)
            write_json(data / "annotations" / f"captions_{split}.json", {"images": [IMAGE]})
            write_image(data / split / "a.png")
        got = imported(data)
        assert {name: label.class_name for name, (label,) in got.objects.items()} == {
            "train/a.png": "cat",
            "val/a.png": "dog",
        }

    def test_files_without_a_split_in_their_names_use_their_names_as_prefix(
        self, imported: Any, write_image: Any, write_json: Any, tmp_path: Path
    ) -> None:
        data = tmp_path / "data"
        write_image(data / "a.png")
        for name in ("first", "second"):
            write_json(data / f"{name}.json", {"images": [IMAGE]})
        assert list(imported(data).objects) == ["first/a.png", "second/a.png"]

    def test_a_split_in_the_image_path_is_not_repeated(
        self, imported: Any, write_image: Any, write_json: Any, tmp_path: Path
    ) -> None:
        image = {"id": 1, "file_name": "train2017/a.png"}
        write_json(tmp_path / "data" / "instances_train2017.json", {"images": [image]})
        write_image(tmp_path / "data" / "train2017" / "a.png")
        assert list(imported(tmp_path / "data").objects) == ["train/a.png"]


class TestWrongFiles:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"images": [{"id": 1, "file_name": "a.png"}', "at character"),
            ('{"images": [], "annotations": []}', "lists no images"),
            ('{"categories": 5}', "lists no images"),
        ],
        ids=["cut", "empty", "none"],
    )
    def test_an_incomplete_file_or_one_without_images_adds_no_run(
        self, imported: Any, tmp_path: Path, text: str, message: str
    ) -> None:
        (tmp_path / "labels.json").write_text(text)
        with pytest.raises(DatasetError, match=message):
            imported(tmp_path / "labels.json")
        with LabelStore.open(tmp_path / "labeled") as store:
            assert store.runs() == []

    def test_a_list_of_results_is_not_a_dataset(
        self, imported: Any, tmp_path: Path, write_json: Any
    ) -> None:
        write_json(tmp_path / "labels.json", [{"image_id": 1, "category_id": 1, "score": 0.5}])
        with pytest.raises(DatasetError, match=r"'\{' is missing at character 0"):
            imported(tmp_path / "labels.json")

    def test_surrogates_are_escaped_before_they_are_stored(self, coco: Any, imported: Any) -> None:
        name = json.loads('"\\ud800"')
        box = {"bbox": [0, 0, 2, 2], "caption": name}
        got = imported(coco(box, categories=[{"id": 7, "name": name}]))
        assert (got.only.class_name, got.only.caption) == ("\\ud800", "\\ud800")


def run_lengths(mask: np.ndarray) -> list[int]:
    """Reference: run lengths in column-major order, background first."""
    counts, current = [0], False
    for value in mask.T.ravel():
        if value != current:
            counts.append(0)
            current = value
        counts[-1] += 1
    return counts


def encoded(mask: np.ndarray) -> dict[str, Any]:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
