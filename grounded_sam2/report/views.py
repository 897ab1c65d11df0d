"""The second look: images as the page shows them, of those that were chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from grounded_sam2.report.crops import LabelView, crop_label, required_side
from grounded_sam2.report.images import ImageReader, Unreadable, data_url, prefetch_map, shrink
from grounded_sam2.report.issues import ISSUE_KINDS, KIND_NAMES, Issues
from grounded_sam2.report.messages import format_time, reason
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.scan import Scan
from grounded_sam2.report.selection import SelectedLabel, Selection
from grounded_sam2.report.svg_paths import box_path, label_center, mask_path
from grounded_sam2.results import Image, Label, Labels
from grounded_sam2.store import Item, LabelStore

__all__ = ["ImageView", "ObjectView", "ShownImage", "load_views"]

_SIDE = 720
"""Pixels of an enlarged image: what a laptop's window has room for beside the list of objects."""
_BYTES = 45_000
"""Of an image in the page, before base 64: an ordinary photograph at medium quality."""


@dataclass(frozen=True, slots=True)
class ObjectView:
    """One object of an embedded image."""

    label: Label
    class_id: int
    share: float
    """Of the image's area."""
    path: str
    center_xy: tuple[int, int]
    """In the units of paths: where its track is written."""
    detected_path: str
    """The detector's box; empty where nothing is flagged, or it is not known."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageView:
    """An embedded image."""

    number: int
    item_id: str
    time: str
    """Of a frame, from the beginning of its video; empty for an image of its own."""
    split: str
    size_hw: tuple[int, int]
    view_hw: tuple[int, int]
    """Pixels as embedded. Paths are in tenths of them."""
    url: str
    """A data URL; empty where the image cannot be shown."""
    missing: str
    """Why it cannot be."""
    objects: tuple[ObjectView, ...]


@dataclass(frozen=True, slots=True)
class ShownImage:
    """What the page shows of one image: itself, labels cut out of it, or both."""

    image: ImageView | None
    labels: tuple[LabelView, ...]


def load_views(
    store: LabelStore,
    run_id: int,
    scan: Scan,
    issues: Issues,
    selection: Selection,
    options: ReportOptions,
) -> Iterator[ShownImage]:
    """Go through the labels of a run a second time, and open the images that were chosen.

    Args:
        store: the labels.
        run_id: the run.
        scan: what was seen the first time.
        issues: all of them.
        selection: what to show.
        options: where the images are.

    Yields:
        In the order of the store, a few images in memory at a time.
    """
    crops: dict[int, list[SelectedLabel]] = {}
    for shown in selection.labels:
        crops.setdefault(shown.image, []).append(shown)
    about: dict[int, list[np.void]] = {number: [] for number in selection.images}
    for issue in issues[issues["position"] >= 0]:
        if int(issue["image"]) in about:
            about[int(issue["image"])].append(issue)

    only = scan.frames_of({*about, *crops})
    reader = ImageReader(scan.videos, options.images_from, only)

    def chosen() -> Iterator[tuple[int, Item, Labels]]:
        for number, (item, labels) in enumerate(store.labels(run_id)):
            if number in about or number in crops:
                yield number, item, labels

    def open_one(given: tuple[int, Item, Labels]) -> ShownImage:
        number, item, labels = given
        cut = crops.get(number, [])
        sides = [required_side(labels.objects[shown.position], labels.size_hw) for shown in cut]
        image = reader.read(item, max([_SIDE, *sides]))
        embedded = number in about
        return ShownImage(
            _view(number, labels, image, about[number], scan) if embedded else None,
            tuple(crop_label(shown, labels, image, scan, embedded=embedded) for shown in cut),
        )

    with closing(reader):
        for _, view in prefetch_map(
            open_one,
            chosen(),
            options.threads,
            in_turn=lambda given: given[1].frame_index is not None,
        ):
            yield view


def _view(
    number: int,
    labels: Labels,
    image: Image | Unreadable,
    issues: Sequence[np.void],
    scan: Scan,
) -> ImageView:
    height, width = labels.size_hw
    scale = min(1.0, _SIDE / max(height, width))
    reasons: dict[int, list[str]] = {}
    for issue in issues:
        title = ISSUE_KINDS[KIND_NAMES[issue["kind"]]].title
        reasons.setdefault(int(issue["position"]), []).append(f"{title}: {reason(issue, scan)}")
    objects = []
    for position, label in enumerate(labels.objects):
        measured = scan.object_row(number, position)
        flagged = position in reasons
        objects.append(
            ObjectView(
                label=label,
                class_id=int(measured["class_id"]),
                share=float(measured["share"]),
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
        url="" if isinstance(image, Unreadable) else data_url(shrink(image, _SIDE), _BYTES),
        missing=image.reason if isinstance(image, Unreadable) else "",
        objects=tuple(objects),
    )
