"""Which of these is which of those: decisions on a matrix of IoUs.

The IoUs may be of boxes or masks. Where values are equal, the earlier one wins, so that the
answer does not depend on how a sort treats them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grounded_sam2.errors import GeometryError

__all__ = ["match_greedy", "match_optimal", "nms"]


def match_greedy(iou: NDArray[np.float64], min_iou: float) -> NDArray[np.intp]:
    """Pair rows with columns, the pair of highest IoU first, each at most once.

    Args:
        iou: ``(n, m)``.
        min_iou: pairs with less are none; nor are pairs that do not overlap.

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
    """Pair rows with columns so that the sum of IoUs is the highest, each at most once.

    The Hungarian method, as scipy implements it. Pairs below the threshold count as nothing, so
    that they never cost a pair above it its partner.

    Args:
        iou: ``(n, m)``.
        min_iou: pairs with less are none; nor are pairs that do not overlap.

    Returns:
        ``(k, 2)`` row and column, in order of rows; ``(0, 2)`` for an empty matrix.
    """
    from scipy.optimize import linear_sum_assignment  # all of it takes 0.3 s to load

    worth = np.where((iou >= min_iou) & (iou > 0), iou, 0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    pairs: NDArray[np.intp] = np.stack((rows, columns), axis=1)[worth[rows, columns] > 0]
    return pairs.astype(np.intp)


def nms(
    iou: NDArray[np.float64],
    scores: ArrayLike,
    max_iou: float | NDArray[np.float64],
    classes: ArrayLike | None = None,
) -> NDArray[np.intp]:
    """Non-maximum suppression: of those that overlap too much, keep the one of highest score.

    Args:
        iou: ``(n, n)`` of a set with itself.
        scores: ``(n,)``.
        max_iou: an overlap of at least this suppresses, if it is an overlap at all; one number,
            or ``(n, n)`` with one for each pair (infinite: never).
        classes: ``(n,)``; if given, only members of one class suppress each other.

    Returns:
        ``(k,)`` indices of what is kept, highest score first; ``(0,)`` for an empty set.

    Raises:
        GeometryError: the shapes do not fit.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    if iou.shape != (len(order), len(order)):
        raise GeometryError(f"IoU matrix of shape {iou.shape} for {len(order)} scores")
    rivals = (iou >= max_iou) & (iou > 0)
    if classes is not None:
        of_class = np.asarray(classes)
        rivals &= of_class[:, None] == of_class[None]
    alive = np.ones(len(order), np.bool_)
    kept: list[int] = []
    for index in order.tolist():
        if alive[index]:
            kept.append(index)
            alive &= ~rivals[index]
    return np.array(kept, np.intp)
