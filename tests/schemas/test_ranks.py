"""Metrics of ranks, by hand."""

import math

import numpy as np

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
