"""Paired comparison of two models on the same users: an interval and a p value of the difference.

A user's windows are not independent of each other, so that users are the units of both: the
interval is a percentile bootstrap over users (Efron and Tibshirani, 1993, ch. 13), the p value a
randomisation test that swaps the two models user by user, which is what the null hypothesis
leaves open (Fisher's sign-flip test; Smucker et al., CIKM 2007, for ranking metrics).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

RESAMPLES = 10_000
# More users are put together at random to so many groups: their sums are as independent as the
# users, and the spread of a mean over 5,000 of them is known to 1 %.
MAX_UNITS = 5_000
LEVEL = 0.95
# Values of one chunk of resamples: they stay in a core's cache, in half of the time of larger ones.
_CHUNK = 1 << 18
# Two sums of the same numbers in another order are equal but for rounding.
_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Paired:
    """The mean over windows of a difference, by metric (each field `[M]` float64).

    Attributes:
      difference: the mean.
      low, high: bounds of its 95 % interval; not a number for fewer than two users.
      p: two-sided p value of the hypothesis that swapping the models of a user changes nothing.
      exact: whether `p` comes from all assignments rather than from a sample.
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    exact: bool


def compare(differences: np.ndarray, users: np.ndarray, seed: int = 0, resamples: int = RESAMPLES) -> Paired:
    """Compares two models.

    Args:
      differences: `[W, M]`, of window and metric.
      users: `[W]` int, codes 0..U-1 of the windows' users, each of which occurs.
      seed: of the resamples; the same seed gives the same numbers.
      resamples: of the bootstrap, and of the randomisation unless all assignments are fewer.

    Raises:
      ValueError: if there is no window.
    """
    if not len(differences):
        raise ValueError("there is nothing to compare: no window")
    rng = np.random.default_rng(seed)
    units = int(users.max()) + 1
    if units > MAX_UNITS:
        users, units = (rng.permutation(units) % MAX_UNITS)[users], MAX_UNITS
    counts = np.bincount(users, minlength=units).astype(np.float64)
    sums = np.stack([np.bincount(users, column, minlength=units) for column in differences.T], axis=1)
    mean = sums.sum(axis=0) / counts.sum()
    low, high = _interval(sums, counts, rng, resamples)
    p, exact = _p_value(sums, rng, resamples)
    return Paired(mean, low, high, p, exact)


def _interval(
    sums: np.ndarray, counts: np.ndarray, rng: np.random.Generator, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the mean over resamples of the users: `[U, M]`, `[U]` to `[M]`, `[M]`."""
    units, metrics = sums.shape
    if units < 2:
        nothing = np.full(metrics, np.nan)
        return nothing, nothing
    both = np.concatenate([sums, counts[:, None]], axis=1)
    means = []
    for size in _chunks(resamples, units):
        drawn = rng.integers(0, units, (size, units)) + units * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
        totals = weights.astype(np.float64) @ both
        # The number of windows differs between resamples, as it would between samples of users.
        means.append(totals[:, :-1] / totals[:, -1:])
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def _p_value(sums: np.ndarray, rng: np.random.Generator, resamples: int) -> tuple[np.ndarray, bool]:
    """How often swaps give a sum at least as far from zero: `[U, M]` to `[M]`, and whether of all swaps."""
    units, metrics = sums.shape
    # A swap of all users mirrors the sum: the first one may stay.
    exact = units <= resamples.bit_length()
    found = np.abs(sums.sum(axis=0)) - _TOLERANCE * np.abs(sums).sum(axis=0)
    extreme = np.zeros(metrics)
    total = 2 ** (units - 1) if exact else resamples
    done = 0
    for size in _chunks(total, units):
        if exact:
            numbers = np.arange(done, done + size)[:, None]
            flips = (numbers >> np.maximum(np.arange(units) - 1, 0)) & (np.arange(units) > 0)
        else:
            packed = rng.integers(0, 256, (size, -(-units // 8)), dtype=np.uint8)
            flips = np.unpackbits(packed, axis=1, count=units)
        totals = (1.0 - 2.0 * flips) @ sums
        extreme += (np.abs(totals) >= found).sum(axis=0)
        done += size
    # A sample has the assignment that was found as one more (Phipson and Smyth, 2010).
    return (extreme / total if exact else (extreme + 1) / (total + 1)), exact


def _chunks(total: int, units: int) -> Iterator[int]:
    size = max(1, _CHUNK // max(units, 1))
    for start in range(0, total, size):
        yield min(size, total - start)
