"""Fidelity metrics: how well polygons represent masks, for the programs that read them.

`pixel_center_iou` is the geometric rule. pycocotools rasterizes on a grid of a fifth of a pixel and
cuts slanted lines short; Ultralytics truncates coordinates to whole pixels and also sets the pixels
under the outline. `area_ratio` compares enclosed areas and rejects what no rasterizer does: a
triangle can contain the same pixel centers as a small square.

All functions evaluate many masks at once, in pixel coordinates of their crops. ``masks`` are the
indices of the masks that the polygons belong to; the results are ``(n,)`` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from grounded_sam2.geometry.crops import Mask, MaskCrops
from grounded_sam2.geometry.polygons.polygon_batch import PolygonBatch, to_xy
from grounded_sam2.geometry.polygons.rasterization import fill_transitions
from grounded_sam2.geometry.polygons.ring_bridging import bridged_traversal_batch
from grounded_sam2.geometry.ragged import RaggedOffsets
from grounded_sam2.geometry.rle import Rle

__all__ = [
    "FidelityMetric",
    "area_ratio",
    "pixel_center_iou",
    "pycocotools_iou",
    "ultralytics_iou",
    "ultralytics_masks",
]

FidelityMetric: TypeAlias = Callable[[PolygonBatch, NDArray[np.intp]], NDArray[np.float64]]
"""Polygons of ``n`` masks and the indices of the masks to ``(n,)`` values in [0, 1]."""

_PYCOCOTOOLS_MAX_MASKS = 255
"""Masks per call of ``pycocotools.mask.area``, which counts them in eight bits."""


def area_ratio(
    areas: NDArray[np.float64], polygons: PolygonBatch, masks: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The enclosed or the expected area of each mask, whichever is smaller, over the larger.

    Args:
        areas: expected areas of all masks.
        polygons: of the given masks.
        masks: indices into `areas`.
    """
    enclosed, expected = polygons.areas(), areas[masks]
    ratio: NDArray[np.float64] = np.minimum(enclosed, expected) / np.maximum(enclosed, expected)
    return ratio


def pixel_center_iou(
    crops: MaskCrops, polygons: PolygonBatch, masks: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with the masks if a pixel is set when its center is inside."""
    return _transition_iou(crops, *fill_transitions(polygons, crops.sizes_hw[masks]), masks)


def pycocotools_iou(
    rles: Sequence[Rle], crops: MaskCrops, polygons: PolygonBatch, masks: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with the masks if pycocotools reads the polygons, with bridges to their holes.

    Args:
        rles: all masks.
        crops: of all masks.
        polygons: of the given masks.
        masks: indices into `rles` and `crops`.
    """
    placed = polygons.translate(crops.origins_xy[masks])
    order, points_per_polygon, _ = bridged_traversal_batch(
        placed.points, placed.points_per_ring, placed.rings_per_polygon
    )
    flat = to_xy(placed.points[order]).ravel()
    coordinates = RaggedOffsets(2 * points_per_polygon.sizes).split(flat)
    per_mask = placed.polygons_per_mask
    read, common = [], []
    for index, first, last in zip(
        masks.tolist(), per_mask.starts.tolist(), per_mask.ends.tolist(), strict=True
    ):
        target = {"size": rles[index].size_hw, "counts": rles[index].counts}
        parts = coco_mask.frPyObjects(coordinates[first:last], *rles[index].size_hw)
        read.append(coco_mask.merge(parts) if len(parts) > 1 else parts[0])
        common.append(coco_mask.merge([read[-1], target], intersect=True))
    area_common = _pycocotools_areas(common)
    return area_common / (_pycocotools_areas(read) + crops.areas[masks] - area_common)


def _pycocotools_areas(encoded: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Areas of any number of masks in the form of pycocotools: ``(n,)``."""
    calls = [
        encoded[first : first + _PYCOCOTOOLS_MAX_MASKS]
        for first in range(0, len(encoded), _PYCOCOTOOLS_MAX_MASKS)
    ]
    return np.concatenate([np.zeros(0), *(coco_mask.area(call) for call in calls)])


def ultralytics_iou(
    targets: Sequence[Mask], polygons: PolygonBatch, masks: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with target masks if Ultralytics reads the polygons, each a single ring.

    Args:
        targets: ``(h, w)`` ``bool`` target of every mask, within its bounding box.
        polygons: of the given masks, a single ring each.
        masks: indices into `targets`.
    """
    read = ultralytics_masks(polygons, [targets[index].shape for index in masks.tolist()])
    ious = np.zeros(masks.size)
    for row, (index, mask) in enumerate(zip(masks.tolist(), read, strict=True)):
        common = np.count_nonzero(mask & targets[index])
        union = np.count_nonzero(mask) + np.count_nonzero(targets[index]) - common
        ious[row] = common / union
    return ious


def ultralytics_masks(polygons: PolygonBatch, sizes_hw: Sequence[tuple[int, ...]]) -> list[Mask]:
    """Rasterize single rings as Ultralytics does: ``(h, w)`` ``bool`` each, bridges included."""
    points = to_xy(polygons.points).astype(np.int32)
    masks = []
    for size_hw, ring in zip(sizes_hw, polygons.points_per_ring.split(points), strict=True):
        canvas = np.zeros(size_hw, np.uint8)
        cv2.fillPoly(canvas, [ring], (1,))
        masks.append(canvas.view(np.bool_))
    return masks


def _transition_iou(
    crops: MaskCrops,
    transitions: NDArray[np.int64],
    offsets: RaggedOffsets,
    masks: NDArray[np.intp],
) -> NDArray[np.float64]:
    """IoU of masks with what changes between background and foreground at the given positions.

    Args:
        crops: all masks.
        transitions: sorted positions in column-major order of each crop, an even number per mask.
        offsets: of the transitions of each mask.
        masks: ``(len(offsets),)`` indices into `crops`.
    """
    pixel_offsets = RaggedOffsets(crops.pixel_offsets.sizes[masks])
    target_offsets = RaggedOffsets(crops.transition_offsets.sizes[masks])
    target = crops.transitions[crops.transition_offsets.indices(masks)]
    target += target_offsets.repeat(pixel_offsets.starts - crops.pixel_offsets.starts[masks])
    # The symmetric difference begins or ends wherever one of the two changes.
    ours = transitions + offsets.repeat(pixel_offsets.starts)
    changes = np.sort(np.concatenate((ours, target)))
    runs_of_difference = RaggedOffsets((offsets.sizes + target_offsets.sizes) // 2)
    difference = runs_of_difference.sum(changes[1::2] - changes[::2])
    area = RaggedOffsets(offsets.sizes // 2).sum(transitions[1::2] - transitions[::2])
    common_twice = area + crops.areas[masks] - difference
    iou: NDArray[np.float64] = common_twice / (common_twice + 2 * difference)
    return iou
