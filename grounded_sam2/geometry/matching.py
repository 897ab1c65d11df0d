"""Matching and non-maximum suppression on matrices of IoUs, of boxes or masks.

Ties go to the earlier element, so that results do not depend on the sort algorithm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grounded_sam2.errors import GeometryError

__all__ = ["match_greedy", "match_optimal", "nms"]


def match_greedy(iou: NDArray[np.float64], min_iou: float) -> NDArray[np.intp]:
    """Greedy one-to-one matching of rows and columns, in descending order of IoU.

    Args:
        iou: ``(n, m)``.
        min_iou: lowest IoU of a pair; pairs with an IoU of 0 never match.

    Returns:
        ``(k, 2)`` row and column, in order of rows; ``(0, 2)`` for an empty matrix.
    """
    rows, columns = np.nonzero((iou >= min_iou) & (iou > 0))
    order = np.argsort(-iou[rows, columns], kind="stable")
    row_taken, column_taken = (np.zeros(size, np.bool_) for size in iou.shape)
    pairs: list[tuple[int, int]] = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if not row_taken[row] and not column_taken[column]:
            row_taken[row] = column_taken[column] = True
            pairs.append((row, column))
    return np.array(sorted(pairs), np.intp).reshape(-1, 2)


def match_optimal(iou: NDArray[np.float64], min_iou: float) -> NDArray[np.intp]:
    """One-to-one matching of rows and columns with the highest sum of IoUs.

    Solves the assignment problem with scipy (a modified Jonker-Volgenant algorithm, commonly called
    Hungarian matching). Pairs below the threshold count as 0, so that they never take the partner
    of a pair above it.

    Args:
        iou: ``(n, m)``.
        min_iou: lowest IoU of a pair; pairs with an IoU of 0 never match.

    Returns:
        ``(k, 2)`` row and column, in order of rows; ``(0, 2)`` for an empty matrix.
    """
    from scipy.optimize import linear_sum_assignment  # 0.3 s to import

    weights = np.where((iou >= min_iou) & (iou > 0), iou, 0)
    rows, columns = linear_sum_assignment(weights, maximize=True)
    pairs: NDArray[np.intp] = np.stack((rows, columns), axis=1)[weights[rows, columns] > 0]
    return pairs.astype(np.intp)


def nms(
    iou: NDArray[np.float64],
    scores: ArrayLike,
    max_iou: float | NDArray[np.float64],
    classes: ArrayLike | None = None,
) -> NDArray[np.intp]:
    """Non-maximum suppression: of overlapping elements, keep the one of highest score.

    Args:
        iou: ``(n, n)`` of every element with every other.
        scores: ``(n,)``.
        max_iou: IoU from which an element suppresses another, an IoU of 0 never does; one number,
            or ``(n, n)`` with one for each pair (infinity: never).
        classes: ``(n,)``; if given, only elements of the same class suppress each other.

    Returns:
        ``(k,)`` indices of the kept elements, highest score first; ``(0,)`` for no elements.

    Raises:
        GeometryError: the shapes do not match.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    if iou.shape != (len(order), len(order)):
        raise GeometryError(
            f"IoU matrix of shape {iou.shape} for {len(order)} scores: expected (n, n)"
        )
    suppresses = (iou >= max_iou) & (iou > 0)
    if classes is not None:
        class_of = np.asarray(classes)
        suppresses &= class_of[:, None] == class_of[None]
    remaining = np.ones(len(order), np.bool_)
    kept: list[int] = []
    for index in order.tolist():
        if remaining[index]:
            kept.append(index)
            remaining &= ~suppresses[index]
    return np.array(kept, np.intp)
