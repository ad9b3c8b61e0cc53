"""Ranks against counting by hand."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from serving import catalogue


def by_hand(scores, target, excluded):
    """One row, item after item."""
    if target < 0 or target in excluded:
        return len(scores) + 1
    rank = 1
    for item, score in enumerate(scores):
        if item == target or item in excluded:
            continue
        rank += not score < scores[target]
    return rank


@pytest.mark.parametrize("seed", range(3))
def test_rank_equals_counting(seed):
    rng = np.random.default_rng(seed)
    # Few distinct values: there are ties everywhere.
    scores = rng.integers(0, 5, [40, 12]).astype(np.float32)
    target = rng.integers(-1, 12, 40)
    excluded = rng.integers(-1, 12, [40, 4])
    found = catalogue.rank_of_target(tf.constant(scores), tf.constant(target), tf.constant(excluded))
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, [by_hand(*row) for row in zip(scores, target, excluded)])
    found = catalogue.rank_of_target(tf.constant(scores), tf.constant(target))
    np.testing.assert_array_equal(found, [by_hand(*row, ()) for row in zip(scores, target)])


def test_a_constant_or_broken_model_ranks_last():
    target = tf.constant([0, 4], tf.int64)
    np.testing.assert_array_equal(catalogue.rank_of_target(tf.zeros([2, 5]), target), [5, 5])
    broken = tf.constant([[np.nan, 1, 2, 3, 4], [9, np.nan, np.nan, 0, 1]], tf.float32)
    np.testing.assert_array_equal(catalogue.rank_of_target(broken, target), [5, 4])


def test_popularity_rank_is_the_place_in_the_catalogue():
    target = tf.constant([0, 3, -1, 3], tf.int64)
    np.testing.assert_array_equal(catalogue.popularity_rank(6, target), [1, 4, 7, 4])
    excluded = tf.constant([[1, 2], [0, 5], [0, 1], [3, -1]], tf.int64)
    np.testing.assert_array_equal(catalogue.popularity_rank(6, target, excluded), [1, 3, 7, 7])
    scores = tf.tile(-tf.range(6, dtype=tf.float32)[tf.newaxis], [4, 1])
    np.testing.assert_array_equal(
        catalogue.popularity_rank(6, target, excluded), catalogue.rank_of_target(scores, target, excluded)
    )


def test_own_items_by_hand():
    """History a b a c b (rows 3 7 3 0 7), an unknown one and padding: 7 and 3 twice, 7 later; 0 once."""
    history = tf.constant([[-2, -2, 3, 7, 3, -1, 0, 7]] * 8, tf.int64)
    #                       own         own own others: 1, 2, 4 .. by count, without the own ones
    target = tf.constant([7, 3, 0, 1, 2, 4, 8, -1], tf.int64)
    frequent, latest = catalogue.own_ranks(10, target, history)
    assert frequent.dtype == latest.dtype == tf.int64
    np.testing.assert_array_equal(frequent, [1, 2, 3, 4, 5, 6, 9, 11])
    np.testing.assert_array_equal(latest, [1, 3, 2, 4, 5, 6, 9, 11])
    # Nothing that is known: the list is that of all items.
    for found in catalogue.own_ranks(10, target, tf.fill([8, 3], tf.constant(-2, tf.int64))):
        np.testing.assert_array_equal(found, catalogue.popularity_rank(10, target))


def test_own_items_equal_a_list_made_row_by_row():
    rng = np.random.default_rng(0)
    history, target = rng.integers(-2, 12, [200, 9]), rng.integers(-1, 12, 200)
    found = catalogue.own_ranks(12, tf.constant(target), tf.constant(history))
    for row, (items, wanted) in enumerate(zip(history.tolist(), target.tolist())):
        known = [item for item in items if item >= 0]
        place = {item: at for at, item in enumerate(known)}
        by_count = sorted(place, key=lambda item: (-known.count(item), -place[item]))
        by_time = sorted(place, key=lambda item: -place[item])
        for ranks, own in zip(found, (by_count, by_time)):
            whole = own + [item for item in range(12) if item not in place]
            assert ranks[row] == (1 + whole.index(wanted) if wanted >= 0 else 13)


def test_candidates_are_what_is_ranked():
    target = tf.constant([0, 3, -1, 3], tf.int64)
    np.testing.assert_array_equal(catalogue.candidates(6, target), [6, 6, 6, 6])
    # Unknown items are not left out.
    excluded = tf.constant([[1, 2], [0, -2], [0, 1], [3, -1]], tf.int64)
    found = catalogue.candidates(6, target, excluded)
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, [4, 5, 4, 5])
    # So the last place of a known target is that of a model that knows nothing.
    last = catalogue.rank_of_target(tf.zeros([4, 6]), target, excluded)
    np.testing.assert_array_equal(found.numpy()[:2], last.numpy()[:2])
    # A target that is left out stands behind the whole catalogue, not in a place that tells it.
    np.testing.assert_array_equal(last.numpy()[2:], [7, 7])


def test_leave_out_ignores_negative_rows():
    found = catalogue.leave_out(tf.zeros([1, 3]), tf.constant([[-1, 2, 2]], tf.int64)).numpy()
    np.testing.assert_array_equal(found, [[0, 0, -np.inf]])


class Table:
    """A model that is a table of item vectors `[N, D]`; counts how often a chunk was asked for."""

    def __init__(self, vectors, off=0.0):
        self.vectors = tf.constant(vectors)
        self.chunks = 0
        self.off = off

    def shared_scores(self, query, rows):
        # `off` stands for a kernel that sums in another order than the one that makes chunks.
        return tf.matmul(query, tf.gather(self.vectors, rows) + self.off, transpose_b=True)

    def scores(self, embedding, first=0, count=None):
        self.chunks += 1
        vectors = self.vectors if count is None else tf.slice(self.vectors, [first, 0], [count, -1])
        return tf.matmul(embedding, vectors, transpose_b=True)


SMALL = catalogue._SMALLEST


def batch(rng, rows, size, seen):
    """Targets and rows to leave out, with unknown ones, repeats, padding, and targets among them."""
    target = rng.integers(-1, size, rows)
    excluded = rng.integers(-1, size, [rows, seen])
    excluded[:, -1] = excluded[:, 0]
    excluded[::2, 1] = target[::2]
    excluded[1, :] = -1
    return tf.constant(target), tf.constant(excluded)


def exact(rng, *shape):
    """Small whole numbers: their products are exact, in whatever order a machine's kernels sum them."""
    return rng.integers(-99, 100, shape).astype(np.float32)


def vectors(kind, rng, size, dim):
    if kind == "random":
        return exact(rng, size, dim)
    if kind == "equal":
        return np.tile(exact(rng, 1, dim), [size, 1])
    if kind == "few":
        # 7 different ones, of which each is in each chunk.
        return exact(rng, 7, dim)[rng.integers(0, 7, size)]
    broken = exact(rng, size, dim)
    broken[::5] = np.nan
    broken[1::5, 0] = np.inf
    return broken


@pytest.mark.parametrize("kind", ["random", "equal", "few", "broken"])
@pytest.mark.parametrize("dim", [1, 50, 64])
def test_ranks_in_chunks_equal_those_in_one(kind, dim):
    rng = np.random.default_rng(dim)
    # The last chunk is not whole.
    size, rows = 5 * SMALL + 7, 33
    model = Table(vectors(kind, rng, size, dim))
    embedding = tf.constant(exact(rng, rows, dim))
    target, excluded = batch(rng, rows, size, 40)
    in_chunks = tf.function(lambda *args: catalogue.full_rank(model, embedding, size, *args, at_once=1))
    for without in (None, excluded):
        whole = catalogue.rank_of_target(model.scores(embedding), target, without)
        np.testing.assert_array_equal(in_chunks(target, without), whole)
        np.testing.assert_array_equal(catalogue.full_rank(model, embedding, size, target, without), whole)
    if kind == "equal":
        known = (target.numpy() >= 0) & (excluded.numpy() != target.numpy()[:, np.newaxis]).all(axis=1)
        left = [size - len({*e[e >= 0]}) for e in excluded.numpy()]
        np.testing.assert_array_equal(whole.numpy()[known], np.array(left)[known])


@pytest.mark.parametrize("kind", ["random", "few", "broken"])
def test_rank_among_what_was_not_met_by_leaving_the_rest_out(kind):
    """In one pass what two rankings give, in a graph of chunks and in one piece; a target that was met is ranked."""
    rng = np.random.default_rng(3)
    size, rows = 5 * SMALL + 7, 33
    model = Table(vectors(kind, rng, size, 50))
    embedding = tf.constant(exact(rng, rows, 50))
    target = rng.integers(-1, size, rows)
    seen = np.stack([rng.permutation(size)[:400] for _ in range(rows)])
    seen[::2, 5:] = -1
    # A third has met the target.
    seen = np.where(seen == target[:, np.newaxis], -1, seen)
    seen[::3, 0] = target[::3]
    scores = model.scores(embedding)
    whole, expected = (
        catalogue.rank_of_target(scores, tf.constant(target), excluded)
        for excluded in (None, tf.constant(np.where(seen == target[:, np.newaxis], -1, seen)))
    )
    # Who is left out there is where who beats none is; here such a target is behind those that were not met.
    own = np.take_along_axis(scores.numpy(), np.maximum(target, 0)[:, np.newaxis], 1)[:, 0]
    broken = (target >= 0) & ~(own > -np.inf)
    others = ((seen >= 0) & (seen != target[:, np.newaxis])).sum(axis=1)
    expected = np.where(broken, size - others, expected)
    assert broken.any() == (kind == "broken") and (whole.numpy() != expected).sum() > 9
    for at_once in (1, catalogue.AT_ONCE):
        ranked = functools.partial(catalogue.full_and_unmet_rank, model, embedding, size, at_once=at_once)
        for both in (ranked, tf.function(ranked)):
            found = both(target=tf.constant(target), seen=tf.constant(seen))
            np.testing.assert_array_equal(found, [whole, expected])


def test_ranks_of_a_large_catalogue():
    rng = np.random.default_rng(0)
    size, rows = 300_001, 16
    model = Table(vectors("random", rng, size, 64))
    # Near the targets' own vectors, so that high ranks and near ties are among them.
    target, excluded = batch(rng, rows, size, 200)
    embedding = tf.gather(model.vectors, tf.maximum(target, 0)) + exact(rng, rows, 64)
    whole = catalogue.rank_of_target(model.scores(embedding), target, excluded)
    for at_once in (1, 1_000_000, catalogue.AT_ONCE):
        found = catalogue.full_rank(model, embedding, size, target, excluded, at_once=at_once)
        np.testing.assert_array_equal(found, whole)


def test_a_target_is_compared_by_its_score_in_its_chunk():
    rng = np.random.default_rng(1)
    size, rows = 3 * SMALL, 9
    embedding = tf.constant(rng.normal(size=[rows, 8]).astype(np.float32))
    target, excluded = batch(rng, rows, size, 5)
    exact, rough = (Table(vectors("few", np.random.default_rng(1), size, 8), off) for off in (0.0, 1e-3))
    whole = catalogue.rank_of_target(exact.scores(embedding), target, excluded)
    for model, passes in ((exact, 1), (rough, 2)):
        model.chunks = 0
        found = catalogue.full_rank(model, embedding, size, target, excluded, at_once=1)
        np.testing.assert_array_equal(found, whole)
        assert model.chunks == 3 * passes


@pytest.mark.parametrize("kind", ["random", "equal", "few"])
def test_best_in_chunks_equal_those_in_one(kind):
    rng = np.random.default_rng(2)
    size, rows = 4 * SMALL + 3, 11
    model = Table(vectors(kind, rng, size, 16))
    embedding = tf.constant(exact(rng, rows, 16))
    _, excluded = batch(rng, rows, size, 30)
    in_chunks = tf.function(lambda k: catalogue.best(model, embedding, size, k, excluded, at_once=1))
    scores = catalogue.leave_out(model.scores(embedding), excluded)
    for k in (0, 1, 10, SMALL + 5, size):
        found, items = (value.numpy() for value in in_chunks(tf.constant(k)))
        whole, rows_of = (value.numpy() for value in tf.math.top_k(scores, k))
        np.testing.assert_array_equal(found, whole)
        there = whole > -np.inf
        np.testing.assert_array_equal(items[there], rows_of[there])


def test_an_empty_batch_has_no_ranks():
    model, nothing = Table(np.zeros([5 * SMALL, 2], np.float32)), tf.zeros([0, 2])
    target, excluded = tf.zeros([0], tf.int64), tf.zeros([0, 3], tf.int64)
    for at_once in (1, catalogue.AT_ONCE):
        assert catalogue.full_rank(model, nothing, 5 * SMALL, target, excluded, at_once=at_once).shape == (0,)
