"""Expectations over draws of negatives: against draws, by hand and against scipy."""

import numpy as np
from scipy import stats

from components.evaluator import ranks as rank_metrics
from components.evaluator import sampled, spec

CUTOFFS = (1, 5, 10)


def expected(ranks, candidates, negatives, cutoffs=CUTOFFS):
    ranks, candidates = np.asarray(ranks), np.asarray(candidates)
    # In the full ranking the target is behind what the user has met, which is no negative.
    values = rank_metrics.metric_values(ranks + 3, cutoffs, negatives, (ranks, candidates))
    np.testing.assert_array_equal(
        values[:, : len(spec.ranking_metrics(cutoffs))], rank_metrics.metric_values(ranks + 3, cutoffs)
    )
    return values[:, len(spec.ranking_metrics(cutoffs)) :]


def test_equals_the_mean_of_draws():
    """Draws the negatives item by item, as papers do."""
    rng = np.random.default_rng(3)
    draws, negatives = 20_000, 12
    for rank, candidates in ((1, 60), (2, 60), (7, 25), (30, 200), (190, 200), (14, 14)):
        ahead = np.arange(candidates - 1) < rank - 1
        order = rng.permuted(np.tile(ahead, (draws, 1)), axis=1)
        drawn = rank_metrics.metric_values(1 + order[:, :negatives].sum(axis=1), CUTOFFS)
        error = drawn.std(axis=0, ddof=1) / np.sqrt(draws)
        found = expected([rank], [candidates], negatives)[0]
        # What never came up in all draws has no spread, and is rarer than 5 / draws.
        np.testing.assert_array_less(np.abs(found - drawn.mean(axis=0)), 4 * error + 5 / draws)


def test_by_hand():
    # Three candidates, one negative: the second of three meets the better one in every second draw.
    found = expected([1, 2, 3], [3, 3, 3], 1, cutoffs=(1, 2))
    half = 1 / np.log2(3)
    np.testing.assert_allclose(
        found,
        [
            [1, 1, 1, 1, 1],
            [1 / 2, 1, 1 / 2, (1 + half) / 2, 3 / 4],
            [0, 1, 0, half, 1 / 2],
        ],
        rtol=1e-12,
        atol=1e-15,
    )
    # Two of four others are better, two are drawn: none, one or both with 1/6, 4/6, 1/6.
    found = expected([3], [5], 2, cutoffs=(1, 2))[0]
    np.testing.assert_allclose(
        found, [1 / 6, 5 / 6, 1 / 6, (1 + 4 * half) / 6, (1 + 4 / 2 + 1 / 3) / 6], rtol=1e-12
    )


def test_equals_scipy():
    rng = np.random.default_rng(0)
    candidates = rng.integers(101, 5000, 300)
    ranks = 1 + rng.integers(0, candidates)
    found = expected(ranks, candidates, 99)
    for column, k in enumerate(CUTOFFS):
        np.testing.assert_allclose(
            found[:, column], stats.hypergeom.cdf(k - 1, candidates - 1, ranks - 1, 99), rtol=1e-8, atol=1e-12
        )
    chances = stats.hypergeom.pmf(np.arange(100), (candidates - 1)[:, None], (ranks - 1)[:, None], 99)
    np.testing.assert_allclose(found[:, -1], chances @ (1 / np.arange(1.0, 101)), rtol=1e-8)


def test_the_first_stays_the_first():
    np.testing.assert_array_equal(expected([1] * 4, [2, 100, 101, 10**9], 99), 1.0)


def test_few_candidates_are_all_negatives():
    ranks = np.arange(1, 101)
    np.testing.assert_array_equal(
        expected(ranks, [100] * 100, 99), rank_metrics.metric_values(ranks, CUTOFFS)
    )
    np.testing.assert_array_equal(
        expected(ranks, [100] * 100, 150), rank_metrics.metric_values(ranks, CUTOFFS)
    )
    # One more candidate than that: the last one is left out of every hundredth draw.
    found = expected([2], [101], 99, cutoffs=(1,))[0]
    np.testing.assert_allclose(found[0], 0.01, rtol=1e-12)


def test_a_target_outside_the_catalogue_is_a_miss():
    np.testing.assert_array_equal(expected([np.inf] * 3, [500, 1, 0], 99), 0.0)


def test_a_rank_behind_the_last_candidate_counts_as_the_last():
    """A score that is no number ranks behind items that were left out."""
    np.testing.assert_array_equal(expected([450], [400], 99), expected([400], [400], 99))


def test_probabilities_of_huge_catalogues():
    """They sum to one and have the mean n a / N, to nearly all digits."""
    others = np.array([1e7, 1e7, 1e9, 3e9])
    ahead = np.array([3.0, 5e6, 2e7, 3e9 - 1])
    found = sampled._probabilities(ahead, others, 99)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-11)
    np.testing.assert_allclose(found @ np.arange(100.0), 99 * ahead / others, rtol=1e-10)


def test_worse_ranks_and_more_negatives_are_never_better():
    by_rank = expected(np.arange(1, 301), [300] * 300, 99)
    assert (np.diff(by_rank, axis=0) <= 1e-12).all()
    by_number = np.stack([expected([20, 150], [300, 300], n) for n in (1, 5, 50, 200, 298, 299)])
    assert (np.diff(by_number, axis=0) <= 1e-12).all()
    np.testing.assert_allclose(by_number[-1], rank_metrics.metric_values(np.array([20, 150]), CUTOFFS))


def test_chunks_change_nothing(monkeypatch):
    ranks, candidates = np.arange(1, 200), np.arange(1, 200) + 50
    whole = expected(ranks, candidates, 60)
    monkeypatch.setattr(sampled, "_CHUNK", 100)
    np.testing.assert_allclose(expected(ranks, candidates, 60), whole, rtol=1e-12)


def test_names_say_the_number():
    assert spec.ranking_metrics((5, 10), 99)[5:] == (
        "sampled99_hr@5",
        "sampled99_hr@10",
        "sampled99_ndcg@5",
        "sampled99_ndcg@10",
        "sampled99_mrr",
    )
    assert expected([], [], 99).shape == (0, 7)
