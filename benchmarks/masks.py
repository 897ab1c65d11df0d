"""Masks to run lengths and to polygons, against pycocotools, supervision and OpenCV.

Dense masks have the layout of model outputs: all masks of an image in one row-major array. Run
lengths are those of a label store. Our functions convert all masks in one call; the peers convert
one mask per call, except for pycocotools' encoder, which gets the whole array as well. Both sides
must return the same bytes, and polygons that reproduce the mask when they are filled.

All sides trace with OpenCV. Ours traces only the part of the image that the mask covers, and
converts the contours through pixel centers to polygons along pixel edges, with holes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from synthetic import SIZE_HW, synthetic_labels
from timing import interleave, print_rows

from grounded_sam2.geometry.polygons import (
    masks_to_polygons,
    masks_to_single_rings,
    polygons_to_mask,
)
from grounded_sam2.geometry.rle import Rle, decode, encode

Masks = NDArray[np.bool_]
SIZES = {"640 × 480": SIZE_HW, "1920 × 1080": (1080, 1920)}


def pycocotools_encode(masks: Masks) -> list[bytes]:
    """Row-major masks are copied to column-major order first, the only layout it accepts."""
    columns = np.asfortranarray(masks.view(np.uint8).transpose(1, 2, 0))
    return [each["counts"] for each in coco_mask.encode(columns)]


def supervision_encode(masks: Masks) -> list[bytes]:
    return [str(sv.mask_to_rle(mask, compressed=True)).encode() for mask in masks]


def exact_polygons(masks: Masks) -> object:
    return masks_to_polygons(encode(masks), min_iou=1)


def supervision_polygons(masks: Masks) -> list[list[NDArray[np.int32]]]:
    return [sv.mask_to_polygons(mask) for mask in masks]


def supervision_polygons_from_rle(masks: list[Rle]) -> list[list[NDArray[np.int32]]]:
    return [
        sv.mask_to_polygons(sv.rle_to_mask(mask.counts.decode(), mask.size_hw[::-1]))
        for mask in masks
    ]


def opencv_polygons(masks: Masks) -> list[object]:
    return [
        cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        for mask in masks
    ]


def opencv_polygons_from_rle(masks: list[Rle]) -> list[object]:
    """Decode with pycocotools, trace with OpenCV."""
    return [
        cv2.findContours(
            coco_mask.decode({"size": mask.size_hw, "counts": mask.counts}),
            cv2.RETR_CCOMP,
            cv2.CHAIN_APPROX_SIMPLE,
        )
        for mask in masks
    ]


def assert_parity(masks: Masks, rles: list[Rle]) -> None:
    """Assert that all encoders return the same bytes, and that all polygons match the masks."""
    assert [each.counts for each in rles] == pycocotools_encode(masks) == supervision_encode(masks)
    exact = masks_to_polygons(rles, min_iou=1)
    for mask, polygons, theirs in zip(masks, exact, supervision_polygons(masks), strict=True):
        size_hw = (mask.shape[0], mask.shape[1])
        assert np.array_equal(polygons_to_mask(polygons, size_hw), mask)
        canvas = np.zeros(size_hw, np.uint8)
        # Their polygons pass through pixel centers, so that filling them also fills the holes.
        cv2.fillPoly(canvas, theirs, (1,))
        assert (canvas.astype(np.bool_) & mask).sum() / (canvas.astype(np.bool_) | mask).sum() > 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for title, size_hw in SIZES.items():
        objects = [o for each in synthetic_labels(10, 10, 0, size_hw) for o in each.objects]
        stored = [each.mask for each in objects if each.mask is not None]
        dense = decode(stored)
        assert_parity(dense, stored)
        for number in (1, 10, 100):
            masks, rles = dense[:number], stored[:number]
            by_columns = np.asfortranarray(masks.transpose(1, 2, 0))
            tasks: dict[str, dict[str, Callable[[], object]]] = {
                "dense to RLE": {
                    "ours": partial(encode, masks),
                    "pycocotools": partial(pycocotools_encode, masks),
                    "supervision": partial(supervision_encode, masks),
                },
                "columns to RLE": {
                    "ours": partial(encode, by_columns.transpose(2, 0, 1)),
                    "pycocotools": partial(coco_mask.encode, by_columns.view(np.uint8)),
                },
                "RLE to exact polygons": {
                    "ours": partial(masks_to_polygons, rles, min_iou=1),
                    "supervision": partial(supervision_polygons_from_rle, rles),
                    "OpenCV": partial(opencv_polygons_from_rle, rles),
                },
                "RLE to simplified polygons": {
                    "ours": partial(masks_to_polygons, rles),
                    "supervision": partial(supervision_polygons_from_rle, rles),
                    "OpenCV": partial(opencv_polygons_from_rle, rles),
                },
                "RLE to single rings": {"ours": partial(masks_to_single_rings, rles)},
                "dense to exact polygons": {
                    "ours": partial(exact_polygons, masks),
                    "supervision": partial(supervision_polygons, masks),
                    "OpenCV": partial(opencv_polygons, masks),
                },
            }
            for task, implementations in tasks.items():
                times = interleave(implementations, arguments.repeats)
                base = times["ours"].median
                ratios = [
                    f"{times[peer].median / base:.1f}×" if peer in times else ""
                    for peer in ("pycocotools", "supervision", "OpenCV")
                ]
                each = f"{base / number * 1e6:.0f} µs ±{times['ours'].spread:.0%}"
                rows.append([task, title, str(number), each, *ratios])
    rows.sort(key=lambda row: row[0])
    columns = ["", "image", "masks", "ours, each", "pycocotools", "supervision", "OpenCV"]
    print_rows("Masks, on one core", columns, rows)


if __name__ == "__main__":
    main()
