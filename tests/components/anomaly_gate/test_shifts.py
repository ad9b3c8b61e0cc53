"""The tests behind the AnomalyGate on simulated windows: how often they err, and what they find."""

import numpy as np
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.anomaly_gate import shifts

BOUND, RATE = 0.2, 0.01


def of_counts(counts, users=None):
    """A sample of values `v0`, `v1` .. with these counts."""
    total = int(np.sum(counts))
    shares = {f"v{n}": count / total for n, count in enumerate(counts) if count}
    return shifts.Sample(shares, None, total, users or total)


def of_numbers(values, users=None):
    """As TFDV: ten bins between the deciles."""
    bounds = np.quantile(values, np.linspace(0, 1, 11))
    return shifts.Sample({}, (bounds, np.full(10, len(values) / 10)), len(values), users or len(values))


def rejected(p, q, n, m, runs, seed=0, rate=RATE):
    """How often samples of n and m windows with these shares of values are found to differ by more."""
    rng = np.random.default_rng(seed)
    found = [
        shifts.between(of_counts(a), of_counts(b), BOUND).p < rate
        for a, b in zip(rng.multinomial(n, p, runs), rng.multinomial(m, q, runs))
    ]
    return np.mean(found)


@pytest.mark.parametrize(
    "n, m", [(14, 2000), (50, 2000), (50, 50), (200, 1000), (1000, 1000), (20_000, 5000)]
)
@pytest.mark.parametrize("low", [0.02, 0.35])
def test_the_error_rate_of_one_value_is_the_stated_one(n, m, low):
    """At the bound itself, where most errors are made."""
    rng = np.random.default_rng(n + m)
    rate, runs = 0.05, 20_000
    p, q = rng.binomial(n, low + BOUND, runs) / n, rng.binomial(m, low, runs) / m
    found = np.mean(shifts.margin_p_values(p, q, np.full(runs, n), np.full(runs, m), BOUND) < rate)
    assert found < rate + 0.006
    # Few windows take few steps, and the half of one that is taken off them errs on the safe side.
    assert found > (0.5 * rate if min(n, m) >= 200 else 0.1 * rate)


@pytest.mark.parametrize("n", [5, 14, 30, 100, 1000])
@pytest.mark.parametrize("values", [2, 5, 30, 3000])
def test_equal_windows_are_rarely_found_to_differ(n, values):
    """The case that stopped small logs: a small split against training, of behaviours or of many ids."""
    shares = 1.0 / (1 + np.arange(values))
    shares /= shares.sum()
    assert rejected(shares, shares, n, 2000, 300 if values < 100 else 60) <= RATE


def test_bare_distances_would_stop_small_splits():
    """Why there is a test: at 14 windows half of equal splits are further apart than the bound."""
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.3, 0.2])
    far = [
        shifts.between(of_counts(a), of_counts(b), BOUND).distance > BOUND
        for a, b in zip(rng.multinomial(14, shares, 300), rng.multinomial(2000, shares, 300))
    ]
    assert np.mean(far) > 0.1


@pytest.mark.parametrize(
    "n, p, q, least",
    [
        (14, [0.05, 0.95], [0.95, 0.05], 0.99),
        (50, [0.2, 0.8], [0.8, 0.2], 0.9),
        (200, [0.3, 0.7], [0.7, 0.3], 0.9),
        (1000, [0.2, 0.8], [0.5, 0.5], 0.95),
        # A new value that takes a half of all, among many ids.
        (100, [0.5, *np.full(500, 0.001)], [0.0, *np.full(500, 0.002)], 0.9),
    ],
)
def test_real_shifts_are_found(n, p, q, least):
    assert rejected(p, q, n, 2000, 100) >= least


def test_what_differs_is_named():
    found = shifts.between(of_counts([80, 15, 5]), of_counts([200, 600, 200]), BOUND)
    assert found.value == "v0" and found.shares == (0.8, 0.2) and found.distance == pytest.approx(0.6)
    assert found.p < 1e-6
    # Nothing is beyond the bound: the largest difference.
    near = shifts.between(of_counts([50, 50]), of_counts([500, 400, 100]), BOUND)
    assert near.distance == pytest.approx(0.1) and near.p > 0.5


def test_users_are_what_is_independent():
    """Ten windows of each user are no more than one."""
    a, b = [800, 200], [1000, 1000]
    every = shifts.between(of_counts(a), of_counts(b), BOUND)
    few = shifts.between(of_counts(a, users=20), of_counts(b, users=40), BOUND)
    assert every.p < 1e-6 and few.p > 0.1 and few.distance == every.distance


@pytest.mark.parametrize("n", [14, 50, 300, 3000])
def test_equal_numbers_are_rarely_found_to_differ(n):
    rng = np.random.default_rng(n)
    train = of_numbers(rng.lognormal(size=5000))
    found = [shifts.between(of_numbers(rng.lognormal(size=n)), train, BOUND).p < RATE for _ in range(300)]
    assert np.mean(found) <= 2 * RATE


@pytest.mark.parametrize("n, shift", [(50, 3.0), (300, 2.0), (3000, 1.5)])
def test_shifted_numbers_are_found(n, shift):
    rng = np.random.default_rng(n)
    train = of_numbers(rng.normal(size=5000))
    found = [shifts.between(of_numbers(shift + rng.normal(size=n)), train, BOUND).p < RATE for _ in range(50)]
    assert np.mean(found) >= 0.95


def test_many_equal_numbers_are_no_shift():
    """A price that is mostly 0, and an outlier."""
    rng = np.random.default_rng(0)
    price = np.where(rng.random(5000) < 0.6, 0.0, rng.lognormal(size=5000))
    train, other = of_numbers(np.append(price, 1e9)), of_numbers(price[:700])
    assert shifts.between(other, train, BOUND).distance < 0.02
    assert shifts.between(train, other, BOUND).distance < 0.02
    free = of_numbers(np.zeros(700))
    assert shifts.between(free, train, BOUND).p < RATE


def test_divergence_by_hand():
    """Halves and quarters of two bins, and nothing in common."""
    a = shifts.Sample({}, (np.array([0.0, 1.0, 2.0]), np.array([5, 5])), 10, 10)
    b = shifts.Sample({}, (np.array([0.0, 1.0, 2.0]), np.array([1, 3])), 4, 4)
    expected = 0.5 * (0.5 * np.log2(0.5 / 0.375) + 0.5 * np.log2(0.5 / 0.625))
    expected += 0.5 * (0.25 * np.log2(0.25 / 0.375) + 0.75 * np.log2(0.75 / 0.625))
    assert shifts.between(a, b, BOUND).distance == pytest.approx(expected)
    far = shifts.Sample({}, (np.array([7.0, 8.0]), np.array([4])), 4, 4)
    assert shifts.between(a, far, BOUND).distance == pytest.approx(1.0)
    # Bins of other widths; and one number, which is a half of a's range.
    wide = shifts.Sample({}, (np.array([0.0, 2.0]), np.array([8])), 8, 8)
    assert shifts.between(a, wide, BOUND).distance == pytest.approx(0.0)
    one = shifts.Sample({}, (np.array([1.0, 1.0]), np.array([9])), 9, 9)
    assert shifts.between(one, one, BOUND).distance == 0 and shifts.between(a, one, BOUND).distance > 0.3


def without(share, windows, most=None):
    """Of numbers that are alike, and missing from this share of the windows."""
    values = np.arange(round(windows * (1 - share)), dtype=float) % 10
    histogram = of_numbers(values).histogram if len(values) else None
    return shifts.Sample({}, histogram, len(values), len(values), (share, most or share), windows)


@pytest.mark.parametrize("gone", [1.0, 0.99, 0.6])
def test_what_is_missing_differs(gone):
    for a, b in ((without(gone, 200), without(0.02, 2000)), (without(0.0, 2000), without(gone, 200))):
        found = shifts.between(a, b, BOUND)
        assert found.p < RATE and found.value is None
        assert found.shares == (a.missing[0], b.missing[0]) and found.users == (a.all_users, b.all_users)
    # Chance explains it, or it is within the bound, or it is not known.
    assert shifts.between(without(0.6, 5), without(0.2, 2000), BOUND).p > RATE
    assert shifts.between(without(0.2, 2000), without(0.02, 2000), BOUND).p > 0.5
    assert shifts.between(without(0.25, 2000), without(0.0, 2000, most=0.1), BOUND).distance < BOUND
    assert shifts.between(without(1.0, 200), without(1.0, 2000), BOUND).distance == 0


def test_equal_shares_of_missing_values_are_rarely_found_to_differ():
    rng = np.random.default_rng(0)
    few, many = rng.binomial(50, 0.5, 300) / 50, rng.binomial(2000, 0.5, 300) / 2000
    found = [shifts.between(without(a, 50), without(b, 2000), BOUND).p < RATE for a, b in zip(few, many)]
    assert np.mean(found) <= RATE


def test_nothing_is_said_of_nothing():
    empty = shifts.Sample({}, None, 0, 0)
    assert shifts.between(empty, of_counts([1, 2]), BOUND) is None
    assert shifts.between(of_numbers(np.arange(9.0)), of_counts([1, 2]), BOUND) is None


def test_samples_of_statistics():
    """Shares are of all values, also of those that are too rare to be listed; users are counted."""
    listed = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = listed.datasets.add(num_examples=10)
    for name, present, values, unique in (("user_id", 10, 10, 4), ("item_id", 8, 40, 30)):
        feature = dataset.features.add()
        feature.path.step.append(name)
        feature.string_stats.unique = unique
        feature.string_stats.common_stats.num_non_missing = present
        feature.string_stats.common_stats.tot_num_values = values
        feature.string_stats.common_stats.max_num_values = values // 10
    histogram = feature.string_stats.rank_histogram
    histogram.buckets.add(low_rank=0, high_rank=0, label="a", sample_count=10)
    histogram.buckets.add(low_rank=1, high_rank=1, label="b", sample_count=2)
    found = shifts.samples(listed)
    missing = pytest.approx((0.2, 0.2))
    assert found["item_id"] == shifts.Sample({"a": 0.25, "b": 0.05}, None, 8, 4, missing, 4)
    assert found["user_id"].users == 4 and found["user_id"].missing == (0, 0)
    assert shifts.samples(listed, ["gone"])["gone"].missing == (1, 1)
