"""Every exported outline, rasterized by its reader, reaches the requested IoU with its mask.

Two thousand masks of every kind that segmenters predict, and some that they should not: with holes
and parts, thin, jagged, of single pixels, at the border.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from grounded_sam2.geometry.polygons import exact_polygons, polygons_to_mask

pytestmark = pytest.mark.slow

SIZE_HW = (64, 80)
IMAGES, OBJECTS = 40, 50


def smooth(rng: np.random.Generator) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.standard_normal(SIZE_HW), (0, 0), rng.uniform(1.5, 8))
    return noise > np.quantile(noise, rng.uniform(0.5, 0.97))


def ellipses(rng: np.random.Generator) -> np.ndarray:
    canvas = np.zeros(SIZE_HW, np.uint8)
    for color in (1, 1, 0):
        center, axes = rng.integers(0, (80, 64)).tolist(), rng.integers(2, (30, 25)).tolist()
        cv2.ellipse(canvas, center, axes, rng.uniform(0, 180), 0, 360, color, -1)
    return canvas > 0


def lines(rng: np.random.Generator) -> np.ndarray:
    canvas = np.zeros(SIZE_HW, np.uint8)
    for thickness in (1, 3):
        begin, end = rng.integers(0, (80, 64), (2, 2)).tolist()
        cv2.line(canvas, begin, end, 1, thickness)
    return canvas > 0


def jagged(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(SIZE_HW, np.bool_)
    mask[:24, :24] = rng.random((24, 24)) < rng.uniform(0.3, 0.95)
    return mask


def single_pixels(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(SIZE_HW, np.bool_)
    mask[rng.integers(0, 64, 3), rng.integers(0, 80, 3)] = True
    return mask


def masks(rng: np.random.Generator) -> Iterator[np.ndarray]:
    kinds = itertools.cycle((smooth, ellipses, lines, jagged, single_pixels))
    yield from filter(np.any, (kind(rng) for kind in kinds))


@pytest.fixture(scope="module")
def labeled(empty):
    found = masks(np.random.default_rng(0))
    for number in range(IMAGES):
        objects = [empty.label(mask) for mask in itertools.islice(found, OBJECTS)]
        empty.add(f"{number:02}.png", *objects, size_hw=SIZE_HW)
    return empty


@pytest.fixture(scope="module")
def connected(labeled) -> dict[str, list[bool]]:
    """Whether each mask is one component, which needs no bridge to other parts, by image."""
    return {
        name: [len(exact_polygons(label.mask)) == 1 for label in image.objects]
        for name, image in labeled.images.items()
    }


@pytest.mark.parametrize("bound", [0.98, 0.995])
def test_coco_polygons_reach_the_iou_in_pycocotools(labeled, bound):
    folder = labeled.export("coco", segmentation="polygons", min_polygon_iou=bound)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "annotations" / "instances_train.json"))
    expected = [label for image in labeled.images.values() for label in image.objects]
    assert len(coco.anns) == len(expected) == IMAGES * OBJECTS
    for each, label in zip(coco.anns.values(), expected, strict=True):
        assert labeled.iou(coco.annToMask(each) > 0, label.mask.decode()) >= bound


@pytest.mark.parametrize("bound", [0.98, 0.995])
def test_yolo_rows_reach_the_iou_by_pixel_centers_and_in_ultralytics(labeled, connected, bound):
    folder = labeled.export("yolo", min_polygon_iou=bound)
    height, width = SIZE_HW
    compared = 0
    for name, image in labeled.images.items():
        rows = (folder / "labels" / "train" / name).with_suffix(".txt").read_text().splitlines()
        for row, label, is_connected in zip(rows, image.objects, connected[name], strict=True):
            outline = np.array(row.split()[1:], np.float32).reshape(-1, 2) * (width, height)
            mask = label.mask.decode()
            assert labeled.iou(polygons_to_mask([outline], SIZE_HW), mask) >= bound
            if is_connected:  # OpenCV would draw a bridge as wide as a pixel
                painted = np.zeros(SIZE_HW, np.uint8)
                cv2.fillPoly(painted, [outline.astype(np.int32)], (1,))
                assert labeled.iou(painted > 0, mask) >= bound
                compared += 1
    assert compared > 400
