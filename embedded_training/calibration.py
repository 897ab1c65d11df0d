"""Metrics of a detector's confidence: separation of true and false detections, calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

__all__ = ["auroc", "expected_calibration_error"]


def auroc(score: ArrayLike, is_true: ArrayLike) -> float:
    """Area under the ROC curve: chance that a true detection scores above a false one.

    Ties count half. ``nan`` unless there are both.

    Args:
        score: ``(n,)`` confidences.
        is_true: ``(n,)`` ``bool``.
    """
    truth = np.asarray(is_true, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(np.asarray(score, np.float64))
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def expected_calibration_error(score: ArrayLike, is_true: ArrayLike, bins: int = 10) -> float:
    """Weighted mean distance between confidence and accuracy over equal bins of confidence.

    0 for no detections. Source: Guo et al., *On Calibration of Modern Neural Networks*, 2017.

    Args:
        score: ``(n,)`` confidences in [0, 1].
        is_true: ``(n,)`` ``bool``.
        bins: number of bins.
    """
    confidence, truth = np.asarray(score, np.float64), np.asarray(is_true, np.float64)
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, truth - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(truth), 1))
