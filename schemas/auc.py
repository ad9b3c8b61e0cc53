"""Area under the ROC curve: the share of pairs of a positive and a negative in which the positive has the higher score.

Exact, by the Mann-Whitney statistic (Hanley and McNeil, 1982); a tie is half a pair.
"""

import numpy as np


def of_counts(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """By how many there are of each score: weights `[..., C]` of both labels by ascending score to `[...]`.

    Not a number where one label has no weight.

    >>> float(of_counts(np.array([0.0, 1.0]), np.array([1.0, 1.0])))
    0.75
    """
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (positives * below).sum(axis=-1) / pairs


def of_scores(scores: np.ndarray, labels: np.ndarray) -> float:
    """By the scores themselves.

    Args:
      scores: `[n]`.
      labels: `[n]`, 0 or 1.

    Returns:
      NaN if there are no pairs.
    """
    positive = labels == 1
    _, cell = np.unique(scores, return_inverse=True)
    size = int(cell.max(initial=0)) + 1
    by_label = (
        np.bincount(cell[which], minlength=size).astype(np.float64) for which in (positive, ~positive)
    )
    return float(of_counts(*by_label))
