"""Metrics of probabilities from weighted counts: one pass gives the estimate and all its resamples.

Scores fall into cells, in ascending order, and examples into units (users, or groups of them). All
that a metric needs is how many positives and negatives each unit has in each cell. A resample
weighs the units, so that its counts are one row of a matrix product, and every metric of all
resamples comes from cumulative sums over cells. Scores of one cell tie.

  AUC      P(s+ > s-) + P(s+ = s-) / 2, over pairs of a positive and a negative, see `schemas.auc`
  AUC-PR   average precision, sum over cells of (R_k - R_k-1) P_k from the highest score down, without
           interpolation (Davis and Goadrich, ICML 2006)
  KS       max over thresholds of TPR - FPR: the largest distance by which the cumulative distribution of the negatives'
           scores lies above the positives' (Kolmogorov and Smirnov, one-sided, so that a reversed order has
           none); from 0, no threshold tells them apart, to 1
  log loss mean of -log p(label), in nats
  ECE      sum over bins of n_b / n |mean prediction - share of positives| (Naeini et al., AAAI 2015), in
           bins of equal mass (Nguyen and O'Connor, EMNLP 2015): with rare positives, bins of equal
           width would put nearly all examples into the first

Labels that are not known must be left out before.
"""

import dataclasses

import numpy as np

from schemas import auc

# Bins of the calibration error and of the calibration curve.
BINS = 20
# A probability of exactly 0 or 1 has the loss of this one, as in Keras.
_EPSILON = 1e-7

# Of effectively fewer users with a label, or without it, a resample says too little of what other users would show: with
# one positive all resamples that have it agree.
MIN_USERS = 10

# Every metric of `measure`.
METRICS = ("auc", "auc_pr", "ks", "log_loss", "ece", "calibration", "positive_rate", "lift")
# Of these, what compares the examples with a label with those without.
RANKED = ("auc", "auc_pr", "ks")


def effective(examples: np.ndarray) -> float:
    """How many users with equally many examples would tell as much as users with so many each: Kish's effective number.

    >>> effective(np.array([2, 2, 0])), effective(np.array([6, 1, 1])) < 2
    (2.0, True)
    """
    examples = np.asarray(examples, np.float64)
    return float(examples.sum() ** 2 / max((examples**2).sum(), 1.0))


def log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The log loss of each example, in nats; any shape, labels 0 or 1."""
    clipped = np.clip(np.asarray(probabilities, np.float64), _EPSILON, 1.0 - _EPSILON)
    return -np.where(np.asarray(labels) == 1, np.log(clipped), np.log1p(-clipped))


def average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Average precision: weights `[..., C]` of both labels by ascending cell to `[...]`.

    Not a number where there is no positive, or nothing else.
    """
    found = np.cumsum(positives[..., ::-1], axis=-1)[..., ::-1]
    taken = found + np.cumsum(negatives[..., ::-1], axis=-1)[..., ::-1]
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    total = positives.sum(axis=-1)
    result = _ratio((positives * precision).sum(axis=-1), total)
    return np.where(negatives.sum(axis=-1) > 0, result, np.nan)


def kolmogorov_smirnov(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """max(TPR - FPR): weights `[..., C]` of both labels by ascending cell to `[...]`, 0 to 1.

    Not a number where one label has no weight.

    >>> float(kolmogorov_smirnov(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0])))
    0.5
    """
    below = [
        _ratio(np.cumsum(found, axis=-1), found.sum(axis=-1, keepdims=True))
        for found in (negatives, positives)
    ]
    apart = below[0] - below[1]
    # Above the highest score both are 1, so that the largest is 0 at least. Of no cell it is not a number.
    return apart.max(axis=-1) if apart.shape[-1] else np.full(apart.shape[:-1], np.nan)


def calibration_bins(counts: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Bins of equal mass: counts `[C]` by ascending cell to the bin of each cell, `[C]` int.

    A cell belongs to the bin in which the middle of its mass lies, so that ties stay together.
    """
    middle = np.cumsum(counts) - counts / 2
    return np.minimum((middle * bins / max(counts.sum(), 1)).astype(np.int64), bins - 1)


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a model said of one step, as sums over the examples with a known label.

    Attributes:
      positives, negatives: `[U, C]`, examples by unit and ascending cell.
      bins: `[C]`, the calibration bin of each cell.
      predicted: `[U, BINS]`, sums of the probabilities by unit and calibration bin.
      loss: `[U]`, sums of the log losses.
    """

    positives: np.ndarray
    negatives: np.ndarray
    bins: np.ndarray
    predicted: np.ndarray
    loss: np.ndarray


def count(
    units: np.ndarray,
    cells: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    loss: np.ndarray,
    examples: np.ndarray | None = None,
    units_count: int | None = None,
) -> Counts:
    """Counts examples, or rows that stand for several equal ones.

    Args:
      units: `[N]` int, codes of the units.
      cells: `[N]` int, of the score: a higher one is likelier. Codes that do not occur take no space.
      labels: `[N]`, 0 or 1.
      predicted: `[N]`, the probability (the sum over the row's examples).
      loss: `[N]`, of `log_losses` (the sum).
      examples: `[N]`, how many a row stands for; None is one.
      units_count: how many units there are; None: up to the largest code.
    """
    examples = np.ones(len(units)) if examples is None else examples
    codes, cells = np.unique(cells, return_inverse=True)
    size = (units_count or (int(units.max()) + 1 if len(units) else 1), len(codes))
    by_cell = []
    for label in (1, 0):
        places = units * size[1] + cells
        chosen = labels == label
        found = np.bincount(places[chosen], examples[chosen], minlength=size[0] * size[1])
        by_cell.append(found.reshape(size))
    bins = calibration_bins(by_cell[0].sum(axis=0) + by_cell[1].sum(axis=0))
    by_bin = np.bincount(units * BINS + bins[cells], predicted, minlength=size[0] * BINS)
    return Counts(
        positives=by_cell[0],
        negatives=by_cell[1],
        bins=bins,
        predicted=by_bin.reshape(size[0], BINS),
        loss=np.bincount(units, loss, minlength=size[0]),
    )


@dataclasses.dataclass(frozen=True)
class Measured:
    """Metrics of R resamples.

    Attributes:
      metrics: `[R]` each, by the names of METRICS; not a number where one has no value. `calibration`
        is the mean probability over the share of positives, `lift` the log loss of the best
        constant (the entropy of the share of positives) minus the model's.
      bin_examples, bin_positives, bin_predicted: `[R, BINS]`, sums by calibration bin.
    """

    metrics: dict[str, np.ndarray]
    bin_examples: np.ndarray
    bin_positives: np.ndarray
    bin_predicted: np.ndarray


def measure(counts: Counts, weights: np.ndarray) -> Measured:
    """All metrics under each weighting of the units: `[R, U]`."""
    positives, negatives = weights @ counts.positives, weights @ counts.negatives
    in_bin = (counts.bins[:, None] == np.arange(BINS)[None, :]).astype(np.float64)
    bin_positives = positives @ in_bin
    bin_examples = bin_positives + negatives @ in_bin
    bin_predicted = weights @ counts.predicted
    examples, positive = bin_examples.sum(axis=1), bin_positives.sum(axis=1)
    rate = _ratio(positive, examples)
    log_loss = _ratio(weights @ counts.loss, examples)
    # Where all labels are alike, a constant has no loss: nothing can be said of a lift.
    both = (positive > 0) & (positive < examples)
    safe = np.where(both, rate, 0.5)
    entropy = -(safe * np.log(safe) + (1 - safe) * np.log1p(-safe))
    found = {
        "auc": auc.of_counts(positives, negatives),
        "auc_pr": average_precision(positives, negatives),
        "ks": kolmogorov_smirnov(positives, negatives),
        "log_loss": log_loss,
        "ece": _ratio(np.abs(bin_predicted - bin_positives).sum(axis=1), examples),
        "calibration": _ratio(bin_predicted.sum(axis=1), positive),
        "positive_rate": rate,
        "lift": np.where(both, entropy - log_loss, np.nan),
    }
    return Measured(found, bin_examples, bin_positives, bin_predicted)


def chain_violated(probabilities: np.ndarray) -> np.ndarray:
    """Whether a later step is likelier than an earlier one: probabilities `[N, T]` to `[N]` bool.

    Steps that are equal but for the rounding of float32 are not.
    """
    earlier, later = probabilities[:, :-1], probabilities[:, 1:]
    # If any two steps are out of order, two neighbours are.
    return (later > earlier * (1 + 1e-6)).any(axis=1)


def relative_improvement(measured: np.ndarray, base: np.ndarray) -> np.ndarray:
    """RelaImpr (BPCM, eq. 14): (AUC - 0.5) / (base's AUC - 0.5) - 1; of AUCs of any shape.

    Not a number where the base is no better than chance: it has no distance to compare with.
    """
    return np.where(base > 0.5, _ratio(measured - 0.5, base - 0.5), np.nan) - 1.0


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
