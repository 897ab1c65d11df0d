"""Labels as `supervision.Detections`: what users draw, filter and count with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from grounded_sam2.geometry.rle import decode
from grounded_sam2.results import Labels

if TYPE_CHECKING:
    import supervision as sv

__all__ = ["to_supervision"]


def to_supervision(labels: Labels, classes: Sequence[str]) -> sv.Detections:
    """Convert the labels of one picture.

    Args:
        labels: the labels.
        classes: class names in the order of their ids; names that are not in it (words of the
            model's own) are numbered after them in the order in which they come.

    Returns:
        Detections with ``xyxy`` ``(n, 4)`` float32, ``mask`` ``(n, h, w)`` bool (all false for an
        object without a mask; ``None`` if no object has one), ``confidence`` ``(n,)`` float32
        (``None`` if the detector gives none), ``class_id`` ``(n,)`` int, ``tracker_id`` ``(n,)``
        int (``None`` where an object has none, as in pictures), and in ``data``
        ``class_name``, ``caption`` (text) and ``mask_quality`` (float32, ``nan`` for unknown).
    """
    import supervision as sv

    names = list(dict.fromkeys([*classes, *(label.class_name for label in labels.objects)]))
    objects = labels.objects
    masks = None
    if any(label.mask is not None for label in objects) or not objects:
        masks = np.zeros((len(objects), *labels.size_hw), np.bool_)
        for row, label in zip(masks, objects, strict=True):
            if label.mask is not None:
                row[:] = decode([label.mask])[0]
    confidence = None
    if all(label.confidence is not None for label in objects):
        confidence = np.array([label.confidence for label in objects], np.float32)
    track_ids = [label.track_id for label in objects if label.track_id is not None]
    quality = [np.nan if label.mask_quality is None else label.mask_quality for label in objects]
    return sv.Detections(
        xyxy=np.array([label.box_xyxy for label in objects], np.float32).reshape(-1, 4),
        mask=masks,
        confidence=confidence,
        class_id=np.array([names.index(label.class_name) for label in objects], int),
        tracker_id=np.array(track_ids, int) if len(track_ids) == len(objects) else None,
        data={
            "class_name": np.array([label.class_name for label in objects], dtype=str),
            "caption": np.array([label.caption for label in objects], dtype=str),
            "mask_quality": np.array(quality, np.float32),
        },
    )
