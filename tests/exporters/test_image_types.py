"""The type of an image file is detected from its bytes, not from its name."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from grounded_sam2.exporters import ExportOptions, export
from grounded_sam2.exporters.image_types import (
    BROWSER_TYPES,
    OPENCV_TYPES,
    PILLOW_TYPES,
    detect_image_type,
)
from grounded_sam2.results import Labels
from grounded_sam2.store import ItemOutcome

RGB = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "TIFF"])
def test_the_type_does_not_depend_on_the_suffix(tmp_path, kind):
    path = tmp_path / "a.txt"
    PIL.Image.fromarray(RGB).save(path, format=kind)
    assert detect_image_type(path) == kind


@pytest.mark.parametrize(
    ("dtype", "content"),
    [(np.uint8, "TIFF"), (np.uint16, "TIFF"), (np.int32, "deep TIFF"), (np.float32, "deep TIFF")],
)
def test_the_type_of_a_tiff_depends_on_its_samples(tmp_path, dtype, content):
    PIL.Image.fromarray(RGB[..., 0].astype(dtype)).save(tmp_path / "a.tif")
    assert detect_image_type(tmp_path / "a.tif") == content


def test_a_tiff_that_pillow_cannot_open_is_rare(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), RGB.astype(np.float32) / 255)
    assert detect_image_type(tmp_path / "a.tif") == "rare TIFF"


@pytest.mark.parametrize(
    ("begin", "content"),
    [
        (b"\0\0\0\x18ftypheic\0\0", "HEIF"),
        (b"\0\0\0\x18ftypisom\0\0", "other"),
        (b"P6 80 60 255 ", "other"),
        (b"II*\0", "rare TIFF"),
        (b"", "other"),
    ],
    ids=["a phone's", "a film", "a pixmap", "cut off", "empty"],
)
def test_types_that_are_no_common_image(tmp_path, begin, content):
    (tmp_path / "a").write_bytes(begin)
    assert detect_image_type(tmp_path / "a") == content


def test_pillow_decodes_all_types_that_opencv_does():
    assert OPENCV_TYPES < PILLOW_TYPES
    assert {"JPEG", "PNG"} <= OPENCV_TYPES & BROWSER_TYPES


@pytest.mark.parametrize("format_name", ["coco", "hf", "yolo"])
def test_a_type_that_pillow_cannot_open_is_reencoded(labeled, format_name):
    path = labeled.images / "a.tif"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), RGB[..., ::-1].astype(np.float32))
    labeled.write(ItemOutcome(labeled.item(path), Labels((60, 80))))
    folder = labeled.folder / format_name
    export(format_name, labeled.store, folder, ExportOptions())
    if format_name == "hf":
        [row] = pq.read_table(folder / "data").to_pylist()
        content = row["image"]["bytes"]
    else:
        content = (folder / "images" / "train" / "a.tif").read_bytes()
    with PIL.Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.asarray(image), RGB)


@pytest.mark.parametrize("format_name", ["coco", "yolo"])
def test_floats_are_reencoded_as_the_models_saw_them(labeled, format_name):
    path = labeled.images / "a.tif"
    path.parent.mkdir(parents=True)
    gray = np.linspace(0, 1, 60 * 80, dtype=np.float32).reshape(60, 80)
    PIL.Image.fromarray(gray).save(path)
    labeled.write(ItemOutcome(labeled.item(path), Labels((60, 80))))
    folder = labeled.folder / format_name
    export(format_name, labeled.store, folder, ExportOptions())
    read = cv2.imread(str(folder / "images" / "train" / "a.tif"))
    assert np.abs(read[..., 0] - gray * 255).max() <= 0.5
