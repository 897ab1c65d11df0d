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

from grounded_sam2.geometry.crops import Crop, Crops
from grounded_sam2.geometry.polygons.outlines import Outlines, as_rows
from grounded_sam2.geometry.polygons.rasterization import fill_all
from grounded_sam2.geometry.polygons.ring_bridging import walk_around_all
from grounded_sam2.geometry.ragged import Spans
from grounded_sam2.geometry.rle import Rle

__all__ = ["Agreement", "by_area", "by_centers", "in_pycocotools", "in_ultralytics", "paint"]

Agreement: TypeAlias = Callable[[Outlines, NDArray[np.intp]], NDArray[np.float64]]


def by_area(
    areas: NDArray[np.float64], outlines: Outlines, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The smaller of the areas that outlines enclose and should enclose, over the larger."""
    enclosed, wanted = outlines.enclosed(), areas[which]
    ratio: NDArray[np.float64] = np.minimum(enclosed, wanted) / np.maximum(enclosed, wanted)
    return ratio


def by_centers(crops: Crops, outlines: Outlines, which: NDArray[np.intp]) -> NDArray[np.float64]:
    """IoU with the masks, by pixel centers."""
    return _iou(crops, *fill_all(outlines, crops.sizes_hw[which]), which)


def in_pycocotools(
    masks: Sequence[Rle], crops: Crops, outlines: Outlines, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with the masks, as pycocotools reads polygons that have their holes on bridges."""
    placed = outlines.moved(crops.origins_xy[which])
    walk, rings, _ = walk_around_all(placed.points, placed.rings, placed.parts)
    polygons = Spans(2 * rings.sizes).split(as_rows(placed.points[walk]).ravel())
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


def in_ultralytics(
    targets: Sequence[Crop], outlines: Outlines, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU of single rings with crops, as Ultralytics reads them."""
    painted = paint(outlines, [targets[index].shape for index in which.tolist()])
    agreement = np.zeros(which.size)
    for row, (index, ours) in enumerate(zip(which.tolist(), painted, strict=True)):
        common = np.count_nonzero(ours & targets[index])
        union = np.count_nonzero(ours) + np.count_nonzero(targets[index]) - common
        agreement[row] = common / union
    return agreement


def paint(outlines: Outlines, sizes_hw: Sequence[tuple[int, ...]]) -> list[Crop]:
    """What Ultralytics makes of single rings: ``(h, w)`` ``bool`` each, bridges included."""
    corners = as_rows(outlines.points).astype(np.int32)
    painted = []
    for size_hw, ring in zip(sizes_hw, outlines.rings.split(corners), strict=True):
        canvas = np.zeros(size_hw, np.uint8)
        cv2.fillPoly(canvas, [ring], (1,))
        painted.append(canvas.view(np.bool_))
    return painted


def _iou(
    crops: Crops, places: NDArray[np.int64], of_mask: Spans, which: NDArray[np.intp]
) -> NDArray[np.float64]:
    """IoU with masks of what changes between background and set pixels at these places.

    Args:
        crops: all masks.
        places: in column-major order of each crop, an even number for each mask, sorted.
        of_mask: where the places of each mask are.
        which: ``(len(of_mask),)`` the numbers of the masks.
    """
    rooms = Spans(crops.rooms.sizes[which])
    of_target = Spans(crops.of_mask.sizes[which])
    target = crops.changes[crops.of_mask.indices(which)]
    target += of_target.spread(rooms.starts - crops.rooms.starts[which])
    # Where either changes, their difference begins or ends.
    changes = np.sort(np.concatenate((places + of_mask.spread(rooms.starts), target)))
    of_both = Spans((of_mask.sizes + of_target.sizes) // 2)
    different = of_both.sums(changes[1::2] - changes[::2])
    filled = Spans(of_mask.sizes // 2).sums(places[1::2] - places[::2])
    common_twice = filled + crops.areas[which] - different
    iou: NDArray[np.float64] = common_twice / (common_twice + 2 * different)
    return iou
