"""Ground truth of scenes in COCO's format, and average precision against it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from grounded_sam2.demo.scenes import Scene, SceneObject
from grounded_sam2.geometry.rle import encode

__all__ = ["AveragePrecision", "average_precision", "coco_ground_truth"]


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's averages over classes, in [0, 1]; -1 where the ground truth has no object."""

    ap: float
    """Mean over IoU thresholds 0.50, 0.55 … 0.95."""
    ap50: float
    ap75: float
    recall: float
    """At most 100 detections per image, mean over the same thresholds."""


def coco_ground_truth(
    scenes: Iterable[tuple[str, Scene]],
    classes: Sequence[str],
    class_of: Callable[[SceneObject], str | None],
) -> dict[str, Any]:
    """Describe scenes as a COCO dataset; all ids count from 1.

    Args:
        scenes: file name and scene, in order.
        classes: class names, in the order of their ids.
        class_of: the class of an object; ``None`` leaves it out.

    Returns:
        ``images``, ``annotations`` (masks as compressed RLE) and ``categories``, ready for JSON.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    category = {name: index for index, name in enumerate(classes, start=1)}
    for image_id, (file_name, scene) in enumerate(scenes, start=1):
        height, width = scene.image.shape[:2]
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        for found in scene.objects:
            name = class_of(found)
            if name is None:
                continue
            (mask,) = encode(found.mask)
            x1, y1, x2, y2 = found.box_xyxy
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category[name],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": mask.area,
                    "segmentation": mask.to_coco(),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index, "name": name} for name, index in category.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def average_precision(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kind: Literal["bbox", "segm"],
) -> AveragePrecision:
    """Average precision of detections, computed by pycocotools; all 0 for no detections.

    Args:
        truth: a COCO dataset, as `coco_ground_truth` returns it.
        results: COCO results: ``image_id``, ``category_id``, ``score``, and ``bbox`` or
            ``segmentation`` or both.
        kind: whether boxes or masks are compared.
    """
    if not results:
        return AveragePrecision(0.0, 0.0, 0.0, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by printing
        dataset = COCO()
        dataset.dataset = dict(truth)
        dataset.createIndex()
        # `loadRes` reads every result with a box as a box, whatever is compared.
        compared = [
            {key: value for key, value in row.items() if kind == "bbox" or key != "bbox"}
            for row in results
        ]
        evaluation = COCOeval(dataset, dataset.loadRes(compared), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [float(value) for value in evaluation.stats]
    return AveragePrecision(ap=stats[0], ap50=stats[1], ap75=stats[2], recall=stats[8])
