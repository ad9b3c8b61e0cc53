"""Ranks among candidates against sorting by hand, one window after the other."""

import numpy as np
import pytest
import tensorflow as tf

from serving import among as among_lib
from serving import catalogue, sets
from tests.serving.test_ivf import Table

SIZE, DIM, WINDOWS = 3000, 4, 9


@pytest.fixture(scope="module")
def drawn():
    """A model of small whole numbers, so that scores tie, candidate sets (one is empty), and what is asked of them."""
    rng = np.random.default_rng(0)
    model = Table(rng.integers(-2, 3, [SIZE, DIM]).astype(np.float32))
    query = tf.constant(rng.integers(-2, 3, [WINDOWS, DIM]).astype(np.float32))
    chosen = [rng.permutation(SIZE)[:count] for count in (40, 700, 0, 2999)]
    which = rng.integers(0, 4, WINDOWS)
    which[:4] = np.arange(4)
    targets = rng.integers(-1, SIZE, [WINDOWS, 6])
    # Most targets are candidates; some are left out as well.
    for row, place in enumerate(which):
        if len(chosen[place]):
            targets[row, 1:4] = rng.choice(chosen[place], 3)
    excluded = np.stack([rng.permutation(SIZE)[:300] for _ in range(WINDOWS)])
    excluded[:, :20] = -1
    excluded[:, 20] = np.where(np.isin(excluded, targets[:, 1:2]).any(axis=1), -1, targets[:, 1])
    return model, query, chosen, which, targets, excluded


def made(chosen, which):
    rows = np.full([len(chosen), max(map(len, chosen))], -1)
    for number, own in enumerate(chosen):
        rows[number, -len(own) or len(rows[number]) :] = own
    return among_lib.Among.of_rows(tf.constant(rows), tf.constant(which), SIZE)


def by_hand(scores, own, left_out, target):
    """The rank of a target among its own candidates; equal scores stand before it."""
    ranked = set(own.tolist()) - set(left_out.tolist())
    if target not in ranked:
        return SIZE + 1
    return sum(scores[item] >= scores[target] for item in ranked)


def expected(scores, drawn, excludes):
    _, _, chosen, which, targets, excluded = drawn
    nothing = np.zeros(0, np.int64)
    return [
        [
            by_hand(scores[row], chosen[which[row]], excluded[row] if excludes else nothing, target)
            for target in targets[row]
        ]
        for row in range(WINDOWS)
    ]


@pytest.mark.parametrize("at_once", [catalogue.AT_ONCE, 1], ids=["whole", "chunks of 1,000"])
@pytest.mark.parametrize("excludes", [False, True])
def test_ranks_are_among_the_candidates_of_the_window(drawn, excludes, at_once):
    model, query, chosen, which, targets, excluded = drawn
    given = tf.constant(excluded) if excludes else None

    @tf.function
    def ask():
        among = made(chosen, which)
        found = sets.full_ranks(model, query, SIZE, tf.constant(targets), given, at_once, among)
        single = [
            catalogue.full_rank(model, query, SIZE, tf.constant(targets[:, place]), given, at_once, among)
            for place in range(6)
        ]
        return found, tf.stack(single, axis=1)

    wanted = expected(model.scores(query).numpy(), drawn, excludes)
    for found in ask():
        np.testing.assert_array_equal(found, wanted)
    assert 0.2 < np.mean(np.array(wanted) > SIZE) < 0.8


@pytest.mark.parametrize("excludes", [False, True])
def test_popularity_is_among_the_same_candidates(drawn, excludes):
    _, _, chosen, which, targets, excluded = drawn
    given, among = tf.constant(excluded) if excludes else None, made(chosen, which)
    wanted = expected(np.tile(-np.arange(SIZE), [WINDOWS, 1]), drawn, excludes)
    np.testing.assert_array_equal(sets.popularity_ranks(SIZE, tf.constant(targets), given, among), wanted)
    single = [catalogue.popularity_rank(SIZE, tf.constant(targets[:, p]), given, among) for p in range(6)]
    np.testing.assert_array_equal(np.stack(single, axis=1), wanted)
    # Another list of the same items: by place, as of recent popularity.
    place = np.random.default_rng(4).permutation(SIZE)
    left_out = None if given is None else tf.where(given >= 0, tf.gather(place, tf.maximum(given, 0)), -1)
    moved = np.where(targets >= 0, place[targets], -1)
    again = sets.popularity_ranks(
        SIZE, tf.constant(moved), left_out, among.reordered(tf.constant(np.argsort(place)))
    )
    np.testing.assert_array_equal(again, expected(np.tile(-place, [WINDOWS, 1]), drawn, excludes))


def own_lists(history, own):
    """The candidates, the history's most frequent first, and its latest first; then by row."""
    met = [item for item in history if item >= 0]
    last = {item: place for place, item in enumerate(met)}
    frequent = sorted(own, key=lambda i: (-met.count(i), -last.get(i, -1) if i in last else 0, i))
    latest = sorted(own, key=lambda i: (-last.get(i, -1), i))
    return frequent, latest


def test_the_users_own_items_are_candidates_or_not_at_all():
    rng = np.random.default_rng(5)
    chosen = [rng.permutation(12)[:count] for count in (7, 4, 0)]
    which = rng.integers(0, 3, 40)
    history, targets = rng.integers(-2, 12, [40, 9]), rng.integers(-1, 12, [40, 4])
    rows = np.full([3, 7], -1)
    for number, own in enumerate(chosen):
        rows[number, : len(own)] = own
    among = among_lib.Among.of_rows(tf.constant(rows), tf.constant(which), 12)
    found = sets.own_ranks(12, tf.constant(targets), tf.constant(history), among)
    for row in range(40):
        lists = own_lists(history[row].tolist(), chosen[which[row]].tolist())
        for ranks, best in zip(found, lists):
            wanted = [best.index(t) + 1 if t in best else 13 for t in targets[row].tolist()]
            assert ranks[row].numpy().tolist() == wanted


def test_candidates_are_counted(drawn):
    _, _, chosen, which, targets, excluded = drawn
    among = made(chosen, which)
    sizes = [len(chosen[place]) for place in which]
    assert among.sizes().numpy().tolist() == sizes
    left = [len(set(chosen[p].tolist()) - set(row.tolist())) for p, row in zip(which, excluded)]
    found = catalogue.candidates(SIZE, tf.constant(targets[:, 0]), tf.constant(excluded), among)
    assert found.numpy().tolist() == left
    assert catalogue.candidates(SIZE, tf.constant(targets[:, 0]), None, among).numpy().tolist() == sizes


def test_the_whole_catalogue_as_candidates_changes_nothing(drawn):
    model, query, _, _, targets, excluded = drawn
    among = made([np.arange(SIZE)], np.zeros(WINDOWS, np.int64))
    given, wanted = tf.constant(excluded), tf.constant(targets)
    np.testing.assert_array_equal(
        sets.full_ranks(model, query, SIZE, wanted, given, among=among),
        sets.full_ranks(model, query, SIZE, wanted, given),
    )
    np.testing.assert_array_equal(
        sets.popularity_ranks(SIZE, wanted, given, among), sets.popularity_ranks(SIZE, wanted, given)
    )
