"""Datasets written by the ``datasets`` library and by our exporter, read as image sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from grounded_sam2 import CaptionOntology, GroundedSAM2
from grounded_sam2.errors import SourceError
from grounded_sam2.sources.factory import open_image_source
from grounded_sam2.sources.image import load_image
from grounded_sam2.sources.refs import ImageSource
from grounded_sam2.testing import FakeDetector, FakeSegmenter

NAMELESS = {f"{number:06}.png": number for number in range(4)}


def pixels(number: int) -> Any:
    return np.full((4, 5, 3), number * 10, np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Paths of four images, two of which have the same name."""
    names = ["0.png", "1.png", "sub/2.png", "sub/0.png"]
    paths = [tmp_path / "photos" / name for name in names]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels(number)).save(path)
    return [str(path) for path in paths]


def opened(given: Path) -> ImageSource:
    return open_image_source(given, images_folder=given.with_name("copies"))


def grays(source: ImageSource) -> dict[str, int]:
    """Number that each image was made with, by id."""
    return {ref.item_id: int(load_image(ref.fetch()).mean()) // 10 for ref in source}


def test_exported_dataset_is_read_back_byte_for_byte(tmp_path: Path, images: list[str]) -> None:
    model = GroundedSAM2(
        CaptionOntology({"red": "thing"}), detector=FakeDetector(), segmenter=FakeSegmenter()
    )
    model.label(tmp_path / "photos", output_folder=tmp_path / "labeled", formats=("hf",))
    source = opened(tmp_path / "labeled" / "hf")
    assert grays(source) == {
        "train/0.png": 0,
        "train/1.png": 1,
        "train/sub/0.png": 3,
        "train/sub/2.png": 2,
    }
    for ref in source:
        original = tmp_path / "photos" / ref.item_id.removeprefix("train/")
        assert ref.fetch().read_bytes() == original.read_bytes()


@pytest.mark.consumers
class TestDatasets:
    @pytest.fixture
    def datasets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        datasets.disable_progress_bars()
        return datasets

    @pytest.fixture
    def dataset(self, datasets: Any, images: list[str]) -> Any:
        """A dataset of four images without names."""
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
        columns = {"image": [PIL.Image.open(path).copy() for path in images], "label": range(4)}
        return datasets.Dataset.from_dict(columns, features=features)

    def test_dataset_saved_to_disk_is_read(self, dataset: Any, tmp_path: Path) -> None:
        dataset.save_to_disk(tmp_path / "saved", num_shards=3)
        assert grays(opened(tmp_path / "saved")) == NAMELESS

    def test_saved_splits_are_read_without_their_caches(
        self, datasets: Any, dataset: Any, tmp_path: Path
    ) -> None:
        splits = datasets.DatasetDict({"train": dataset, "test": dataset.select([2])})
        splits.save_to_disk(tmp_path / "saved")
        loaded = datasets.load_from_disk(tmp_path / "saved")
        loaded["train"].map(lambda row: {"label": row["label"] + 1})  # leaves a cache beside it
        assert len(list((tmp_path / "saved" / "train").glob("*.arrow"))) == 2
        assert grays(opened(tmp_path / "saved")) == {
            "test/000000.png": 2,
            **{f"train/{name}": number for name, number in NAMELESS.items()},
        }

    def test_paths_in_place_of_bytes_are_read(
        self, datasets: Any, images: list[str], tmp_path: Path
    ) -> None:
        features = datasets.Features({"image": datasets.Image()})
        dataset = datasets.Dataset.from_dict({"image": images}, features=features)
        dataset.save_to_disk(tmp_path / "saved")
        expected = {"0.png": 0, "1.png": 1, "2.png": 2, "0-000003.png": 3}
        assert grays(opened(tmp_path / "saved")) == expected
        dataset.to_parquet(tmp_path / "rows" / "train.parquet")
        expected = {f"train/{name}": number for name, number in expected.items()}
        assert grays(opened(tmp_path / "rows")) == expected

    def test_parquet_file_is_read(self, dataset: Any, tmp_path: Path) -> None:
        dataset.to_parquet(tmp_path / "cats.parquet")
        expected = {f"cats/{name}": number for name, number in NAMELESS.items()}
        assert grays(opened(tmp_path / "cats.parquet")) == expected

    def test_array_columns_are_read_as_images(self, datasets: Any, tmp_path: Path) -> None:
        features = datasets.Features({"pixels": datasets.Array3D((4, 5, 3), "uint8")})
        columns = {"pixels": [pixels(number) for number in range(4)]}
        dataset = datasets.Dataset.from_dict(columns, features=features)
        dataset.save_to_disk(tmp_path / "saved")
        assert grays(opened(tmp_path / "saved")) == NAMELESS
        dataset.to_parquet(tmp_path / "rows" / "data.parquet")
        assert grays(opened(tmp_path / "rows")) == NAMELESS

    def test_imagefolder_is_read_as_a_folder(
        self, datasets: Any, images: list[str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "photos"
        (folder / "metadata.csv").write_text(
            "file_name,label\n0.png,a\n1.png,b\nsub/2.png,c\nsub/0.png,d\n", encoding="utf-8"
        )
        loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train")
        assert len(loaded) == 4
        assert grays(opened(folder)) == {"0.png": 0, "1.png": 1, "sub/0.png": 3, "sub/2.png": 2}
        assert list(grays(opened(folder / "metadata.csv"))) == [
            *("0.png", "1.png", "sub/2.png", "sub/0.png"),
        ]


def test_saved_dataset_with_a_damaged_state_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(
        SourceError, match="its state cannot be read: does not exist; save it again"
    ):
        opened(tmp_path / "saved")
