"""Stable identities of candidates, objects and tracks.

A uid is the beginning of a SHA-256 of what the object is, never of where it stands in a list:

- a candidate: the models and inference options of its run, its item, its caption and its box;
- an object: that of the candidate it was made from;
- an object of a video: models and options, the video, and its track. It is the same in all frames;
- an object without a candidate, such as an imported one: its item, class, caption, box and mask;
- an object that a person made: its item, class, box and mask, and the number of edits before it.

Thresholds, clean-up, the ontology, the place of the images and the order of detections are left
out, so that the same model finds the same object under the same uid: after a resume, in a run with
another threshold, on another machine. Among candidates with one caption and one box, which a
detector rarely returns, the more confident comes first.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from grounded_sam2.geometry.rle import Rle
from grounded_sam2.results import Candidate, Label, Labels

__all__ = [
    "candidates_with_uids",
    "new_uid",
    "track_number",
    "track_uid",
    "with_uids",
]

_DIGITS = 16
"""Hexadecimal. Two of a million objects of a store collide with a probability of 3e-8."""


def candidates_with_uids(
    inference_key: str, item_id: str, candidates: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """The candidates of an item with their uids.

    Args:
        inference_key: models and options of the run (`RunConfig.inference_key`).
        item_id: the item.
        candidates: all of the item, in any order. Numbers are rounded as the store rounds them.
    """
    keys = [(each.caption, _box_text(each.box_xyxy)) for each in candidates]
    ordinals = _ordinals(
        keys, [(-(each.confidence or 0.0), _mask_bytes(each.mask)) for each in candidates]
    )
    return tuple(
        Candidate(  # `replace` takes seven times as long
            each.caption,
            each.box_xyxy,
            each.mask,
            each.confidence,
            each.mask_quality,
            new_uid("candidate", inference_key, item_id, *key, ordinal),
        )
        for each, key, ordinal in zip(candidates, keys, ordinals, strict=True)
    )


def with_uids(
    inference_key: str,
    item_id: str,
    labels: Labels,
    candidates: Sequence[Candidate] = (),
    *,
    video: str | None = None,
) -> Labels:
    """The labels of an item with their uids, all different.

    Args:
        inference_key: models and options of the run.
        item_id: the item.
        labels: all of the item. Those that have a uid keep it.
        candidates: with uids; a label without one gets that of the candidate it was made from.
        video: the video that the item is a frame of; tracks then give the uids.
    """
    by_origin: dict[Hashable, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda each: _mask_bytes(each.mask), reverse=True):
        origin = candidate.caption, candidate.box_xyxy, candidate.confidence
        by_origin[origin].append(candidate)
    result = []
    for label in labels.objects:
        uid = label.uid
        if not uid and video is not None and label.track_id is not None:
            uid = track_uid(inference_key, video, label.track_id)
        elif not uid and label.detected_box_xyxy is not None:
            origin = label.caption, label.detected_box_xyxy, label.confidence
            uid = by_origin[origin].pop().uid if by_origin[origin] else ""
        result.append(label if label.uid else replace(label, uid=uid))
    uids = [label.uid for label in result]
    # In a merge of two runs, two different objects may come from one candidate.
    without = [i for i, uid in enumerate(uids) if not uid or uid in uids[:i]]
    taken = set(uids)
    for index in sorted(without, key=lambda index: -(result[index].confidence or 0.0)):
        key, ordinal = _content(result[index]), 0
        while (uid := new_uid("label", inference_key, item_id, *key, ordinal)) in taken:
            ordinal += 1
        taken.add(uid)
        result[index] = replace(result[index], uid=uid)
    return replace(labels, objects=tuple(result))


def track_uid(inference_key: str, video: str, track_id: int) -> str:
    """The uid of the objects of a track, in all frames of its video."""
    return new_uid("track", inference_key, video, track_id)


def track_number(uid: str) -> int:
    """Track id of an object that no tracker numbered in a run: above a million, by its uid."""
    return 1_000_000 + int(new_uid("number", uid)[:7], 16)


def new_uid(kind: str, *parts: object) -> str:
    """A uid made of values, equal for equal ones."""
    text = "\0".join((kind, *map(str, parts)))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]


def _ordinals(keys: Sequence[Hashable], ranks: Sequence[Any]) -> list[int]:
    """Number of each element among those with an equal key, by rising rank."""
    counts: dict[Hashable, int] = defaultdict(int)
    ordinals = [0] * len(keys)
    for index in sorted(range(len(keys)), key=lambda index: ranks[index]):
        ordinals[index] = counts[keys[index]]
        counts[keys[index]] += 1
    return ordinals


def _content(label: Label) -> tuple[str, ...]:
    mask = hashlib.sha256(_mask_bytes(label.mask)).hexdigest()
    return label.class_name, label.caption, _box_text(label.box_xyxy), mask


def _box_text(box_xyxy: tuple[float, float, float, float]) -> str:
    text = "%.2f %.2f %.2f %.2f" % box_xyxy  # noqa: UP031  (half the time of an f-string's)
    return text.replace("-0.00", "0.00") if "-" in text else text


def _mask_bytes(mask: Rle | None) -> bytes:
    return b"" if mask is None else mask.counts
