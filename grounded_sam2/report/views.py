"""Images and labels as the page shows them: embedded images, and crops of labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from grounded_sam2.report.images import ImageReader, Unreadable, data_url, prefetch_map, shrink
from grounded_sam2.report.issues import ISSUE_KINDS, KIND_NAMES, Issues
from grounded_sam2.report.messages import describe_issue, format_time
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.scan import Scan
from grounded_sam2.report.selection import SelectedLabel, Selection
from grounded_sam2.report.svg_paths import box_path, label_center, mask_path
from grounded_sam2.results import Image, Label, Labels
from grounded_sam2.store import Item, LabelStore

__all__ = ["ImageView", "LabelView", "ObjectView", "SelectedImage", "load_views"]

_IMAGE_SIDE = 720
"""Longer side of an embedded image in pixels: fits a laptop's window beside the object list."""
_IMAGE_BYTES = 45_000
"""Bytes of an embedded image before base 64: an ordinary photograph at medium quality."""
_CROP_SIDE = 224
"""Side of a crop in pixels, shown at about half that size for screens with two pixels per unit."""
_CROP_BYTES = 8_000
_CROP_MARGIN = 0.35
"""Margin of a crop on each side, as a fraction of the label's longer side: shows the context."""
_MIN_CROP_SIDE = 24
"""Smallest crop in pixels of the image: labels of a few pixels are recognized by their context."""

_Region = tuple[int, int, int, int]
"""xyxy in whole pixels, half-open."""


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One object of an embedded image."""

    label: Label
    class_id: int
    area_fraction: float
    """Area as a fraction of the image's."""
    path: str
    center_xy: tuple[int, int]
    """Position of the track number, in the units of paths."""
    detected_path: str
    """The detector's box; empty for an object without issues, or if the box is not known."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageView:
    """An embedded image."""

    number: int
    item_id: str
    time: str
    """Time of a frame since the start of its video; empty for a still image."""
    split: str
    size_hw: tuple[int, int]
    view_hw: tuple[int, int]
    """Size in pixels as embedded. Paths are in tenths of these pixels."""
    url: str
    """A data URL; empty if the image cannot be read."""
    missing: str
    """Why it cannot be read."""
    objects: tuple[ObjectView, ...]


@dataclass(frozen=True, slots=True)
class LabelView:
    """A label as a crop of its image, with its issues."""

    selected: SelectedLabel
    item_id: str
    time: str
    """As in `ImageView`."""
    label: Label
    class_id: int
    embedded: bool
    """Whether the page contains the whole image."""
    view_hw: tuple[int, int]
    """Size in pixels as shown. Paths are in tenths of these pixels."""
    url: str
    """A data URL; empty if the image cannot be read."""
    path: str
    other_path: str
    """The objects that it overlaps, if that is an issue."""
    detected_path: str
    """The detector's box, if that is an issue."""
    reasons: tuple[tuple[str, str], ...]
    """Kind and description of each issue."""


@dataclass(frozen=True, slots=True)
class SelectedImage:
    """What the page shows of one image: the image, crops of its labels, or both."""

    image: ImageView | None
    labels: tuple[LabelView, ...]


def load_views(
    store: LabelStore,
    run_id: int,
    scan: Scan,
    issues: Issues,
    selection: Selection,
    options: ReportOptions,
) -> Iterator[SelectedImage]:
    """Iterate over the labels of a run again, and load the selected images.

    Args:
        store: the label store.
        run_id: the run.
        scan: its measurements.
        issues: all issues of the run.
        selection: what to show.
        options: where the images are.

    Yields:
        In the order of the store, with a few images in memory at a time.
    """
    crops: dict[int, list[SelectedLabel]] = {}
    for label in selection.labels:
        crops.setdefault(label.image, []).append(label)
    issues_of: dict[int, list[np.void]] = {number: [] for number in selection.images}
    for issue in issues[issues["position"] >= 0]:
        if int(issue["image"]) in issues_of:
            issues_of[int(issue["image"])].append(issue)

    frames = scan.frames_of({*issues_of, *crops})
    reader = ImageReader(scan.videos, options.images_from, frames)

    def selected_items() -> Iterator[tuple[int, Item, Labels]]:
        for number, (item, labels) in enumerate(store.labels(run_id)):
            if number in issues_of or number in crops:
                yield number, item, labels

    def load(entry: tuple[int, Item, Labels]) -> SelectedImage:
        number, item, labels = entry
        selected = crops.get(number, [])
        sides = [_required_side(labels.objects[one.position], labels.size_hw) for one in selected]
        image = reader.read(item, max([_IMAGE_SIDE, *sides]))
        embedded = number in issues_of
        return SelectedImage(
            _image_view(number, labels, image, issues_of[number], scan) if embedded else None,
            tuple(_label_view(one, labels, image, scan, embedded=embedded) for one in selected),
        )

    with closing(reader):
        for _, view in prefetch_map(
            load,
            selected_items(),
            options.threads,
            sequential=lambda entry: entry[1].frame_index is not None,
        ):
            yield view


def _image_view(
    number: int,
    labels: Labels,
    image: Image | Unreadable,
    issues: Sequence[np.void],
    scan: Scan,
) -> ImageView:
    height, width = labels.size_hw
    scale = min(1.0, _IMAGE_SIDE / max(height, width))
    reasons: dict[int, list[str]] = {}
    for issue in issues:
        title = ISSUE_KINDS[KIND_NAMES[issue["kind"]]].title
        text = f"{title}: {describe_issue(issue, scan)}"
        reasons.setdefault(int(issue["position"]), []).append(text)
    objects = []
    for position, label in enumerate(labels.objects):
        row = scan.object_row(number, position)
        flagged = position in reasons
        objects.append(
            ObjectView(
                label=label,
                class_id=int(row["class_id"]),
                area_fraction=float(row["area_fraction"]),
                path=mask_path(label, scale),
                center_xy=label_center(label, scale),
                detected_path=box_path(label.detected_box_xyxy, scale) if flagged else "",
                reasons=tuple(reasons.get(position, ())),
            )
        )
    return ImageView(
        number=number,
        item_id=scan.item_ids[number],
        time=format_time(scan.times[number]),
        split=scan.splits[scan.split_ids[number]],
        size_hw=(height, width),
        view_hw=(max(1, round(height * scale)), max(1, round(width * scale))),
        url=_image_url(image),
        missing=image.reason if isinstance(image, Unreadable) else "",
        objects=tuple(objects),
    )


def _label_view(
    selected: SelectedLabel,
    labels: Labels,
    image: Image | Unreadable,
    scan: Scan,
    *,
    embedded: bool,
) -> LabelView:
    """Crop a label from its image, which may have been shrunk."""
    label = labels.objects[selected.position]
    left, top, right, bottom = region = _crop_region(label, labels.size_hw)
    scale = _crop_scale(region)
    kinds = [KIND_NAMES[kind] for kind in selected.issues["kind"]]
    texts = [describe_issue(issue, scan) for issue in selected.issues]
    others = {
        int(other)
        for kind, other in zip(kinds, selected.issues["other"], strict=True)
        if kind in ("overlap", "inside")
    }
    about_box = {"outside_box", "along_box"} & set(kinds)
    return LabelView(
        selected=selected,
        item_id=scan.item_ids[selected.image],
        time=format_time(scan.times[selected.image]),
        label=label,
        class_id=int(scan.object_row(selected.image, selected.position)["class_id"]),
        embedded=embedded,
        view_hw=(max(1, round((bottom - top) * scale)), max(1, round((right - left) * scale))),
        url=_crop_url(image, region, labels.size_hw),
        path=mask_path(label, scale, (left, top)),
        other_path="".join(
            mask_path(labels.objects[other], scale, (left, top)) for other in sorted(others)
        ),
        detected_path=box_path(label.detected_box_xyxy, scale, (left, top)) if about_box else "",
        reasons=tuple(zip(kinds, texts, strict=True)),
    )


def _required_side(label: Label, size_hw: tuple[int, int]) -> int:
    """Longer side that an image needs, in pixels, for a sharp crop of a label."""
    return int(np.ceil(max(size_hw) * _crop_scale(_crop_region(label, size_hw))))


def _image_url(image: Image | Unreadable) -> str:
    if isinstance(image, Unreadable):
        return ""
    return data_url(shrink(image, _IMAGE_SIDE), _IMAGE_BYTES)


def _crop_url(image: Image | Unreadable, region: _Region, size_hw: tuple[int, int]) -> str:
    if isinstance(image, Unreadable):
        return ""
    factor = max(image.shape[:2]) / max(size_hw)  # the image may have been decoded at half its size
    left, top, right, bottom = (round(edge * factor) for edge in region)
    crop = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    return data_url(shrink(np.ascontiguousarray(crop), _CROP_SIDE), _CROP_BYTES)


def _crop_scale(region: _Region) -> float:
    left, top, right, bottom = region
    return min(1.0, _CROP_SIDE / max(right - left, bottom - top))


def _crop_region(label: Label, size_hw: tuple[int, int]) -> _Region:
    """The square around an object, shifted into the image as far as possible."""
    height, width = size_hw
    box = label.box_xyxy if label.mask is None else label.mask.bbox_xyxy
    longer = max(box[2] - box[0], box[3] - box[1])
    side = max(longer * (1 + 2 * _CROP_MARGIN), _MIN_CROP_SIDE)
    left, right = _interval((box[0] + box[2]) / 2, side, width)
    top, bottom = _interval((box[1] + box[3]) / 2, side, height)
    return left, top, right, bottom


def _interval(center: float, length: float, end: int) -> tuple[int, int]:
    low = min(max(center - length / 2, 0), max(end - length, 0))
    begin = min(int(low), end - 1)
    return begin, max(min(round(low + length), end), begin + 1)
