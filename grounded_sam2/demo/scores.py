"""Scores: average precision, separation and calibration. Pure functions of results and truth."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import rankdata

__all__ = ["AveragePrecision", "auroc", "average_precision", "expected_calibration_error"]


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's averages over classes, in [0, 1]; -1 where there is nothing to find."""

    ap: float
    """Mean over IoU thresholds 0.50, 0.55 … 0.95."""
    ap50: float
    ap75: float
    recall: float
    """At most 100 detections per image, mean over the same thresholds."""


def average_precision(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kind: Literal["bbox", "segm"],
) -> AveragePrecision:
    """Score detections with pycocotools.

    Args:
        truth: a COCO dataset, as `grounded_sam2.demo.ground_truth.ground_truth` makes it.
        results: COCO results: ``image_id``, ``category_id``, ``score``, and ``bbox`` or
            ``segmentation`` or both.
        kind: whether boxes or masks are compared.
    """
    if not results:
        return AveragePrecision(0.0, 0.0, 0.0, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports by printing
        dataset = COCO()
        dataset.dataset = dict(truth)
        dataset.createIndex()
        # With a box, a result is taken for a box, whatever is to be compared.
        compared = [
            {key: value for key, value in row.items() if kind == "bbox" or key != "bbox"}
            for row in results
        ]
        evaluation = COCOeval(dataset, dataset.loadRes(compared), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [float(value) for value in evaluation.stats]
    return AveragePrecision(ap=stats[0], ap50=stats[1], ap75=stats[2], recall=stats[8])


def auroc(score: ArrayLike, is_true: ArrayLike) -> float:
    """Chance that a true detection scores above a false one (ties count half).

    ``nan`` unless there are both.
    """
    truth = np.asarray(is_true, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(np.asarray(score, np.float64))
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def expected_calibration_error(score: ArrayLike, is_true: ArrayLike, bins: int = 10) -> float:
    """Mean distance between confidence and accuracy over equal bins of confidence, weighted.

    Source: Guo et al., *On Calibration of Modern Neural Networks*, 2017. 0 for no detections.
    """
    confidence, truth = np.asarray(score, np.float64), np.asarray(is_true, np.float64)
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, truth - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(truth), 1))
