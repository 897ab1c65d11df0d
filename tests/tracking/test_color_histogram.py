"""Color histograms of masks."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.tracking import RED_BOX, SIZE_HW, make_clip, track_clip

from grounded_sam2.geometry import rle
from grounded_sam2.geometry.rle import rectangle
from grounded_sam2.tracking.color_histogram import ColorHistogram

WHOLE = rectangle((0, 0, 60, 40), SIZE_HW)
RED, BLUE = (200, 20, 20), (20, 20, 200)


def plain(*color: int) -> np.ndarray:
    return np.full((*SIZE_HW, 3), color, np.uint8)


def striped(*colors: tuple[int, int, int]) -> np.ndarray:
    image = plain(0, 0, 0)
    for number, color in enumerate(colors):
        image[:, number :: len(colors)] = color
    return image


def histogram(image: np.ndarray) -> ColorHistogram:
    return ColorHistogram.from_mask(image, WHOLE)


def test_similarity_is_1_for_one_color_and_0_for_two_different_ones() -> None:
    red, blue = histogram(plain(*RED)), histogram(plain(*BLUE))
    assert red.similarity(red) == pytest.approx(1)
    assert red.similarity(blue) == 0


def test_less_light_changes_less_than_another_color() -> None:
    before = histogram(plain(200, 60, 40))
    similarity = [
        before.similarity(histogram(plain(*color)))
        for color in [(180, 54, 36), (100, 30, 20), (60, 200, 40)]
    ]
    assert similarity == sorted(similarity, reverse=True)
    assert similarity[0] > 0.9
    assert similarity[1] > 0.5
    assert similarity[2] == 0


def test_black_and_white_differ_by_their_brightness() -> None:
    black, white = (histogram(plain(*3 * [level])) for level in (10, 250))
    assert black.similarity(white) < 0.1


def test_similarity_depends_on_the_shares_of_the_colors() -> None:
    half, more = histogram(striped(RED, BLUE)), histogram(striped(RED, RED, BLUE))
    red = histogram(plain(*RED))
    assert half.similarity(red) == pytest.approx(np.sqrt(0.5), abs=0.03)
    assert half.similarity(red) < more.similarity(red) < 1


def test_only_pixels_of_the_mask_are_counted() -> None:
    image = plain(*BLUE)
    image[7:20, 11:31] = RED
    image[9:12, 14:18] = BLUE
    dense = np.zeros((1, *SIZE_HW), np.bool_)
    dense[0, 7:20, 11:31] = True
    dense[0, 9:12, 14:18] = False
    [mask] = rle.encode(dense)
    assert ColorHistogram.from_mask(image, mask) == histogram(plain(*RED))


def test_a_mask_of_one_pixel_has_a_histogram() -> None:
    image = plain(*BLUE)
    image[39, 59] = RED
    corner = rectangle((59, 39, 60, 40), SIZE_HW)
    assert ColorHistogram.from_mask(image, corner) == histogram(plain(*RED))


def test_pixels_are_sampled_from_all_of_a_large_mask() -> None:
    image = np.zeros((400, 600, 3), np.uint8)
    image[:, :300], image[:, 300:] = RED, BLUE
    whole = ColorHistogram.from_mask(image, rectangle((0, 0, 600, 400), (400, 600)))
    assert whole.similarity(histogram(striped(RED, BLUE))) == pytest.approx(1, abs=0.01)


def test_a_blend_has_the_colors_of_both() -> None:
    red, blue = histogram(plain(*RED)), histogram(plain(*BLUE))
    assert red.blend(blue, 0.5).similarity(histogram(striped(RED, BLUE))) == pytest.approx(
        1, abs=0.01
    )
    assert red.blend(blue, 0) == red
    assert red.blend(blue, 1) == blue


def test_without_a_similarity_threshold_no_propagated_mask_is_counted(monkeypatch) -> None:
    counted: list[int] = []
    from_mask = ColorHistogram.from_mask.__func__
    monkeypatch.setattr(
        ColorHistogram,
        "from_mask",
        classmethod(lambda cls, *given: counted.append(1) or from_mask(cls, *given)),
    )
    clip = make_clip(9, lambda _: [("red", *RED_BOX), ("yellow", 15, 5, 25, 15)])
    track_clip(clip, min_similarity=0)
    assert len(counted) == 2, "the two detections of the first frame"
    track_clip(clip)
    assert len(counted) == 6 + 2 * 8, "and the tracked masks"
