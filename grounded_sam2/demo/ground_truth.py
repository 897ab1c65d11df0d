"""The truth about scenes as COCO JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from grounded_sam2.demo.scenes import Scene, SceneObject
from grounded_sam2.geometry.rle import encode

__all__ = ["ground_truth"]


def ground_truth(
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
        ``images``, ``annotations`` (masks as compressed RLE) and ``categories``, fit for JSON.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    category = {name: index for index, name in enumerate(classes, start=1)}
    for image_id, (file_name, scene) in enumerate(scenes, start=1):
        height, width = scene.image.shape[:2]
        images.append({"id": image_id, "file_name": file_name, "width": width, "height": height})
        for thing in scene.objects:
            name = class_of(thing)
            if name is None:
                continue
            (mask,) = encode(thing.mask)
            x1, y1, x2, y2 = thing.box_xyxy
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
