"""The statistics of a comparison: by hand, against SciPy, and by simulation."""

import itertools

import numpy as np
import pytest
import scipy.stats

from pipeline.comparing import paired


def one_window_each(values):
    values = np.asarray(values, np.float64)
    return values[:, None], np.arange(len(values))


def test_p_value_by_hand():
    """Sums of +-1 +-2 +-3: 6 and -6 are as far from zero as what was found, of 8."""
    found = paired.compare(*one_window_each([1, 2, 3]))
    assert found.exact and found.difference[0] == 2 and found.p[0] == 2 / 8
    # +-1 +-1 +-2 with 1 + 1 - 2 = 0: everything is at least as far.
    assert paired.compare(*one_window_each([1, 1, -2])).p[0] == 1
    # 3 - 1 = 2: of 4, -4, 2, -2 all are.
    assert paired.compare(*one_window_each([3, -1])).p[0] == 1


def test_exact_p_value_equals_scipy_on_sums_of_users():
    rng = np.random.default_rng(3)
    users = np.sort(np.concatenate([np.arange(9), rng.integers(0, 9, 40)]))
    differences = rng.normal(0.3, 1, (len(users), 2))
    found = paired.compare(differences, users)
    for metric in range(2):
        sums = np.array([differences[users == user, metric].sum() for user in range(9)])
        expected = scipy.stats.permutation_test(
            (sums, np.zeros(9)), lambda a, b: np.sum(a - b), permutation_type="samples", n_resamples=np.inf
        )
        assert found.exact and found.p[metric] == pytest.approx(expected.pvalue)


def test_sampled_p_value_is_near_the_exact_one():
    rng = np.random.default_rng(1)
    values = rng.normal(0.6, 1, 13)
    exact = paired.compare(*one_window_each(values))
    sampled = paired.compare(*one_window_each(values), resamples=4000)
    assert exact.exact and not sampled.exact
    assert sampled.p[0] == pytest.approx(exact.p[0], abs=4 * np.sqrt(exact.p[0] / 4000))


def test_interval_is_near_scipys_bootstrap_and_the_t_interval():
    values = np.random.default_rng(2).normal(0.1, 1, 400)
    found = paired.compare(*one_window_each(values))
    assert not found.exact
    other = scipy.stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", random_state=0)
    student = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    for expected in (other.confidence_interval, student):
        assert found.low[0] == pytest.approx(expected.low, abs=0.006)
        assert found.high[0] == pytest.approx(expected.high, abs=0.006)
    assert found.p[0] == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=0.02)


def simulated(runs, shift, seed, users=120):
    """Comparisons of models on users with 1 to 8 windows that share what the user is like."""
    rng = np.random.default_rng(seed)
    for number in range(runs):
        sizes = rng.integers(1, 9, users)
        codes = np.repeat(np.arange(users), sizes)
        of_user = rng.normal(0, 1, users)
        differences = shift + of_user[codes] + rng.normal(0, 0.5, len(codes))
        yield paired.compare(differences[:, None], codes, seed=number, resamples=1000), differences, codes


def test_interval_covers_the_truth_19_times_of_20():
    found = [result for result, _, _ in simulated(600, 0.3, seed=5)]
    covered = np.mean([result.low[0] <= 0.3 <= result.high[0] for result in found])
    # Three standard errors of a share of 600; resampling windows instead covers about 0.66.
    assert 0.92 < covered < 0.977


def test_p_is_uniform_when_the_models_are_equal():
    p = [result.p[0] for result, _, _ in simulated(600, 0.0, seed=6)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.08


def test_windows_of_a_user_do_not_count_as_independent():
    """A t test over windows is sure of differences that are not there; ours is not."""
    naive = [scipy.stats.ttest_1samp(d, 0).pvalue < 0.05 for _, d, _ in simulated(200, 0.0, seed=7)]
    assert np.mean(naive) > 0.2


def test_a_difference_is_found():
    p = [result.p[0] for result, _, _ in simulated(50, 0.5, seed=8)]
    assert np.mean(np.array(p) < 0.05) > 0.9


def test_equal_models_have_no_difference():
    found = paired.compare(np.zeros((500, 2)), np.arange(500))
    for part in (found.difference, found.low, found.high):
        assert (part == 0).all()
    assert (found.p == 1).all()


def test_rounding_hides_no_tie():
    """In tenths the swaps that give the same sum differ in the last bit; they count as in whole numbers."""
    whole = (3, 1, 2, 3, -2, -1, 7, -4)
    signs = np.array(list(itertools.product((1, -1), repeat=len(whole))))
    expected = np.mean(np.abs(signs @ whole) >= abs(sum(whole)))
    assert expected < 1
    assert paired.compare(*one_window_each(np.array(whole) / 10)).p[0] == expected


def test_one_user_has_no_interval():
    found = paired.compare(np.ones((3, 1)), np.zeros(3, np.int64))
    assert np.isnan(found.low).all() and np.isnan(found.high).all() and found.p[0] == 1
    with pytest.raises(ValueError, match="no window"):
        paired.compare(np.ones((0, 1)), np.zeros(0, np.int64))


def test_the_seed_decides():
    values = np.random.default_rng(0).normal(size=50)
    first, again, other = (paired.compare(*one_window_each(values), seed=seed) for seed in (1, 1, 2))
    assert first.low == again.low and first.p == again.p and first.low != other.low


def test_many_users_are_grouped():
    """20,000 users in 5,000 groups: the interval is still that of the users' spread."""
    values = np.random.default_rng(4).normal(0.01, 1, 20_000)
    found = paired.compare(*one_window_each(values), resamples=2000)
    student = scipy.stats.ttest_1samp(values, 0)
    width = student.confidence_interval().high - student.confidence_interval().low
    assert found.difference[0] == pytest.approx(values.mean())
    assert found.high[0] - found.low[0] == pytest.approx(width, rel=0.1)
    assert found.p[0] == pytest.approx(student.pvalue, abs=0.05)
