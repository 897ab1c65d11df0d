"""How well tracks are: J and F as in DAVIS, HOTA and identity switches by TrackEval.

For J and F see `grounded_sam2.demo.davis_metrics`. HOTA also counts what was found that is not
there, and asks that one thing keeps one number through the whole clip; a mask that is found is one
with enough IoU, at 19 thresholds.

Source: https://arxiv.org/abs/2009.07736 (HOTA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trackeval.metrics import CLEAR, HOTA

from grounded_sam2.demo.davis_metrics import Masks, iou, numbers, region_and_border

__all__ = ["ClipScore", "TrackScores", "score_clip", "summarize"]


@dataclass(frozen=True, slots=True, eq=False)
class ClipScore:
    """Scores of the ``n`` objects of one clip."""

    region: NDArray[np.float64]
    """``(n,)``: J, mean over the frames that count for an object."""
    border: NDArray[np.float64]
    """``(n,)``: F."""
    hota: Mapping[str, Any]
    """What TrackEval says of this clip."""
    clear: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of some clips together."""

    objects: int
    region: float
    """J, mean over objects."""
    border: float
    """F."""
    hota: float
    detection: float
    """DetA, the part of HOTA that asks whether things were found."""
    association: float
    """AssA, the part that asks whether they kept their numbers."""
    switches: int
    """Times that a thing was found under another number than before, at IoU 0.5."""

    @property
    def region_and_border(self) -> float:
        """J&F."""
        return (self.region + self.border) / 2

    @property
    def switch_share(self) -> float:
        """Identity switches per object."""
        return self.switches / max(self.objects, 1)


def score_clip(
    truth: Sequence[Masks],
    predicted: Sequence[Masks],
    *,
    since: Mapping[int, int] | None = None,
    match: bool = False,
) -> ClipScore:
    """Score the tracks of one clip.

    Args:
        truth: true masks of every frame.
        predicted: masks that were found in every frame.
        since: for J and F, first frame that counts for an object, by its true number: the one
            after its prompt. The first frame of the clip if missing.
        match: the numbers in ``predicted`` are the tracker's own. For J and F, each object is then
            given the track that makes the sum of all J greatest; one without a track scores as
            never found. Otherwise the numbers are those of the truth.

    Returns:
        Scores of the objects that are ever seen, in the order of their numbers.
    """
    data = _for_trackeval(truth, predicted, numbers(truth), numbers(predicted))
    return ClipScore(
        *region_and_border(truth, predicted, since=since, match=match),
        HOTA().eval_sequence(data),
        CLEAR({"PRINT_CONFIG": False}).eval_sequence(data),
    )


def summarize(clips: Sequence[ClipScore]) -> TrackScores:
    """Put the scores of clips together: J and F by object, HOTA as TrackEval does."""
    by_name = {str(index): clip.hota for index, clip in enumerate(clips)}
    hota = HOTA().combine_sequences(by_name)
    return TrackScores(
        objects=sum(len(clip.region) for clip in clips),
        region=float(np.concatenate([clip.region for clip in clips]).mean()),
        border=float(np.concatenate([clip.border for clip in clips]).mean()),
        hota=float(np.mean(hota["HOTA"])),
        detection=float(np.mean(hota["DetA"])),
        association=float(np.mean(hota["AssA"])),
        switches=int(sum(clip.clear["IDSW"] for clip in clips)),
    )


def _for_trackeval(
    truth: Sequence[Masks], predicted: Sequence[Masks], seen: list[int], tracks: list[int]
) -> dict[str, Any]:
    """A clip as TrackEval's metrics take it: numbers from 0, and IoU of everything that is seen."""
    true_ids, found_ids, overlaps = [], [], []
    for true, found in zip(truth, predicted, strict=True):
        here = [number for number in seen if number in true and true[number].any()]
        there = [number for number in tracks if number in found and found[number].any()]
        true_ids.append(np.array([seen.index(number) for number in here], int))
        found_ids.append(np.array([tracks.index(number) for number in there], int))
        table = [[iou(true[a], found[b]) for b in there] for a in here]
        overlaps.append(np.array(table, float).reshape(len(here), len(there)))
    return {
        "num_timesteps": len(truth),
        "num_gt_ids": len(seen),
        "num_tracker_ids": len(tracks),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, found_ids)),
        "gt_ids": true_ids,
        "tracker_ids": found_ids,
        "similarity_scores": overlaps,
    }
