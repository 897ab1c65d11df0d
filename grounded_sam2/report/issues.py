"""Issues of labels and images: kinds, scores, and the array of all issues of a run.

An issue is one reason to review one label or image. Its score is ``weight · (1 + t) / 2``: the
weight of its kind (`ISSUE_KINDS`), and t from 0 at the threshold to 1 at the worst value. A label
with several issues has the score ``1 - Π (1 - score)``, as if they were independent. Whether a
label is wrong has to be decided by looking at the image.
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
    """A kind of label issue."""

    title: str
    """Heading on the page, and beginning of its description."""
    weight: float
    """From 0 to 1: rough probability that a label with the worst value is wrong."""
    look_for: str
    """What to check in the image."""


ISSUE_KINDS: Mapping[str, IssueKind] = {
    "overlap": IssueKind("overlaps another object", 0.9, "one object labeled twice"),
    "inside": IssueKind(
        "inside another of its class", 0.7, "a part labeled in addition to its whole"
    ),
    "outside_box": IssueKind("mask leaves its box", 0.8, "a mask that extends into the background"),
    "low_confidence": IssueKind("low confidence", 0.7, "an object that does not match its caption"),
    "low_quality": IssueKind("low mask quality", 0.7, "a ragged, incomplete or too large mask"),
    "disagreement": IssueKind(
        "confidence and quality disagree", 0.5, "the right object with a poor mask, or the reverse"
    ),
    "along_border": IssueKind(
        "runs along the image's edge", 0.6, "background labeled as an object"
    ),
    "size_outlier": IssueKind(
        "unusual size", 0.5, "a part, a group, or an object of another class"
    ),
    "along_box": IssueKind("cut off at its box", 0.3, "a box that is too small for its object"),
    "near_duplicate": IssueKind("looks like an earlier image", 0.8, "the same image twice"),
}
"""All kinds by name, those of labels before those of whole images."""

KIND_NAMES = tuple(ISSUE_KINDS)
"""Name of each kind, by its number in `Issues`."""
KIND_IDS: Mapping[str, int] = {name: number for number, name in enumerate(ISSUE_KINDS)}
"""Number of each kind, by its name."""

ISSUE_DTYPE = np.dtype(
    [
        ("kind", np.int8),  # number of the kind, index into KIND_NAMES
        ("image", np.int32),
        ("position", np.int32),  # index of the object in the image; -1 for the whole image
        ("other", np.int32),  # index of the other object, or number of the other image; or -1
        ("value", np.float64),  # measured value
        ("threshold", np.float64),  # that it was compared with
        ("score", np.float64),
    ]
)
Issues = NDArray[np.void]
"""Rows of `ISSUE_DTYPE`: ``(n,)``, a structured array."""


def score(
    kind: str, values: NDArray[np.float64], threshold: float, worst: float
) -> NDArray[np.float64]:
    """Return the scores of issues of one kind.

    Args:
        kind: name of the kind.
        values: ``(n,)``, from `threshold` to `worst` or beyond.
        threshold: value with half the weight of the kind.
        worst: value with the full weight; above or below the threshold.

    Returns:
        ``(n,)``.
    """
    span = worst - threshold
    excess = np.clip((values - threshold) / span, 0, 1) if span else np.ones(len(values))
    scores: NDArray[np.float64] = ISSUE_KINDS[kind].weight * (1 + excess) / 2
    return scores


def label_scores(issues: Issues) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Combine the issues of each label into one score; issues of whole images are ignored.

    Returns:
        ``(k, 2)`` image and position, and ``(k,)`` scores in descending order.
    """
    of_labels = issues[issues["position"] >= 0]
    keys = np.stack((of_labels["image"], of_labels["position"]), axis=1).astype(np.int64)
    labels, inverse = np.unique(keys, axis=0, return_inverse=True)
    remaining = np.ones(len(labels))
    np.multiply.at(remaining, inverse.reshape(-1), 1 - of_labels["score"])
    order = np.argsort(remaining, kind="stable")
    return labels[order], 1 - remaining[order]
