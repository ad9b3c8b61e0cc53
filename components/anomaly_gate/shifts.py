"""Whether two sets of windows differ by more than is allowed, and by more than chance explains.

A distance between samples is never 0: of 14 windows, a value that has a tenth of all is in four or more
with a probability of 4 %. What stops a run is therefore a test of "the populations differ by at most the
bound":

  values    the difference of the shares of one value (the largest is the L-infinity distance): a score test
            of a difference of proportions with a margin (Farrington and Manning, Statistics in Medicine 9,
            1990)
  numbers   the Jensen-Shannon divergence (in bits, 0 to 1) between the deciles of the second sample, by its
            first-order standard error and without its first-order bias
  missing   the difference of the shares that have no value, by the test of values; it is all that is left to
            compare where a feature has disappeared

What is independent are users, not the events of their windows, so that sizes are numbers of users. Values
that are rare on both sides (most ids) decide nothing by themselves: their shares cannot differ by the bound,
and a test of few windows does not find that they do. One run compares several features and splits; the
probability that any of them stops it although none differs by more than the bound is at most the error
rate: each comparison gets an equal part of it (Bonferroni), half of that for what is missing, and each value that
could differ by the bound an equal part of the other half.
"""

import dataclasses
import math
from collections.abc import Collection

import numpy as np
from scipy import stats
from tensorflow_metadata.proto.v0 import statistics_pb2

from schemas import names


@dataclasses.dataclass(frozen=True)
class Sample:
    """One feature of a set of windows.

    Attributes:
      shares: of each listed value among all values; rarer ones may be missing. Empty for numbers.
      histogram: of numbers, bounds and counts of adjacent bins, `[B + 1]` and `[B]`, which are about equally
        full; else None.
      windows: how many have a value of the feature.
      users: how many different users these windows have, as far as that is known: at most `windows`.
      missing: the share that has no value of the feature, at least and at most.
      all_users: as `users`, of windows with and without a value.
    """

    shares: dict[str, float]
    histogram: tuple[np.ndarray, np.ndarray] | None
    windows: int
    users: int
    missing: tuple[float, float] = (0.0, 0.0)
    all_users: int = 0


@dataclasses.dataclass(frozen=True)
class Shift:
    """What differs most between two samples.

    Attributes:
      distance: L-infinity, or the Jensen-Shannon divergence.
      p: of the test that the populations differ by at most the bound, after correction for the values.
      users: of both samples.
      value: whose shares differ; None for numbers, and for what is missing.
      shares: of it in both samples, or of what is missing; None for numbers.
    """

    distance: float
    p: float
    users: tuple[int, int]
    value: str | None = None
    shares: tuple[float, float] | None = None


def samples(
    listed: statistics_pb2.DatasetFeatureStatisticsList, wanted: Collection[str] = ()
) -> dict[str, Sample]:
    """The features of one set of windows, by name, from TFDV's statistics; one of `wanted` may be in no window."""
    (dataset,) = listed.datasets
    features = {
        feature.path.step[0] if feature.path.step else feature.name: feature for feature in dataset.features
    }
    users = features.get(names.USER_ID)
    different = users.string_stats.unique if users is not None else 0
    windows = int(dataset.num_examples)
    everyone = min(different, windows) if different else windows
    found = {name: _sample(feature, windows, everyone) for name, feature in features.items()}
    return {**{name: Sample({}, None, 0, 0, (1.0, 1.0), everyone) for name in wanted}, **found}


def _sample(feature: statistics_pb2.FeatureNameStatistics, all_windows: int, everyone: int) -> Sample:
    common = (
        feature.string_stats.common_stats
        if feature.HasField("string_stats")
        else feature.num_stats.common_stats
    )
    missing = _missing(feature, common, all_windows)
    windows = round(all_windows * (1 - missing[0]))
    users = min(everyone, windows)
    if not feature.HasField("string_stats"):
        return Sample({}, _histogram(feature.num_stats), windows, users, missing, everyone)
    total = float(common.tot_num_values or common.num_non_missing)
    counts = {
        bucket.label: bucket.sample_count
        for bucket in feature.string_stats.rank_histogram.buckets
        if bucket.low_rank == bucket.high_rank
    }
    shares = {value: count / total for value, count in counts.items()} if total else {}
    return Sample(shares, None, windows, users, missing, everyone)


def _missing(
    feature: statistics_pb2.FeatureNameStatistics, common: statistics_pb2.CommonStatistics, windows: int
) -> tuple[float, float]:
    """The share of the windows that have no value, or NaN in place of it, at least and at most."""
    if not windows:
        return 0.0, 0.0
    without = windows - float(common.num_non_missing)
    if common.max_num_values <= 1:
        least = most = without + common.num_non_missing - common.tot_num_values
    else:
        # Lists without values are counted, all of them, where they fill a bin: bins hold what is up to their bounds.
        sizes = common.num_values_histogram.buckets
        empty = sum(bucket.sample_count for bucket in sizes if bucket.high_value == 0)
        least = most = without + empty
        if sizes and not empty and common.min_num_values == 0:
            most += sizes[0].sample_count
    nan = max((found.num_nan for found in feature.num_stats.histograms), default=0)
    numbers = 1 - (nan / common.tot_num_values if common.tot_num_values else 0.0)
    least, most = (1 - (1 - count / windows) * numbers for count in (least, most))
    return max(0.0, least), min(1.0, most)


def _histogram(found: statistics_pb2.NumericStatistics) -> tuple[np.ndarray, np.ndarray] | None:
    for histogram in found.histograms:
        if histogram.type == statistics_pb2.Histogram.QUANTILES and histogram.buckets:
            edges = [histogram.buckets[0].low_value, *(bucket.high_value for bucket in histogram.buckets)]
            counts = np.array([bucket.sample_count for bucket in histogram.buckets])
            if np.isfinite(edges).all() and counts.sum() > 0:
                return np.array(edges), counts
    return None


def between(a: Sample, b: Sample, bound: float) -> Shift | None:
    """Tests whether two samples of a feature differ by more than the bound; None where nothing can be said."""
    found = []
    if a.users and b.users and a.histogram is not None and b.histogram is not None:
        found.append(_of_numbers(a, b, bound))
    elif a.users and b.users and a.shares and b.shares:
        found.append(_of_values(a, b, bound))
    if a.all_users and b.all_users and max(a.missing[1], b.missing[1]) > 0:
        found.append(_of_missing(a, b, bound))
    if not found:
        return None
    beyond = [shift for shift in found if shift.distance > bound]
    shown = min(beyond, key=lambda s: s.p) if beyond else max(found, key=lambda s: s.distance)
    return dataclasses.replace(shown, p=min(1.0, 2 * shown.p))


def _of_missing(a: Sample, b: Sample, bound: float) -> Shift:
    more, less = (a, b) if a.missing[0] >= b.missing[0] else (b, a)
    # As little as the shares can differ.
    p, q = more.missing[0], min(more.missing[0], less.missing[1])
    sizes = np.array([more.all_users]), np.array([less.all_users])
    (found,) = margin_p_values(np.array([p]), np.array([q]), *sizes, bound)
    return Shift(p - q, float(found), (a.all_users, b.all_users), shares=(p, q) if more is a else (q, p))


def _of_values(a: Sample, b: Sample, bound: float) -> Shift:
    values = sorted({*a.shares, *b.shares})
    p, q = (np.array([sample.shares.get(value, 0.0) for value in values]) for sample in (a, b))
    largest = int(np.argmax(np.abs(p - q)))
    found = np.minimum(1.0, margin_p_values(np.maximum(p, q), np.minimum(p, q), *_sizes(p, q, a, b), bound))
    # Differences of shares add up to two at most: so many values can differ by the bound.
    able = min(len(values), max(1, math.floor(2 / bound)))
    best = int(np.argmin(found))
    # The surest one, if it differs by more than the bound at all.
    shown = best if abs(p - q)[best] > bound else largest
    shares = float(p[shown]), float(q[shown])
    p_value = float(min(1.0, found[best] * able))
    return Shift(abs(shares[0] - shares[1]), p_value, (a.users, b.users), values[shown], shares)


def _sizes(p: np.ndarray, q: np.ndarray, a: Sample, b: Sample) -> tuple[np.ndarray, np.ndarray]:
    """The sizes of the sample in which each value is more frequent, and of the other."""
    more = p >= q
    return np.where(more, a.users, b.users), np.where(more, b.users, a.users)


def margin_p_values(p: np.ndarray, q: np.ndarray, n: np.ndarray, m: np.ndarray, margin: float) -> np.ndarray:
    """One-sided p values of "the proportion behind p exceeds that behind q by at most the margin".

    The standard error is that of the proportions that are likeliest if the difference is the margin: the one root
    of a cubic that makes both of them proportions.

    Args:
      p, q: observed, `[V]`.
      n, m: sizes of the samples behind p and q, `[V]`.
      margin: above 0.
    """
    theta = m / n
    a = 1 + theta
    b = -(1 + theta + p + theta * q + margin * (theta + 2))
    c = margin**2 + margin * (2 * p + theta + 1) + p + theta * q
    d = -p * margin * (1 + margin)
    v = b**3 / (3 * a) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    u = np.where(v >= 0, 1.0, -1.0) * np.sqrt(np.maximum(b**2 / (3 * a) ** 2 - c / (3 * a), 0))
    safe = np.where(u == 0, 1.0, u)
    w = (np.pi + np.arccos(np.clip(np.where(u == 0, 0.0, v / safe**3), -1, 1))) / 3
    likeliest = np.clip(2 * u * np.cos(w) - b / (3 * a), margin, 1.0)
    other = np.clip(likeliest - margin, 0.0, 1.0)
    variance = likeliest * (1 - likeliest) / n + other * (1 - other) / m
    # Half a window less of a difference, as for counts: few windows take few steps.
    steps = 0.5 / np.minimum(n, m)
    z = (p - q - margin - steps) / np.sqrt(np.maximum(variance, 1e-12))
    return stats.norm.sf(z)


def _of_numbers(a: Sample, b: Sample, bound: float) -> Shift:
    p, q = _aligned(a.histogram, b.histogram)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        to_p, to_q = (np.where(side > 0, np.log2(side / middle), 0.0) for side in (p, q))
    distance = float((p @ to_p + q @ to_q) / 2)
    variance = 0.0
    for share, log, size in ((p, to_p, a.users), (q, to_q, b.users)):
        variance += (share @ log**2 - (share @ log) ** 2) / 4 / size
    filled = int(np.count_nonzero(middle))
    bias = (filled - 1) / (8 * math.log(2)) * (1 / a.users + 1 / b.users)
    z = (distance - bias - bound) / math.sqrt(max(variance, 1e-12))
    return Shift(distance, float(stats.norm.sf(z)), (a.users, b.users))


def _aligned(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Two histograms as shares of b's bins, of which the first and the last one have no end.

    Bins of equal width would not do: one large number makes them so wide that most numbers are in one.
    """
    bounds = np.unique(b[0])
    bounds = bounds[:-1] if len(bounds) > 1 else bounds
    shares: list[np.ndarray] = []
    for edges, counts in (a, b):
        below = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
        # Where edges are equal, their number is that often: it is below what comes after it.
        known, last = np.unique(edges[::-1], return_index=True)
        at = np.interp(bounds, known, below[::-1][last], left=0.0, right=1.0)
        shares.append(np.diff(np.concatenate([[0.0], at, [1.0]])))
    return shares[0], shares[1]
