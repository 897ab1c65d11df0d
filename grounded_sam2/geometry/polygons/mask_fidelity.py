"""How well outlines say what masks say, which depends on who reads them.

By pixel centers, as geometry has it; in pycocotools, whose grid of a fifth of a pixel cuts slanted
lines short; in Ultralytics, which cuts coordinates down to whole pixels and paints what is under
the outline as well. The area that an outline itself encloses tells apart what no reader does: a
triangle can have the same pixel centers inside as a small square.

All functions judge many outlines at once, in the pixels of crops. ``which`` are the numbers of
their masks, and answers are ``(n,)`` from 0 to 1.
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


def area_ratio(
    areas: NDArray[np.float64], outlines: PolygonBatch, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The smaller of the areas that outlines enclose and should enclose, over the larger."""
    enclosed, wanted = outlines.areas(), areas[which]
    ratio: NDArray[np.float64] = np.minimum(enclosed, wanted) / np.maximum(enclosed, wanted)
    return ratio


def pixel_center_iou(
    crops: MaskCrops, outlines: PolygonBatch, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with the masks, by pixel centers."""
    return _iou(crops, *fill_transitions(outlines, crops.sizes_hw[which]), which)


def pycocotools_iou(
    masks: Sequence[Rle], crops: MaskCrops, outlines: PolygonBatch, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with the masks, as pycocotools reads polygons that have their holes on bridges."""
    placed = outlines.translate(crops.origins_xy[which])
    walk, rings, _ = bridged_traversal_batch(placed.points, placed.rings, placed.parts)
    polygons = RaggedOffsets(2 * rings.sizes).split(to_xy(placed.points[walk]).ravel())
    read, common = [], []
    for index, first, last in zip(
        which.tolist(), placed.masks.starts.tolist(), placed.masks.ends.tolist(), strict=True
    ):
        target = {"size": masks[index].size_hw, "counts": masks[index].counts}
        parts = coco_mask.frPyObjects(polygons[first:last], *masks[index].size_hw)
        read.append(coco_mask.merge(parts) if len(parts) > 1 else parts[0])
        common.append(coco_mask.merge([read[-1], target], intersect=True))
    area_common = _areas(common)
    return area_common / (_areas(read) + crops.areas[which] - area_common)


def _areas(encoded: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Areas of masks as pycocotools has them, which counts the masks of a call in eight bits."""
    calls = [encoded[first : first + 255] for first in range(0, len(encoded), 255)]
    return np.concatenate([np.zeros(0), *(coco_mask.area(call) for call in calls)])


def ultralytics_iou(
    targets: Sequence[Mask], outlines: PolygonBatch, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU of single rings with crops, as Ultralytics reads them."""
    painted = ultralytics_masks(outlines, [targets[index].shape for index in which.tolist()])
    agreement = np.zeros(which.size)
    for row, (index, ours) in enumerate(zip(which.tolist(), painted, strict=True)):
        common = np.count_nonzero(ours & targets[index])
        union = np.count_nonzero(ours) + np.count_nonzero(targets[index]) - common
        agreement[row] = common / union
    return agreement


def ultralytics_masks(outlines: PolygonBatch, sizes_hw: Sequence[tuple[int, ...]]) -> list[Mask]:
    """What Ultralytics makes of single rings: ``(h, w)`` ``bool`` each, bridges included."""
    corners = to_xy(outlines.points).astype(np.int32)
    painted = []
    for size_hw, ring in zip(sizes_hw, outlines.rings.split(corners), strict=True):
        canvas = np.zeros(size_hw, np.uint8)
        cv2.fillPoly(canvas, [ring], (1,))
        painted.append(canvas.view(np.bool_))
    return painted


def _iou(
    crops: MaskCrops, places: NDArray[np.int64], of_mask: RaggedOffsets, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with masks of what changes between background and set pixels at these places.

    Args:
        crops: all masks.
        places: in column-major order of each crop, an even number for each mask, sorted.
        of_mask: where the places of each mask are.
        which: ``(len(of_mask),)`` the numbers of the masks.
    """
    rooms = RaggedOffsets(crops.rooms.sizes[which])
    of_target = RaggedOffsets(crops.of_mask.sizes[which])
    target = crops.changes[crops.of_mask.indices(which)]
    target += of_target.repeat(rooms.starts - crops.rooms.starts[which])
    # Where either changes, their difference begins or ends.
    changes = np.sort(np.concatenate((places + of_mask.repeat(rooms.starts), target)))
    of_both = RaggedOffsets((of_mask.sizes + of_target.sizes) // 2)
    different = of_both.sum(changes[1::2] - changes[::2])
    filled = RaggedOffsets(of_mask.sizes // 2).sum(places[1::2] - places[::2])
    common_twice = filled + crops.areas[which] - different
    iou: NDArray[np.float64] = common_twice / (common_twice + 2 * different)
    return iou
