"""The second look: images as the page shows them, of those that were chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from grounded_sam2.report.crops import LabelView, cut_out, needed_side
from grounded_sam2.report.images import ImageReader, Unreadable, ahead, data_url, shrink
from grounded_sam2.report.issues import KIND_NAMES, KINDS, Doubts
from grounded_sam2.report.messages import clock, reason
from grounded_sam2.report.options import ReportOptions
from grounded_sam2.report.scan import Survey
from grounded_sam2.report.selection import Selection, ShownLabel
from grounded_sam2.report.shapes import box_path, center_of, path_of
from grounded_sam2.results import Image, Label, Labels
from grounded_sam2.store import Item, LabelStore

__all__ = ["ImageView", "ObjectView", "ShownImage", "look_again"]

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
    """The detector's box; empty where nothing is doubtful, or it is not known."""
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


def look_again(
    store: LabelStore,
    run_id: int,
    survey: Survey,
    doubts: Doubts,
    selection: Selection,
    options: ReportOptions,
) -> Iterator[ShownImage]:
    """Go through the labels of a run a second time, and open the images that were chosen.

    Args:
        store: the labels.
        run_id: the run.
        survey: what was seen the first time.
        doubts: all of them.
        selection: what to show.
        options: where the images are.

    Yields:
        In the order of the store, a few images in memory at a time.
    """
    crops: dict[int, list[ShownLabel]] = {}
    for shown in selection.labels:
        crops.setdefault(shown.image, []).append(shown)
    about: dict[int, list[np.void]] = {number: [] for number in selection.images}
    for doubt in doubts[doubts["position"] >= 0]:
        if int(doubt["image"]) in about:
            about[int(doubt["image"])].append(doubt)

    only = survey.frames_of({*about, *crops})
    reader = ImageReader(survey.videos, options.images_from, only)

    def chosen() -> Iterator[tuple[int, Item, Labels]]:
        for number, (item, labels) in enumerate(store.labels(run_id)):
            if number in about or number in crops:
                yield number, item, labels

    def open_one(given: tuple[int, Item, Labels]) -> ShownImage:
        number, item, labels = given
        cut = crops.get(number, [])
        sides = [needed_side(labels.objects[shown.position], labels.size_hw) for shown in cut]
        image = reader.read(item, max([_SIDE, *sides]))
        embedded = number in about
        return ShownImage(
            _view(number, labels, image, about[number], survey) if embedded else None,
            tuple(cut_out(shown, labels, image, survey, embedded=embedded) for shown in cut),
        )

    with closing(reader):
        for _, view in ahead(
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
    doubts: Sequence[np.void],
    survey: Survey,
) -> ImageView:
    height, width = labels.size_hw
    scale = min(1.0, _SIDE / max(height, width))
    reasons: dict[int, list[str]] = {}
    for doubt in doubts:
        title = KINDS[KIND_NAMES[doubt["kind"]]].title
        reasons.setdefault(int(doubt["position"]), []).append(f"{title}: {reason(doubt, survey)}")
    objects = []
    for position, label in enumerate(labels.objects):
        measured = survey.measured(number, position)
        doubtful = position in reasons
        objects.append(
            ObjectView(
                label=label,
                class_id=int(measured["class_id"]),
                share=float(measured["share"]),
                path=path_of(label, scale),
                center_xy=center_of(label, scale),
                detected_path=box_path(label.detected_box_xyxy, scale) if doubtful else "",
                reasons=tuple(reasons.get(position, ())),
            )
        )
    return ImageView(
        number=number,
        item_id=survey.item_ids[number],
        time=clock(survey.times[number]),
        split=survey.splits[survey.split_ids[number]],
        size_hw=(height, width),
        view_hw=(max(1, round(height * scale)), max(1, round(width * scale))),
        url="" if isinstance(image, Unreadable) else data_url(shrink(image, _SIDE), _BYTES),
        missing=image.reason if isinstance(image, Unreadable) else "",
        objects=tuple(objects),
    )
