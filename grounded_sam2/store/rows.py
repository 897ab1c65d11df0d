"""Conversion between rows of the label store and the values of the package.

Numbers are rounded when they are written: boxes to hundredths of a pixel, confidence and mask
quality to four decimals. Further digits are noise of the arithmetic, and would make equal runs
differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Candidate, Label
from grounded_sam2.store.records import Item

__all__ = [
    "CANDIDATE_COLUMNS",
    "FILE_COLUMNS",
    "ITEM_COLUMNS",
    "LABEL_COLUMNS",
    "candidate_from_row",
    "candidate_to_row",
    "item_from_row",
    "label_from_row",
    "label_to_row",
    "path_from_row",
    "path_to_row",
    "relative_path",
    "utf8_safe",
]

FILE_COLUMNS = (
    "item_id",
    "path",
    "content_hash",
    "height",
    "width",
    "exif_orientation",
    "group_id",
    "file_stamp",
    "frame_index",
    "frame_time",
)
"""Of an item: what it is, without what people decided about it."""
ITEM_COLUMNS = (*FILE_COLUMNS, "is_reviewed", "is_confirmed", "flag")
LABEL_COLUMNS = (
    "class_name",
    "caption",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    "rle_counts",
    "confidence",
    "mask_quality",
    "track_id",
    "origin",
    "detected_x_min",
    "detected_y_min",
    "detected_x_max",
    "detected_y_max",
    "track_origin",
    "review",
    "uid",
)
CANDIDATE_COLUMNS = (
    "caption",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    "rle_counts",
    "confidence",
    "mask_quality",
    "uid",
)


def item_from_row(row: Sequence[Any], root: Path) -> Item:
    """Item of a row of `ITEM_COLUMNS`; `root` is the resolved folder of the store."""
    item_id, path, content_hash, height, width, orientation, group, stamp, index, *rest = row
    time, is_reviewed, is_confirmed, flag = rest
    return Item(
        item_id=item_id,
        path=path_from_row(path, root),
        content_hash=content_hash,
        size_hw=None if height is None else (height, width),
        exif_orientation=orientation,
        group=group,
        file_stamp=stamp,
        frame_index=index,
        time=time,
        is_reviewed=bool(is_reviewed),
        is_confirmed=bool(is_confirmed),
        flag=flag,
    )


def label_from_row(row: Sequence[Any], size_hw: tuple[int, int]) -> Label:
    """Label of a row of `LABEL_COLUMNS`, on an image of this size."""
    class_name, caption, x_min, y_min, x_max, y_max, counts, *rest = row
    confidence, mask_quality, track_id, origin, *detected, track_origin, review, uid = rest
    return Label(
        class_name=class_name,
        caption=caption,
        box_xyxy=(x_min, y_min, x_max, y_max),
        mask=None if counts is None else Rle(size_hw, counts),
        confidence=confidence,
        mask_quality=mask_quality,
        track_id=track_id,
        origin=origin,
        detected_box_xyxy=None if detected[0] is None else tuple(detected),
        track_origin=track_origin,
        review=review,
        uid=uid,
    )


def label_to_row(label: Label) -> tuple[Any, ...]:
    """Row of `LABEL_COLUMNS` of a label, its numbers rounded."""
    detected = label.detected_box_xyxy
    return (
        label.class_name,
        label.caption,
        *_rounded_box(label.box_xyxy),
        None if label.mask is None else label.mask.counts,
        _rounded_score(label.confidence),
        _rounded_score(label.mask_quality),
        label.track_id,
        label.origin,
        *((None,) * 4 if detected is None else _rounded_box(detected)),
        label.track_origin,
        label.review,
        label.uid,
    )


def candidate_from_row(row: Sequence[Any], size_hw: tuple[int, int]) -> Candidate:
    """Candidate of a row of `CANDIDATE_COLUMNS`, on an image of this size."""
    caption, x_min, y_min, x_max, y_max, counts, confidence, mask_quality, uid = row
    return Candidate(
        caption=caption,
        box_xyxy=(x_min, y_min, x_max, y_max),
        mask=None if counts is None else Rle(size_hw, counts),
        confidence=confidence,
        mask_quality=mask_quality,
        uid=uid,
    )


def candidate_to_row(candidate: Candidate) -> tuple[Any, ...]:
    """Row of `CANDIDATE_COLUMNS` of a candidate, its numbers rounded."""
    return (
        candidate.caption,
        *_rounded_box(candidate.box_xyxy),
        None if candidate.mask is None else candidate.mask.counts,
        _rounded_score(candidate.confidence),
        _rounded_score(candidate.mask_quality),
        candidate.uid,
    )


def _rounded_box(box_xyxy: Sequence[float]) -> Iterator[float]:
    return (round(float(edge), 2) for edge in box_xyxy)


def _rounded_score(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def relative_path(path: Path, root: Path) -> str:
    """A path as POSIX text relative to `root`, the resolved folder of the store.

    It stays valid when images and labels move together. Symbolic links in the path are kept, since
    users know their names. A path on another drive stays absolute.
    """
    absolute = os.path.abspath(path)  # noqa: PTH100  (resolve() would follow links)
    try:
        return Path(os.path.relpath(absolute, root)).as_posix()
    except ValueError:  # another drive
        return Path(absolute).as_posix()


def path_to_row(path: Path | None, root: Path) -> str | bytes | None:
    """A path as the store keeps it: relative text, or bytes where the name is not UTF-8."""
    if path is None:
        return None
    relative = relative_path(path, root)
    return relative if utf8_safe(relative) == relative else os.fsencode(relative)


def path_from_row(path: str | bytes | None, root: Path) -> Path | None:
    """Inverse of `path_to_row`."""
    return None if path is None else Path(os.path.normpath(root / os.fsdecode(path)))


def utf8_safe(text: str) -> str:
    """Text that SQLite can hold: undecodable bytes of a file name become backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
