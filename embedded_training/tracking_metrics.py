"""Scores of tracks: J and F as in DAVIS, HOTA and identity switches by TrackEval.

For J and F see `grounded_sam2.demo.davis_metrics`. HOTA also counts predicted masks of objects that
do not exist, and rewards one id per object through the whole clip; a mask matches at each of 19
IoU thresholds.

Source: https://arxiv.org/abs/2009.07736 (HOTA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from trackeval.metrics import CLEAR, HOTA

from grounded_sam2.demo.davis_metrics import (
    DavisScores,
    FrameMasks,
    MeanDavisScores,
    davis_scores,
    dense_iou,
    visible_ids,
)

__all__ = ["ClipScores", "TrackingScores", "score_clip", "summarize"]


@dataclass(frozen=True, slots=True, eq=False)
class ClipScores:
    """Scores of one clip."""

    davis: DavisScores
    """Of each object."""
    hota: Mapping[str, Any]
    """TrackEval's result for this clip."""
    clear: Mapping[str, Any]
    """The same for the CLEAR metrics."""


@dataclass(frozen=True, slots=True)
class TrackingScores:
    """Scores of several clips together."""

    objects: int
    davis: MeanDavisScores
    """Means over objects."""
    hota: float
    detection: float
    """DetA, the detection accuracy within HOTA."""
    association: float
    """AssA, the association accuracy within HOTA."""
    switches: int
    """Identity switches at IoU 0.5."""

    @property
    def switches_per_object(self) -> float:
        """Identity switches per object."""
        return self.switches / max(self.objects, 1)


def score_clip(
    truth: Sequence[FrameMasks],
    predicted: Sequence[FrameMasks],
    *,
    since: Mapping[int, int] | None = None,
    match: bool = False,
) -> ClipScores:
    """Score the tracks of one clip.

    Arguments as of `grounded_sam2.demo.davis_metrics.davis_scores`; HOTA matches ids itself and
    counts all frames.
    """
    data = _trackeval_data(truth, predicted)
    return ClipScores(
        davis_scores(truth, predicted, since=since, match=match),
        HOTA().eval_sequence(data),
        CLEAR({"PRINT_CONFIG": False}).eval_sequence(data),
    )


def summarize(clips: Sequence[ClipScores]) -> TrackingScores:
    """Combine the scores of clips: J and F by object, HOTA as TrackEval does."""
    by_name = {str(index): clip.hota for index, clip in enumerate(clips)}
    hota = HOTA().combine_sequences(by_name)
    davis = DavisScores.concatenate([clip.davis for clip in clips])
    return TrackingScores(
        objects=len(davis),
        davis=davis.mean(),
        hota=float(np.mean(hota["HOTA"])),
        detection=float(np.mean(hota["DetA"])),
        association=float(np.mean(hota["AssA"])),
        switches=int(sum(clip.clear["IDSW"] for clip in clips)),
    )


def _trackeval_data(truth: Sequence[FrameMasks], predicted: Sequence[FrameMasks]) -> dict[str, Any]:
    """A clip in the form of TrackEval's metrics: ids from 0, and IoU of all visible masks."""
    objects, tracks = visible_ids(truth), visible_ids(predicted)
    true_ids, found_ids, overlaps = [], [], []
    for true, found in zip(truth, predicted, strict=True):
        here = [number for number in objects if number in true and true[number].any()]
        there = [number for number in tracks if number in found and found[number].any()]
        true_ids.append(np.array([objects.index(number) for number in here], int))
        found_ids.append(np.array([tracks.index(number) for number in there], int))
        table = [[dense_iou(true[a], found[b]) for b in there] for a in here]
        overlaps.append(np.array(table, float).reshape(len(here), len(there)))
    return {
        "num_timesteps": len(truth),
        "num_gt_ids": len(objects),
        "num_tracker_ids": len(tracks),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, found_ids)),
        "gt_ids": true_ids,
        "tracker_ids": found_ids,
        "similarity_scores": overlaps,
    }
