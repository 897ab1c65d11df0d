"""What is flagged about labels and images, and how much.

An issue is one reason to look at one label or image. Its score is ``weight · (1 + t) / 2``: the
weight of its kind (`ISSUE_KINDS`), and t from 0 at the threshold to 1 at the worst value. A
label with several issues has the score ``1 - Π (1 - score)``, as if they were independent: more
reasons, more worth a look. Whether a label is wrong, only looking can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ISSUE_DTYPE",
    "ISSUE_KINDS",
    "KIND_IDS",
    "KIND_NAMES",
    "IssueKind",
    "Issues",
    "label_scores",
    "score",
]


@dataclass(frozen=True, slots=True)
class IssueKind:
    """A kind of issue."""

    title: str
    """As a heading."""
    weight: float
    """From 0 to 1: how likely a label is wrong for it, as a rule of thumb, at its worst."""
    look_for: str
    """What to look for in the image."""


ISSUE_KINDS: Mapping[str, IssueKind] = {
    "overlap": IssueKind("overlaps another object", 0.9, "one thing labeled twice"),
    "inside": IssueKind("inside another of its class", 0.7, "a part labeled beside its whole"),
    "outside_box": IssueKind("mask leaves its box", 0.8, "a mask that flows into the surroundings"),
    "low_confidence": IssueKind("low confidence", 0.7, "something else than the caption says"),
    "low_quality": IssueKind("low mask quality", 0.7, "a ragged, incomplete or spilling outline"),
    "disagreement": IssueKind(
        "confidence and quality disagree", 0.5, "the right thing badly outlined, or the reverse"
    ),
    "along_border": IssueKind("runs along the image's edge", 0.6, "background taken for a thing"),
    "size_outlier": IssueKind("unusual size", 0.5, "a part, a group, or another kind of thing"),
    "along_box": IssueKind("cut off at its box", 0.3, "a box that is too small for its thing"),
    "near_duplicate": IssueKind("looks like an earlier image", 0.8, "the same image twice"),
}
"""Every kind by its name, those of most weight among labels first."""

KIND_NAMES = tuple(ISSUE_KINDS)
"""The name of each kind, by its number in `Issues`."""
KIND_IDS: Mapping[str, int] = {name: number for number, name in enumerate(ISSUE_KINDS)}
"""And the number, by its name."""

ISSUE_DTYPE = np.dtype(
    [
        ("kind", np.int8),  # number of the kind
        ("image", np.int32),
        ("position", np.int32),  # of the object; -1: the image as a whole
        ("other", np.int32),  # position of the other object, or number of the other image; or -1
        ("value", np.float64),  # what was compared
        ("threshold", np.float64),  # with what
        ("score", np.float64),
    ]
)
Issues = NDArray[np.void]
"""Rows of `ISSUE_DTYPE`: ``(n,)``, a structured array."""


def score(
    kind: str, values: NDArray[np.float64], threshold: float, worst: float
) -> NDArray[np.float64]:
    """Scores of issues of one kind.

    Args:
        kind: name of the kind.
        values: ``(n,)``, from `threshold` to `worst` or beyond.
        threshold: where a issue begins, with half the weight of its kind.
        worst: where it has all the weight; above the threshold or below it.

    Returns:
        ``(n,)``.
    """
    way = worst - threshold
    beyond = np.clip((values - threshold) / way, 0, 1) if way else np.ones(len(values))
    scores: NDArray[np.float64] = ISSUE_KINDS[kind].weight * (1 + beyond) / 2
    return scores


def label_scores(issues: Issues) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The issues of each label taken together; those of whole images are left out.

    Returns:
        ``(k, 2)`` image and position, and ``(k,)`` scores, the highest first.
    """
    of_labels = issues[issues["position"] >= 0]
    keys = np.stack((of_labels["image"], of_labels["position"]), axis=1).astype(np.int64)
    labels, which = np.unique(keys, axis=0, return_inverse=True)
    remaining = np.ones(len(labels))
    np.multiply.at(remaining, which.reshape(-1), 1 - of_labels["score"])
    order = np.argsort(remaining, kind="stable")
    return labels[order], 1 - remaining[order]
