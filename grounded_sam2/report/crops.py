"""Labels that are worth a look, cut out of their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grounded_sam2.report.images import Unreadable, data_url, shrink
from grounded_sam2.report.issues import KIND_NAMES
from grounded_sam2.report.messages import format_time, reason
from grounded_sam2.report.scan import Scan
from grounded_sam2.report.selection import SelectedLabel
from grounded_sam2.report.svg_paths import box_path, mask_path
from grounded_sam2.results import Image, Label, Labels

__all__ = ["LabelView", "crop_label", "required_side"]

_SIDE = 224
"""Pixels of a crop, which is shown at about half that size: screens have two pixels for one."""
_BYTES = 8_000
_CONTEXT = 0.35
"""Room on each side of a label, as a share of its own longer side: enough to see what it is a part
of."""
_LEAST = 24
"""Pixels of the smallest crop: of a label of a few pixels, the surroundings tell what it is."""

Region = tuple[int, int, int, int]
"""xyxy in whole pixels, half-open."""


@dataclass(frozen=True, slots=True)
class LabelView:
    """A label as a crop, with what is flagged about it."""

    shown: SelectedLabel
    item_id: str
    time: str
    """As of `grounded_sam2.report.views.ImageView`."""
    label: Label
    class_id: int
    embedded: bool
    """Whether the page holds the whole image."""
    view_hw: tuple[int, int]
    """Pixels as shown. Paths are in tenths of them."""
    url: str
    """A data URL; empty where the image cannot be shown."""
    path: str
    other_path: str
    """The objects that it overlaps, if that is a issue."""
    detected_path: str
    """The detector's box, if that is a issue."""
    reasons: tuple[tuple[str, str], ...]
    """IssueKind and words of each issue."""


def crop_label(
    shown: SelectedLabel,
    labels: Labels,
    image: Image | Unreadable,
    scan: Scan,
    *,
    embedded: bool,
) -> LabelView:
    """Cut a label out.

    Args:
        shown: which one, and why.
        labels: of its image.
        image: its image, which may have been shrunk.
        scan: the run.
        embedded: whether the page holds the whole image.
    """
    label = labels.objects[shown.position]
    left, top, right, bottom = region = _region(label, labels.size_hw)
    scale = _scale(region)
    kinds = [KIND_NAMES[kind] for kind in shown.issues["kind"]]
    words = [reason(issue, scan) for issue in shown.issues]
    others = {
        int(other)
        for kind, other in zip(kinds, shown.issues["other"], strict=True)
        if kind in ("overlap", "inside")
    }
    about_box = {"outside_box", "along_box"} & set(kinds)
    return LabelView(
        shown=shown,
        item_id=scan.item_ids[shown.image],
        time=format_time(scan.times[shown.image]),
        label=label,
        class_id=int(scan.object_row(shown.image, shown.position)["class_id"]),
        embedded=embedded,
        view_hw=(max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))),
        url="" if isinstance(image, Unreadable) else _crop(image, region, labels.size_hw),
        path=mask_path(label, scale, (left, top)),
        other_path="".join(
            mask_path(labels.objects[i], scale, (left, top)) for i in sorted(others)
        ),
        detected_path=box_path(label.detected_box_xyxy, scale, (left, top)) if about_box else "",
        reasons=tuple(zip(kinds, words, strict=True)),
    )


def required_side(label: Label, size_hw: tuple[int, int]) -> int:
    """Longer side that an image needs, in pixels, for the crop of a label to be sharp."""
    return int(np.ceil(max(size_hw) * _scale(_region(label, size_hw))))


def _crop(image: Image, region: Region, size_hw: tuple[int, int]) -> str:
    factor = max(image.shape[:2]) / max(size_hw)  # it may have come at half its size
    left, top, right, bottom = (round(edge * factor) for edge in region)
    crop = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    return data_url(shrink(np.ascontiguousarray(crop), _SIDE), _BYTES)


def _scale(region: Region) -> float:
    left, top, right, bottom = region
    return min(1.0, _SIDE / max(right - left, bottom - top))


def _region(label: Label, size_hw: tuple[int, int]) -> Region:
    """The square around an object, moved into the image as far as that goes."""
    height, width = size_hw
    box = label.box_xyxy if label.mask is None else label.mask.bbox_xyxy
    longer = max(box[2] - box[0], box[3] - box[1])
    side = max(longer * (1 + 2 * _CONTEXT), _LEAST)
    left, right = _interval((box[0] + box[2]) / 2, side, width)
    top, bottom = _interval((box[1] + box[3]) / 2, side, height)
    return left, top, right, bottom


def _interval(center: float, length: float, end: int) -> tuple[int, int]:
    low = min(max(center - length / 2, 0), max(end - length, 0))
    begin = min(int(low), end - 1)
    return begin, max(min(round(low + length), end), begin + 1)
