"""Near-duplicates are found after all kinds of changes; different images are not."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pytest

from grounded_sam2.demo.scenes import make_scene
from grounded_sam2.report.duplicates import find_duplicates, image_signature
from grounded_sam2.report.options import Thresholds

THRESHOLDS = Thresholds()


def scenes(count: int, seed: int = 0) -> list[PIL.Image.Image]:
    return [PIL.Image.fromarray(make_scene(seed + i, (96, 128)).image) for i in range(count)]


def found(images: list[PIL.Image.Image]):
    """``(image, leader)`` pairs."""
    rows = find_duplicates(
        [image_signature(np.asarray(image.convert("RGB"))) for image in images],
        list(range(len(images))),
        max_bits=THRESHOLDS.duplicate_bits,
        max_difference=THRESHOLDS.duplicate_difference,
    )
    return [(row["image"], row["leader"]) for row in rows]


def compressed(image: PIL.Image.Image) -> PIL.Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=30)
    return PIL.Image.open(io.BytesIO(data.getvalue()))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        compressed,
        lambda image: image.resize((64, 48)),
        lambda image: image.resize((300, 111)),
        lambda image: PIL.ImageEnhance.Brightness(image).enhance(0.8),
        lambda image: PIL.ImageEnhance.Contrast(image).enhance(0.8),
    ],
    ids=["the same", "compressed", "half the size", "another shape", "darker", "duller"],
)
def test_a_changed_copy_is_found(change: Callable[[PIL.Image.Image], PIL.Image.Image]) -> None:
    originals = scenes(20)
    copies = [change(image) for image in originals]
    assert found([*originals, *copies]) == [(20 + i, i) for i in range(20)]


@pytest.mark.slow
def test_different_scenes_are_not_near_duplicates() -> None:
    assert found(scenes(150)) == []


def test_an_image_in_other_colors_is_not_a_near_duplicate() -> None:
    image = np.asarray(scenes(1)[0])
    assert found([PIL.Image.fromarray(image), PIL.Image.fromarray(image[..., ::-1])]) == []


def test_images_of_one_color_are_near_duplicates_whatever_the_color() -> None:
    blank = [PIL.Image.new("RGB", (40, 30), gray) for gray in ("black", "white")]
    assert found([*blank, *scenes(3)]) == [(1, 0)]


def test_the_first_image_of_a_group_is_its_leader() -> None:
    other, image = scenes(2)
    assert found([other, image, image, compressed(image)]) == [(2, 1), (3, 1)]


def test_a_gradual_transition_is_split_into_groups() -> None:
    first, second = (np.asarray(image, float) for image in scenes(2))
    frames = [
        PIL.Image.fromarray((first + (second - first) * share).astype(np.uint8))
        for share in np.linspace(0, 1, 40)
    ]
    leaders = {leader for _, leader in found(frames)}
    assert len(leaders) > 1
    assert 0 in leaders


def test_rows_have_the_given_image_numbers() -> None:
    signatures = [image_signature(np.asarray(image)) for image in scenes(1) * 2]
    rows = find_duplicates(signatures, [4, 9], max_bits=6, max_difference=0.25)
    assert rows.tolist() == [(9, 4, 0)]


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 500), (500, 1), (7, 9)])
def test_images_may_be_smaller_than_their_signature(size_hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    assert image_signature(image).colors.shape == (8, 8, 3)
    assert found([PIL.Image.fromarray(image)] * 2) == [(1, 0)]


def test_no_images_have_no_near_duplicates() -> None:
    assert found([]) == []
