"""Tests for benchmarks.training."""

import numpy as np
import pytest

from benchmarks import training

# Three users, four items; the last user's own is not in the catalogue.
_META = {"held_out": [2, 0, -1]}
_USERS, _ITEMS = np.array([0, 1]), np.array([3, 1])


def test_seen_items_are_left_out_and_ties_count_against_the_model():
    scores = np.array([[0.5, 0.1, 0.5, 0.9], [0.2, 0.9, 0.1, 0.1], [1.0, 1.0, 1.0, 1.0]])
    found = training.quality(scores, _META, _USERS, _ITEMS)
    # The first is second of what is unseen, by a tie; the second is first; the third is missed.
    assert found["hr@10"] == pytest.approx(2 / 3)
    assert found["ndcg@10"] == pytest.approx((1 / np.log2(3) + 1) / 3)


def test_scores_that_are_no_numbers_are_not_ranked():
    scores = np.zeros([3, 4])
    scores[1] = np.nan
    with pytest.raises(training.Unavailable, match="1 of 3 users have scores that are no numbers"):
        training.quality(scores, _META, _USERS, _ITEMS)
