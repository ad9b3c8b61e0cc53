"""Comparisons of models of users' embeddings: the agreement of neighbours, paired by window."""

import types

import numpy as np
import pandas as pd
import pytest

from pipeline.comparing import user_embedding
from schemas import embeddings, errors, names
from tests import uninformative


def tables(seed=0, rows=80):
    """What follows is of one of four groups; B embeds by the group, and A by chance."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 4, rows)
    following = [list(10 * group + rng.integers(0, 5, 3)) for group in groups]
    vectors = rng.normal(size=[rows, 4]), np.eye(4)[groups] + 0.05 * rng.normal(size=[rows, 4])
    return [
        pd.DataFrame({names.EMBEDDING: [row.tolist() for row in one], names.FOLLOWING: following})
        for one in vectors
    ]


def test_rows_are_means_over_the_chosen_windows_and_their_difference():
    found, users = tables(), np.arange(80)
    measured, notes = user_embedding.measure([], found, 1, users, seed=1)
    chosen = np.arange(80) < 60
    (row,) = measured.rows(chosen)
    sets = [np.array(each) for each in found[0][names.FOLLOWING][:60]]
    a, b = (
        embeddings.Agreements(
            np.array(table[names.EMBEDDING].to_list())[:60], users[:60], sets
        ).nearest.mean()
        for table in found
    )
    assert row.metric == "neighbor_agreement" and not notes
    assert row.a == pytest.approx(a, rel=1e-4) and row.b == pytest.approx(b, rel=1e-4)
    assert row.difference == pytest.approx(b - a, rel=1e-3) and 0 < row.low < row.difference < row.high
    assert row.p < 0.01 and row.a_sd is None


def test_models_that_tell_nothing_are_rarely_shown_to_differ():
    """Their vectors have a direction in common, so that some users are near to all others."""
    told = 0
    for seed in range(40):
        of_both = [uninformative.embeddings(1000 * seed + model) for model in (1, 2)]
        users, following = np.arange(len(of_both[0][0])), [one.tolist() for one in of_both[0][2]]
        found = [
            pd.DataFrame({names.EMBEDDING: [row.tolist() for row in one[1]], names.FOLLOWING: following})
            for one in of_both
        ]
        (row,) = user_embedding.measure([], found, 1, users, seed)[0].rows(np.ones(len(users), bool))
        told += row.p < 0.05
        assert (row.low > 0 or row.high < 0) == (row.p < 0.05) or 0.04 < row.p < 0.06
    # By a sign flip over whose neighbours they are, twelve of them.
    assert told <= 4


def test_there_is_nothing_to_say_of_one_user():
    measured, _ = user_embedding.measure([], tables(), 1, np.arange(80) // 40, seed=1)
    (row,) = measured.rows(np.arange(80) < 40)
    # As on any other slice, so that a page has a place for it.
    assert row.metric == embeddings.AGREEMENT and (row.a, row.difference, row.p) == (None, None, None)


def test_few_users_tell_no_difference():
    """With two, all resamples that have a pair have the same one."""
    for users in (2, 3, 9, 10):
        measured, _ = user_embedding.measure([], tables(), 1, np.arange(80) % users, seed=1)
        (row,) = measured.rows(np.ones(80, bool))
        assert row.difference is not None
        assert ((row.low, row.high, row.p) == (None, None, 1.0)) == (users < 10)


def test_windows_of_one_user_are_refused():
    run = types.SimpleNamespace(folder="runs/a")
    with pytest.raises(errors.InputError, match="runs/a: .* fewer than two users"):
        user_embedding.measure([run], tables(), 1, np.zeros(80, np.int64), seed=1)


def test_windows_that_other_items_follow_are_refused_and_drawing_is_told(monkeypatch):
    one, other = tables()
    users, runs = np.arange(80) % 20, [types.SimpleNamespace(folder=name) for name in "ab"]
    assert user_embedding.measure(runs, [one, other], 1, users, 0)[1] == ()
    # The same items in another order are the same.
    turned = other.assign(**{names.FOLLOWING: other[names.FOLLOWING].map(lambda found: found[::-1])})
    assert user_embedding.measure(runs, [one, turned], 1, users, 0)[1] == ()
    monkeypatch.setattr(embeddings, "MOST", 50)
    (note,) = user_embedding.measure(runs, [one, other], 1, users, 0)[1]
    assert note.startswith("Of 80 windows 50 are drawn")
    longer = other.assign(**{names.FOLLOWING: [[*found, 99] for found in other[names.FOLLOWING]]})
    with pytest.raises(errors.InputError, match="b: other items follow 80 of 80 windows than in a"):
        user_embedding.measure(runs, [one, longer], 1, users, 0)
