"""Detection of image columns by type, and the image bytes of cells."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from grounded_sam2.errors import ImageError, SourceError
from grounded_sam2.sources.image_column import ImageColumn, find_column, image_bytes

PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
GRAY = pa.list_(pa.list_(pa.uint8()))
COLOR = pa.list_(GRAY)


def features(**types: str) -> dict[str, str]:
    info = {"features": {name: {"_type": kind} for name, kind in types.items()}}
    return {"huggingface": json.dumps({"info": info})}


class TestFindColumn:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"id": pa.int64(), "image": PICTURE}, ImageColumn("image", "image", "image.path")),
            (
                {"image": PICTURE, "file_name": pa.string()},
                ImageColumn("image", "image", "file_name"),
            ),
            ({"jpg": pa.binary(), "label": pa.string()}, ImageColumn("jpg", "bytes", None)),
            ({"jpg": pa.large_binary()}, ImageColumn("jpg", "bytes", None)),
            (
                {"pixels": GRAY, "row": pa.list_(pa.uint8())},
                ImageColumn("pixels", "samples", None),
            ),
            (
                {"pixels": pa.list_(pa.list_(pa.list_(pa.uint8(), 3)))},
                ImageColumn("pixels", "samples", None),
            ),
            (
                {"image": PICTURE, "jpg": pa.binary()},
                ImageColumn("image", "image", "image.path"),
            ),
            ({"path": pa.string(), "boxes": pa.list_(pa.list_(pa.float32()))}, None),
            ({}, None),
        ],
    )
    def test_column_is_found_by_its_type(
        self, fields: dict[str, Any], expected: ImageColumn | None
    ) -> None:
        assert find_column(pa.schema(fields)) == expected

    def test_recorded_features_separate_images_from_audio(self) -> None:
        schema = pa.schema(
            {"sound": PICTURE, "photo": PICTURE}, metadata=features(sound="Audio", photo="Image")
        )
        assert find_column(schema) == ImageColumn("photo", "image", "photo.path")

    def test_recorded_features_separate_arrays_from_lists(self) -> None:
        fields = {"cells": COLOR, "pixels": COLOR}
        schema = pa.schema(fields, metadata=features(cells="List", pixels="Array3D"))
        assert find_column(schema) == ImageColumn("pixels", "samples", None)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"info": null}'])
    def test_invalid_features_are_ignored(self, text: str) -> None:
        schema = pa.schema({"image": PICTURE}, metadata={"huggingface": text})
        assert find_column(schema) is not None

    def test_several_image_columns_are_an_error(self) -> None:
        schema = pa.schema({"left": PICTURE, "right": PICTURE})
        with pytest.raises(SourceError, match=r"left and right hold images; say which \(column\)"):
            find_column(schema)
        assert find_column(schema, "right") == ImageColumn("right", "image", "right.path")

    def test_requested_column_may_have_any_supported_type(self) -> None:
        schema = pa.schema({"image": PICTURE, "url": pa.string(), "n": pa.int64()})
        assert find_column(schema, "url") == ImageColumn("url", "text", None)
        for wanted in ("n", "none"):
            with pytest.raises(SourceError, match=f"'{wanted}' holds no images; the columns are "):
                find_column(schema, wanted)


class TestBytes:
    def test_bytes_are_returned_unchanged(self) -> None:
        cell = pa.scalar({"bytes": b"file", "path": "a.jpg"}, PICTURE)
        assert image_bytes(cell, "image", folder=None) == b"file"
        assert image_bytes(pa.scalar(b"file"), "bytes", folder=None) == b"file"

    def test_path_is_read_relative_to_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"file")
        cell = pa.scalar({"bytes": None, "path": "a.jpg"}, PICTURE)
        assert image_bytes(cell, "image", folder=tmp_path) == b"file"
        with pytest.raises(ImageError, match=r"only a path, 'a\.jpg', on another machine"):
            image_bytes(cell, "image", folder=None)

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            (pa.scalar(None, PICTURE), "image"),
            (pa.scalar({"bytes": None, "path": None}, PICTURE), "image"),
            (pa.scalar(None, pa.binary()), "bytes"),
            (pa.scalar(None, GRAY), "samples"),
        ],
    )
    def test_nothing(self, value: Any, kind: Any) -> None:
        with pytest.raises(ImageError, match="the row holds no image"):
            image_bytes(value, kind, folder=None)


class TestSamples:
    @pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (3, 5, 4), (3, 5, 1), (1, 1), (1, 1, 3)])
    def test_samples_become_a_lossless_png(self, shape: tuple[int, ...]) -> None:
        samples = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        cell = pa.scalar(samples.tolist(), GRAY if len(shape) == 2 else COLOR)
        data = image_bytes(cell, "samples", folder=None)
        assert data == image_bytes(cell, "samples", folder=None)
        with PIL.Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(image, samples.reshape(shape[: 2 + (shape[-1] > 1)]))

    @pytest.mark.parametrize(
        "samples",
        [[[1, 2], [3]], [[]], [], [[[1, 2]], [[1, 2]]], [[1, None]], [[[1, 2, 3]], [[1]]]],
    )
    def test_samples_that_form_no_image_are_errors(self, samples: Any) -> None:
        depth = 3 if str(samples).startswith("[[[") else 2
        with pytest.raises(ImageError, match="samples of the row form no image"):
            image_bytes(pa.scalar(samples, COLOR if depth == 3 else GRAY), "samples", folder=None)
