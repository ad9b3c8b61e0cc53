"""The inverted file against a search of everything."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from serving import catalogue, export, ivf, search, sets
from tests import fixtures
from trainer.models import scoring

SIZE, DIM = 600, 8


class Table(scoring.DotProduct, tf.Module):
    """Scores by a table."""

    def __init__(self, vectors):
        super().__init__()
        self.table = tf.Variable(vectors)

    def item_table(self):
        return self.table


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(1)
    middles = rng.normal(size=(12, DIM))
    vectors = middles[rng.integers(12, size=SIZE)] + 0.3 * rng.normal(size=(SIZE, DIM))
    return Table((vectors * rng.lognormal(0, 0.5, (SIZE, 1))).astype(np.float32))


@pytest.fixture(scope="module")
def lists(model):
    return ivf.divide(model.table.numpy(), 25)


@pytest.fixture(scope="module")
def queries():
    return tf.constant(np.random.default_rng(2).normal(size=(40, DIM)).astype(np.float32))


def nothing(queries):
    return tf.zeros([len(queries), 0], tf.int64)


def test_each_item_is_in_one_list_and_no_list_is_long(lists):
    rows = lists.rows[lists.rows >= 0]
    assert sorted(rows) == list(range(SIZE))
    assert lists.rows.shape[1] <= 1.5 * SIZE / 25 + 1
    assert ((lists.rows >= 0).sum(axis=1) > 0).all()


def test_items_alike_are_divided_too():
    lists = ivf.divide(np.ones([100, 4], np.float32), 10)
    assert sorted(lists.rows[lists.rows >= 0]) == list(range(100)) and lists.rows.shape[1] <= 15
    with pytest.raises(ValueError, match="1 to 100 lists, found 101"):
        ivf.divide(np.ones([100, 4], np.float32), 101)


def test_all_lists_are_the_whole_catalogue(model, lists, queries):
    index, excluded = ivf.Index(lists, len(lists.rows)), np.arange(80).reshape(40, 2)
    excluded[::3] = -1
    scores, rows = index.best(model, queries, SIZE, tf.constant(7), tf.constant(excluded))
    expected_scores, expected = catalogue.best(model, queries, SIZE, tf.constant(7), tf.constant(excluded))
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5)
    target = tf.constant(np.random.default_rng(3).integers(-1, SIZE, 40))
    np.testing.assert_array_equal(
        index.rank(model, queries, SIZE, target, tf.constant(excluded)),
        catalogue.full_rank(model, queries, SIZE, target, tf.constant(excluded)),
    )
    seen = tf.where(tf.constant(excluded) % 3 == 0, target[:, tf.newaxis], tf.constant(excluded))[:, :1]
    found = index.rank_and_unmet(model, queries, SIZE, target, seen)
    expected = catalogue.full_and_unmet_rank(model, queries, SIZE, target, seen)
    np.testing.assert_array_equal(found, expected)
    assert (expected[0] != expected[1]).numpy().any()


@pytest.mark.parametrize("probes", [3, 8])
def test_the_best_of_the_lists_that_are_probed_without_what_is_left_out(model, lists, queries, probes):
    """By brute force in NumPy."""
    vectors = model.table.numpy()
    rng = np.random.default_rng(probes)
    excluded = rng.integers(-1, SIZE, [40, 30])
    k, target = 5, rng.integers(-1, SIZE, 40)
    index = ivf.Index(lists, probes)
    scores, rows = index.best(model, queries, SIZE, tf.constant(k), tf.constant(excluded))
    ranks = index.rank(model, queries, SIZE, tf.constant(target), tf.constant(excluded)).numpy()
    ranked = 0
    for number, query in enumerate(queries.numpy()):
        nearest = np.argsort(-(lists.centres @ query), kind="stable")[:probes]
        left = np.setdiff1d(lists.rows[nearest].ravel(), [-1, *excluded[number]])
        order = left[np.argsort(-(vectors[left] @ query), kind="stable")]
        assert rows.numpy()[number].tolist() == order[:k].tolist()
        np.testing.assert_allclose(scores[number], vectors[order[:k]] @ query, rtol=1e-4)
        found = np.flatnonzero(order == target[number])
        assert ranks[number] == (found[0] + 1 if len(found) else SIZE + 1)
        ranked += len(found)
    assert 0 < ranked < 40


def test_where_the_lists_have_too_few_items_all_are_searched_for_that_query_alone(model, lists, queries):
    index = ivf.Index(lists, 1)
    for k, excluded in ((300, nothing(queries)), (5, nothing(queries))):
        scores, rows = index.best(model, queries, SIZE, tf.constant(k), excluded)
        whole = catalogue.best(model, queries, SIZE, tf.constant(k), excluded)
        assert np.isfinite(scores.numpy()).all()
        few = 0
        for number, query in enumerate(queries.numpy()):
            probed = lists.rows[np.argmax(lists.centres @ query)]
            if (probed >= 0).sum() < k:
                np.testing.assert_array_equal(rows[number], whole[1][number])
                few += 1
            else:
                assert set(rows[number].numpy()) <= set(probed)
        assert few == 40 if k == 300 else 0 < few < 40


@pytest.mark.parametrize("probes", [1, 2])
def test_ranks_are_those_of_what_is_recommended_also_where_the_lists_have_too_few_items(
    model, lists, queries, probes
):
    """Every other user has seen all but six items of the lists that are probed."""
    index, k = ivf.Index(lists, probes), tf.constant(search.DEFAULT_K)
    excluded = np.full([40, index.probes * lists.rows.shape[1]], -1)
    for number, query in enumerate(queries.numpy()[::2]):
        probed = lists.rows[np.argsort(-(lists.centres @ query), kind="stable")[:probes]]
        met = probed[probed >= 0][6:]
        excluded[2 * number, : len(met)] = met
    excluded = tf.constant(excluded)
    best = tf.cast(index.best(model, queries, SIZE, k, excluded)[1], tf.int64)
    exact = catalogue.best(model, queries, SIZE, k, excluded)[1]
    np.testing.assert_array_equal(best[::2], exact[::2])
    assert (best.numpy()[1::2] != exact.numpy()[1::2]).any()
    places = np.tile(np.arange(1, search.DEFAULT_K + 1), [40, 1])
    np.testing.assert_array_equal(index.ranks(model, queries, SIZE, best, excluded), places)
    np.testing.assert_array_equal(index.rank(model, queries, SIZE, best[:, 2], excluded), places[:, 2])
    # What is not given does not stand among what is.
    others = np.stack([np.setdiff1d(np.arange(SIZE), row) for row in best.numpy()])
    ranks = index.ranks(model, queries, SIZE, tf.constant(others), excluded).numpy()
    assert ranks.min() > search.DEFAULT_K


def test_all_items_are_ranked_for_those_queries_alone_that_need_it(model, lists, queries, monkeypatch):
    index, targets = ivf.Index(lists, 6), tf.constant(np.tile(np.arange(3), [40, 1]))
    excluded = np.full([40, SIZE], -1)
    excluded[5, : SIZE - 6] = np.arange(SIZE - 6)
    asked, whole = [], sets.full_ranks

    def counted(model, query, *args):
        asked.append(len(query))
        return whole(model, query, *args)

    monkeypatch.setattr(sets, "full_ranks", counted)
    ranks = index.ranks(model, queries, SIZE, targets, tf.constant(excluded)).numpy()
    assert asked == [1]
    for row in (4, 5, 6):
        one = index.ranks(
            model, queries[row : row + 1], SIZE, targets[row : row + 1], tf.constant(excluded[row : row + 1])
        )
        np.testing.assert_array_equal(one[0], ranks[row])


def test_what_others_want_changes_no_answer(model, lists, queries):
    """A query that wants few is not searched for exactly since one beside it wants many."""
    index = ivf.Index(lists, 1)
    _, alone = index.best(model, queries, SIZE, tf.constant(5), nothing(queries))
    wanted = tf.where(tf.range(40) % 2 == 0, 5, 300)
    _, beside = index.best(model, queries, SIZE, tf.constant(300), nothing(queries), wanted)
    np.testing.assert_array_equal(beside[::2, :5], alone[::2])
    whole = catalogue.best(model, queries, SIZE, tf.constant(300), nothing(queries))[1]
    np.testing.assert_array_equal(beside[1::2], whole[1::2])
    assert (beside[::2, :5] != whole[::2, :5]).numpy().any()


def test_left_out_items_are_given_to_nobody_even_if_few_are_left(model, lists, queries):
    excluded = np.full([40, SIZE], -1)
    excluded[7, : SIZE - 6] = np.arange(SIZE - 6)
    rows = ivf.Index(lists, 2).best(model, queries, SIZE, tf.constant(6), tf.constant(excluded))[1].numpy()
    assert sorted(rows[7]) == list(range(SIZE - 6, SIZE))


def test_vectors_of_all_lengths_are_found_where_their_dot_product_is_large(model, lists, queries):
    """Long vectors win dot products: a search that went by angles alone would miss them."""
    exact = catalogue.best(model, queries, SIZE, tf.constant(10), nothing(queries))[1].numpy()
    found = ivf.Index(lists, 8).best(model, queries, SIZE, tf.constant(10), nothing(queries))[1].numpy()
    recall = (exact[:, :, None] == found[:, None, :]).any(axis=2).mean()
    # A third of the lists, drawn at random, would have a third of the items.
    assert recall > 0.9


def test_a_served_model_recommends_and_is_measured_by_what_it_finds(tmp_path):
    """Through a SavedModel: nothing excluded is given, and a target that is not found is a miss."""
    size = 60
    windows = fixtures.random_windows(120, size)
    output = fixtures.build_transform_output(str(tmp_path), windows)
    toy = fixtures.ToyModel(size)
    vectors = toy.item_table().numpy()
    index = ivf.Index(ivf.divide(vectors, 4), 2)
    folder = str(tmp_path / "model")
    export.export_model(toy, output, folder, objective="ranking", exclude_seen=False, index=index)
    served = tf.saved_model.load(folder).signatures
    serialized = tf.constant([fixtures.serialize(window) for window in windows])
    features = served["transform_features"](serialized)
    query = toy.query(features)
    ids = [line.decode() for line in output.vocabulary_by_name(names.ITEM_VOCABULARY)]
    target = tf.constant([ids.index(window[names.TARGET_ITEM_ID]) for window in windows], tf.int64)
    ranks = served["evaluate"](serialized)[names.RANK].numpy()
    np.testing.assert_array_equal(ranks, index.rank(toy, query, size, target))
    assert (ranks == size + 1).any() and (ranks < size).any()

    found = served["serving_default"](serialized)[names.ITEM_ID].numpy()
    _, rows = index.best(toy, query, size, tf.constant(10), nothing(query))
    assert [[item.decode() for item in row] for row in found] == [
        [ids[row] for row in best] for best in rows.numpy()
    ]
    # The target is among the ten where its rank says so.
    wanted = [window[names.TARGET_ITEM_ID].encode() for window in windows]
    assert [item in row for item, row in zip(wanted, found)] == (ranks <= 10).tolist()
