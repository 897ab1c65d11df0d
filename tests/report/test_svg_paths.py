"""SVG paths, filled again, reproduce the masks."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from grounded_sam2.report.svg_paths import UNITS, box_path, mask_path


def points_of(path: str) -> list[np.ndarray]:
    """The points of each ring of a path, in pixels."""
    parts = []
    for part in re.findall(r"M([^Mz]*)z", path):
        numbers = np.array([int(number) for number in re.findall(r"-?\d+", part)]).reshape(-1, 2)
        parts.append(np.cumsum(numbers, axis=0) / UNITS)
    return parts


def filled(path: str, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels whose centers lie in a path, by the even-odd rule."""
    # fillPoly uses the even-odd rule too; 16 × finer, to sample the centers of pixels.
    canvas = np.zeros((size_hw[0] * 16, size_hw[1] * 16), np.uint8)
    cv2.fillPoly(canvas, [np.rint(part * 16).astype(np.int32) for part in points_of(path)], 1)
    return canvas[8::16, 8::16].astype(bool)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("shape", ["disc", "ring", "two_parts"])
def test_the_path_reproduces_the_mask(labeled, clean, shape: str) -> None:
    mask = getattr(labeled, shape)()
    assert iou(filled(mask_path(clean(mask), 1.0), mask.shape), mask) > 0.93


def test_a_path_is_scaled_with_its_image(labeled, clean) -> None:
    mask = labeled.ring(size_hw=(120, 160), center=(60, 80), radii=(18, 36))
    half = filled(mask_path(clean(mask), 0.5), (60, 80))
    assert iou(half, labeled.ring()) > 0.93


def test_a_path_is_relative_to_the_origin_of_a_crop(labeled, clean) -> None:
    mask = labeled.disc()
    assert iou(filled(mask_path(clean(mask), 1.0, (20, 10)), (50, 60)), mask[10:, 20:]) > 0.93


def test_small_parts_are_left_out_unless_all_are_small(labeled, clean) -> None:
    speck = labeled.pixel(3, 3)
    assert len(points_of(mask_path(clean(labeled.disc() | speck), 1.0))) == 1
    assert filled(mask_path(clean(speck), 1.0), (60, 80)).tolist() == speck.tolist()


def test_an_object_without_a_mask_is_drawn_as_its_box(clean) -> None:
    label = clean(None, box_xyxy=(1.5, 2, 10, 20.25))
    assert mask_path(label, 2.0) == "M30 40l170 0 0 365-170 0z"
    assert mask_path(label, 2.0) == box_path((1.5, 2, 10, 20.25), 2.0)


def test_an_empty_mask_and_a_missing_box_give_empty_paths(clean) -> None:
    assert mask_path(clean(np.zeros((60, 80), bool)), 1.0) == ""
    assert box_path(None, 1.0) == ""
