"""Metrics of ranks, by hand."""

import math

import numpy as np
import pytest

from schemas import ranks


def test_values_by_hand():
    found = ranks.values(np.array([1, 3, 11, np.inf]), [1, 10])
    half = 1 / math.log2(4)
    expected = [[1, 1, 1, 1, 1], [0, 1, 0, half, 1 / 3], [0, 0, 0, 0, 1 / 11], [0, 0, 0, 0, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_rank_beyond_the_catalogue_is_a_miss_at_any_cutoff():
    size = 3
    assert [bool(ranks.hit(rank, 10, size)) for rank in (1, 3, ranks.miss(size))] == [True, True, False]
    found = ranks.values(ranks.or_infinite(np.array([3, ranks.miss(size)]), size), [10])
    assert found[0].tolist() == [1, 0.5, 1 / 3] and found[1].tolist() == [0, 0, 0]
    # Of a model that tells no size.
    assert ranks.or_infinite(5, np.inf) == 5


def _set_by_hand(found, cutoff):
    hits = [rank for rank in found if rank <= cutoff]
    most = min(cutoff, len(found))
    ideal = sum(1 / math.log2(1 + place) for place in range(1, most + 1))
    return len(hits) / len(found), len(hits) / most, sum(1 / math.log2(1 + rank) for rank in hits) / ideal


def test_metrics_of_a_set_equal_the_definitions():
    rng = np.random.default_rng(0)
    for number in (1, 2, 7, 30):
        found = rng.permutation(40)[:number] + 1.0
        found[rng.random(number) < 0.2] = np.inf
        for order in (found, found[::-1]):
            values = ranks.set_values(order, [1, 5, 10]).reshape(3, 3)
            expected = [_set_by_hand(found.tolist(), cutoff) for cutoff in (1, 5, 10)]
            np.testing.assert_allclose(values.T, expected)


def test_of_one_item_they_are_those_of_a_next_item():
    for rank in (1.0, 4.0, 11.0, np.inf):
        recall, capped, ndcg = ranks.set_values(np.array([rank]), [10])
        hit, gain, _ = ranks.values(np.array([rank]), [10])[0]
        assert recall == capped == hit and ndcg == pytest.approx(gain)


def test_many_sets_have_the_values_of_each():
    rng = np.random.default_rng(1)
    rows = [np.where(rng.random(n) < 0.3, np.inf, rng.integers(1, 20, n)) for n in (1, 4, 2, 7)]
    padded = np.full([4, 7], np.nan)
    for row, found in zip(padded, rows):
        row[: len(found)] = found
    expected = [ranks.set_values(found, [1, 5, 10]) for found in rows]
    # Where there is nothing may be anywhere.
    np.testing.assert_allclose(ranks.values_of_sets(padded[:, ::-1], [1, 5, 10]), expected)
