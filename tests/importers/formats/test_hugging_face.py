"""Parquet datasets written with pyarrow alone and with ``datasets``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grounded_sam2.errors import DatasetError

SQUARE = [[1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]]
BOX = [1.0, 2.0, 3.0, 2.0]


@pytest.fixture
def content(tmp_path: Path, write_image: Any) -> bytes:
    return write_image(tmp_path / "content.png").read_bytes()


@pytest.fixture
def rows(tmp_path: Path, content: bytes) -> Callable[..., Path]:
    """Write rows with an image and the given columns to a shard."""

    def write(
        *given: dict[str, Any], shard: str = "data/train-00000-of-00001.parquet", **options: Any
    ) -> Path:
        image = {"bytes": content, "path": "a.png"}
        table = pa.Table.from_pylist([{"image": image, **row} for row in given])
        if "features" in options:
            features = {"info": {"features": options["features"]}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        path = tmp_path / "data" / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        return tmp_path / "data"

    return write


def test_objects_as_a_list_per_field(rows: Any, imported: Any) -> None:
    objects = {"bbox": [BOX, [0.0, 0.0, 2.0, 2.0]], "category": ["dog", "cat"]}
    got = imported(rows({"objects": objects}))
    first, second = got.objects["train/a.png"]
    assert (first.class_name, first.box_xyxy, first.mask) == ("dog", (1, 2, 4, 4), None)
    assert second.class_name == "cat"
    assert list(got.summary.counts.objects_per_class) == ["cat", "dog"]
    assert got.summary.format == "hf"


def test_objects_as_a_list_of_structs(rows: Any, imported: Any) -> None:
    objects = [
        {"bbox": BOX, "category": "dog", "segmentation": SQUARE},
        {"bbox": BOX, "category": "cat", "segmentation": None},
    ]
    first, second = imported(rows({"objects": objects})).objects["train/a.png"]
    assert first.mask.area == 6
    assert second.mask is None


def test_objects_as_top_level_columns(rows: Any, imported: Any) -> None:
    label = imported(rows({"bboxes": [BOX], "labels": ["dog"], "id": 4})).only
    assert (label.class_name, label.box_xyxy) == ("dog", (1, 2, 4, 4))


def test_run_lengths_scores_and_captions_are_read(rows: Any, imported: Any) -> None:
    objects = {
        "category": ["dog"],
        "segmentation": [{"size": [6, 8], "counts": b"6<n0"}],
        "bbox": [BOX],
        "confidence": [0.5],
        "mask_quality": [None],
        "caption": ["a dog"],
    }
    got = imported(rows({"objects": objects}))
    assert (got.only.confidence, got.only.mask_quality, got.only.caption) == (0.5, None, "a dog")
    assert got.only.box_xyxy == (1, 0, 3, 6)


@pytest.mark.parametrize(
    "feature",
    [
        {"bbox": {}, "category": {"feature": {"names": ["cat", "dog"], "_type": "ClassLabel"}}},
        {"feature": {"category": {"names": ["cat", "dog"], "_type": "ClassLabel"}}},
        [{"category": {"names": ["cat", "dog"], "_type": "ClassLabel"}}],
    ],
    ids=["lists", "sequence", "list of objects"],
)
def test_category_names_are_read_from_the_features(rows: Any, imported: Any, feature: Any) -> None:
    objects = {"bbox": [BOX, BOX, BOX, BOX], "category": [1, 7, -1, None]}
    got = imported(rows({"objects": objects}, features={"objects": feature}))
    assert got.only.class_name == "dog"
    assert list(got.summary.counts.objects_per_class) == ["cat", "dog"]
    assert got.reasons == {"of a category that has no name; left out": 3}


def test_categories_without_names_are_named_by_their_numbers(rows: Any, imported: Any) -> None:
    got = imported(rows({"objects": {"bbox": [BOX, BOX], "category": [10, 9]}}))
    assert list(got.summary.counts.objects_per_class) == ["9", "10"]


def test_rows_without_objects_are_background(rows: Any, imported: Any) -> None:
    some = {"objects": {"bbox": [BOX], "category": ["dog"]}, "file_name": "c.png"}
    none = {"objects": {"bbox": [], "category": []}, "file_name": "b.png"}
    null = {"objects": None, "file_name": "sub/a.png"}
    got = imported(rows(null, none, some))
    counts = {name: len(objects) for name, objects in got.objects.items()}
    assert counts == {"train/b.png": 0, "train/c.png": 1, "train/sub/a.png": 0}


def test_lists_of_different_lengths_fail_the_image(rows: Any, imported: Any) -> None:
    good = {"objects": {"bbox": [BOX], "category": ["dog"]}, "file_name": "good.png"}
    bad = {"objects": {"bbox": [BOX], "category": ["dog", "cat"]}, "file_name": "bad.png"}
    got = imported(rows(bad, good))
    assert list(got.objects) == ["train/good.png"]
    assert "different lengths (bbox 1, category 2)" in got.failures["train/bad.png"]


def test_a_broken_object_is_listed_with_its_id(rows: Any, imported: Any) -> None:
    objects = {"bbox": [BOX, [1.0, 1.0, 0.0, 2.0]], "category": ["dog", "dog"], "id": [5, 6]}
    got = imported(rows({"objects": objects}))
    assert got.only
    (problem,) = got.summary.problems
    assert problem.examples[0].startswith("object 6 of train/a.png: ")


def test_crowds_are_imported_on_request_only(rows: Any, imported: Any) -> None:
    data = rows({"objects": {"bbox": [BOX], "category": ["dog"], "iscrowd": [1]}})
    assert imported(data).objects == {"train/a.png": ()}
    assert imported(data, crowds=True, name="with crowds").only


def test_the_declared_size_decides_the_orientation_of_boxes(
    rows: Any, imported: Any, write_image: Any, tmp_path: Path
) -> None:
    turned = write_image(tmp_path / "b.jpg", (6, 8), orientation=6).read_bytes()
    objects = {"bbox": [[0.0, 0.0, 2.0, 1.0]], "category": ["dog"]}
    image = {"bytes": turned, "path": "b.jpg"}
    stored = {"image": image, "objects": objects, "width": 8, "height": 6}
    upright = {"image": image, "objects": objects, "width": 6, "height": 8}
    got = imported(rows(stored, upright))
    boxes = [objects[0].box_xyxy for objects in got.objects.values()]
    assert boxes == [(0, 0, 2, 1), (5, 0, 6, 2)]


def test_images_are_copied_byte_for_byte_and_only_once(
    rows: Any, imported: Any, content: bytes
) -> None:
    data = rows({"objects": {"bbox": [BOX], "category": ["dog"]}})
    got = imported(data)
    (copy,) = (got.folder / "pictures").rglob("a.png")
    assert copy.read_bytes() == content
    before = copy.stat().st_mtime_ns
    imported(data)
    assert copy.stat().st_mtime_ns == before


def test_splits_are_read_from_the_shard_names(rows: Any, imported: Any) -> None:
    row = {"objects": {"bbox": [BOX], "category": ["dog"]}}
    for shard in ("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001"):
        data = rows(row, shard=f"data/{shard}.parquet")
    assert list(imported(data).objects) == ["test/a.png", "train/a.png", "val/a.png"]


@pytest.mark.parametrize("name", ["data/a-first.parquet", "data/train-00001.parquet"])
def test_an_unreadable_shard_is_one_failure(rows: Any, imported: Any, name: str) -> None:
    data = rows({"objects": {"bbox": [BOX], "category": ["dog"]}})
    (data / name).write_bytes(b"PAR1 not really PAR1")
    got = imported(data)
    assert got.only.class_name == "dog"
    assert list(got.failures) == [name]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, "needs a column 'objects'"),
        ({"objects": {"bbox": [BOX]}}, "needs a column 'objects'"),
        ({"objects": {"category": ["dog"]}}, r"\(objects: category\)"),
    ],
)
def test_rows_without_required_fields_are_refused(
    rows: Any, imported: Any, row: Any, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        imported(rows(row))


def test_rows_without_images_are_refused(imported: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"objects": [{"bbox": [BOX], "category": ["dog"]}], "number": [1]})
    pq.write_table(table, tmp_path / "data" / "a.parquet")
    with pytest.raises(DatasetError, match="no column with images"):
        imported(tmp_path / "data")


def test_a_folder_of_images_is_refused(rows: Any, imported: Any, tmp_path: Path) -> None:
    data = rows({"objects": {"bbox": [BOX], "category": ["dog"]}})
    with pytest.raises(DatasetError, match="leave out images"):
        imported(data, images=tmp_path)


@pytest.mark.consumers
@pytest.mark.parametrize("saved", ["parquet", "disk"])
def test_files_written_by_datasets_are_read(
    imported: Any, write_image: Any, tmp_path: Path, saved: str
) -> None:
    datasets = pytest.importorskip("datasets")
    path = write_image(tmp_path / "image.png")
    categories = datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "image_id": datasets.Value("int64"),
            "objects": {
                "bbox": datasets.Sequence(datasets.Sequence(datasets.Value("float32"), length=4)),
                "category": datasets.Sequence(categories),
                "segmentation": datasets.Sequence(
                    datasets.Sequence(datasets.Sequence(datasets.Value("float32")))
                ),
            },
        }
    )
    row = {
        "image": {"bytes": path.read_bytes(), "path": "image.png"},
        "image_id": 1,
        "objects": {"bbox": [BOX], "category": [1], "segmentation": [SQUARE]},
    }
    data = datasets.Dataset.from_list([row], features=features)
    if saved == "parquet":
        (tmp_path / "data").mkdir()
        data.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    else:
        data.save_to_disk(tmp_path / "data")
    label = imported(tmp_path / "data").only
    assert (label.class_name, label.mask.area) == ("dog", 6)
