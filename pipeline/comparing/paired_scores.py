"""Paired comparison of two models' probabilities on the same exposures.

An area under a curve is no mean over exposures, so that the differences cannot be added up user by user as
`paired` does it. Users are resampled (paired: both models on the same users), and each metric of each
resample comes from weighted counts; see `components.evaluator.conversion`. The interval is the
percentiles of the difference, the p value the level at which the interval just reaches zero: twice the
smaller share of resamples on one side of it (Efron and Tibshirani, 1993, ch. 15). Models swapped user by user
would have to agree in the scale of their scores for the null hypothesis to leave an AUC as it is;
models need not.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from components.evaluator import conversion, spec

RESAMPLES = 2_000
# More users are put together at random to so many groups; see `paired`.
MAX_UNITS = 1_000
LEVEL = 0.95
RELATIVE_IMPROVEMENT = "relaimpr"
# Scores of a resample tie in cells of equal mass; the estimate itself is exact.
_CELLS = 512
_METRICS = ("auc", "auc_pr", "log_loss", "ks", "ece")


@dataclasses.dataclass(frozen=True)
class Difference:
    """One metric of both sides; what has no value is not a number.

    Attributes:
      a, b: of each run, `[runs]`; empty for an improvement, which neither side has alone.
      difference: mean of b minus mean of a; for `relaimpr/buy`, RelaImpr of B over A (BPCM, eq. 14).
      low, high: bounds of its 95 % interval; not a number where too few users have, or lack, a label.
      p: two-sided; not a number where the bounds are not.
    """

    a: np.ndarray
    b: np.ndarray
    difference: float
    low: float
    high: float
    p: float


def compare(
    a: np.ndarray,
    b: np.ndarray,
    labels: np.ndarray,
    users: np.ndarray,
    steps: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
    chain: bool = True,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Difference]:
    """Compares two models, or the means of several models of one setting each.

    Args:
      a, b: probabilities `[runs, N, T]` of each side.
      labels: `[N, T]`, 1, 0, or below 0 where a label is unknown: it has no influence.
      users: `[N]` int, codes 0..U-1 of the exposures' users, each of which occurs.
      steps: names of the T steps.
      seed: of the resamples; the same seed gives the same numbers.
      resamples: of the bootstrap.
      chain: whether the steps are a chain, in their order.
      groups: of steps, by name, whose means are wanted as well.

    Returns:
      By metric: means over steps (`auc`) and over those of a group (`auc/rare`), of each step (`auc/buy`,
      `ece/buy`), `chain_violations` of a chain of several steps, and `relaimpr/buy`. What ranks a label of effectively fewer
      than `conversion.MIN_USERS` users, and means over it, has no interval and a p of 1; see `scarce`.

    Raises:
      ValueError: if there is no exposure.
    """
    if not len(labels):
        raise ValueError("there is nothing to compare: no exposure")
    unsure = _unsure(scarce(labels, users, steps), groups or {})
    users, weights = resampled(users, seed, resamples)
    by_run = [
        [measured(run, labels, users, steps, weights, chain, groups) for run in side] for side in (a, b)
    ]
    found: dict[str, Difference] = {}
    means: list[dict[str, np.ndarray]] = [
        {name: np.mean([run[name] for run in side], axis=0) for name in side[0]} for side in by_run
    ]
    for name in means[0]:
        of_a, of_b = (np.array([run[name][0] for run in side]) for side in by_run)
        value, low, high, p = _test(means[1][name] - means[0][name])
        if name in unsure and np.isfinite(value):
            low, high, p = np.nan, np.nan, np.nan
        found[name] = Difference(of_a, of_b, value, low, high, p)
    for step in steps:
        auc = f"{spec.AUC}/{step}"
        improved = conversion.relative_improvement(means[1][auc], means[0][auc])
        value, low, high, _ = _test(improved)
        if auc in unsure:
            low = high = np.nan
        # It is zero where the difference is.
        nothing = np.zeros(0)
        found[f"{RELATIVE_IMPROVEMENT}/{step}"] = Difference(
            nothing, nothing, value, low, high, found[auc].p if np.isfinite(value) else np.nan
        )
    return found


def _unsure(few: Sequence[str], groups: Mapping[str, Sequence[str]]) -> set[str]:
    """The metrics of so few users that they have no interval, by the labels of which there are few."""
    means = [None, *(group for group, members in groups.items() if set(few) & set(members))] if few else []
    return {
        metric if one is None else f"{metric}/{one}" for metric in conversion.RANKED for one in (*few, *means)
    }


def scarce(labels: np.ndarray, users: np.ndarray, steps: Sequence[str]) -> tuple[str, ...]:
    """The steps whose label is 1, or 0, for effectively fewer than `conversion.MIN_USERS` users; see `compare`."""
    rarer = (
        min(conversion.effective(np.bincount(users[labels[:, number] == value])) for value in (0, 1))
        for number in range(len(steps))
    )
    return tuple(step for step, count in zip(steps, rarer) if count < conversion.MIN_USERS)


def resampled(users: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """The units of the exposures `[N]`, and their weights `[1 + R, U]`: all 1, then those of resamples.

    Args:
      users, seed, resamples: see `compare`; R is 0 for a single user.
    """
    rng = np.random.default_rng(seed)
    units = int(users.max()) + 1
    if units > MAX_UNITS:
        users, units = (rng.permutation(units) % MAX_UNITS)[users], MAX_UNITS
    weights = np.ones((1, units))
    if units > 1:
        drawn = rng.multinomial(units, np.full(units, 1 / units), size=resamples)
        weights = np.concatenate([weights, drawn])
    return users, weights


def measured(
    probabilities: np.ndarray,
    labels: np.ndarray,
    users: np.ndarray,
    steps: Sequence[str],
    weights: np.ndarray,
    chain: bool = True,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, np.ndarray]:
    """Metrics of one run, by name: `[1 + R]` each, of which the estimate, exact, comes first.

    Args:
      probabilities, labels, users, steps, chain, groups: see `compare`; probabilities are `[N, T]`.
      weights: `[1 + R, U]` of `resampled`.
    """
    found: dict[str, np.ndarray] = {}
    for number, step in enumerate(steps):
        known = labels[:, number] >= 0
        score = probabilities[known, number].astype(np.float64)
        label, unit = labels[known, number], users[known]
        loss = conversion.log_losses(score, label)
        cells = np.unique(score, return_inverse=True)[1]
        whole = conversion.count(np.zeros(len(score), np.int64), cells, label, score, loss, units_count=1)
        exact = conversion.measure(whole, np.ones((1, 1))).metrics
        coarse = conversion.calibration_bins(np.bincount(cells), _CELLS)[cells]
        counts = conversion.count(unit, coarse, label, score, loss, units_count=weights.shape[1])
        coarse_metrics = conversion.measure(counts, weights).metrics
        for metric in _METRICS:
            # What the cells cost is taken off.
            shift = exact[metric][0] - coarse_metrics[metric][0]
            found[f"{metric}/{step}"] = coarse_metrics[metric] + shift
    order = list(spec.conversion_metrics(steps, chain))
    for metric in [metric for metric in order if metric in _METRICS]:
        found[metric] = _mean_over(found, metric, steps)
        for group, members in (groups or {}).items():
            order.append(f"{metric}/{group}")
            found[order[-1]] = _mean_over(found, metric, members)
    if spec.CHAIN_VIOLATIONS in order:
        violated = conversion.chain_violated(probabilities).astype(np.float64)
        violations, examples = (np.bincount(users, w, minlength=weights.shape[1]) for w in (violated, None))
        found[spec.CHAIN_VIOLATIONS] = (weights @ violations) / (weights @ examples)
    return {name: found[name] for name in order if name in found}


def _mean_over(found: Mapping[str, np.ndarray], metric: str, steps: Sequence[str]) -> np.ndarray:
    return np.mean([found[f"{metric}/{step}"] for step in steps], axis=0)


def _test(samples: np.ndarray) -> tuple[float, float, float, float]:
    """The estimate (the first sample), the bounds of its interval, and p: `[1 + R]`, R may be 0."""
    value, resampled = float(samples[0]), samples[1:]
    defined = resampled[np.isfinite(resampled)]
    # Resamples without a positive have no value; where they are most, there is no interval.
    if not np.isfinite(value) or not len(defined) or len(defined) < len(resampled) / 2:
        return value, np.nan, np.nan, np.nan
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    side = min((defined <= 0).sum(), (defined >= 0).sum())
    return value, float(low), float(high), min(1.0, 2 * (1 + side) / (1 + len(defined)))
