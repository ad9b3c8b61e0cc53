"""CARCA."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from schemas import errors, names
from serving import catalogue, retrieval
from tests.trainer.models import scene_harness as harness
from trainer import config
from trainer import retrieval as choosing
from trainer.layers import cross_attention
from trainer.models import scoring

SMALL = {
    "name": "carca",
    "dim": 8,
    "scene_dim": 4,
    "context_dim": 6,
    "blocks": 2,
    "heads": 2,
    "dropout": 0.0,
}


@pytest.mark.parametrize("residual", [True, False], ids=["residual", "plain"])
def test_carca(tmp_path, residual):
    values, loss = {**SMALL, "dropout": 0.1, "residual": residual}, {"name": "softmax"}
    harness.run_model_test(values, tmp_path, graphs=residual, loss=loss)


def test_two_replicas(monkeypatch):
    monkeypatch.setattr(harness, "build", functools.partial(harness.build, loss={"name": "softmax"}))
    harness.check_replicas({**SMALL, "blocks": 1})


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def dense(layer, x):
    kernel, bias = (variable.numpy().astype(np.float64) for variable in layer.variables)
    return x @ kernel + bias


@pytest.mark.parametrize("residual", [True, False], ids=["residual", "plain"])
def test_scores_equal_numpy(residual):
    """Each candidate for itself attends to the events of a history, without padding, and what it gets is scored."""
    model, features = harness.build({**SMALL, "residual": residual}), harness.batch(6)
    found = model.scores(model.query(features)).numpy()
    table = model._items.items().numpy().astype(np.float64)
    states = model.encode_positions(features).numpy().astype(np.float64)
    score = model._score.numpy().astype(np.float64)
    for row, index in enumerate(features[names.HISTORY_ITEM_INDEX].numpy()):
        profile = states[row][index != names.PADDING_INDEX]
        keys, values = leaky(dense(model._keys, profile)), leaky(dense(model._values, profile))
        for item in range(harness.SIZE):
            candidate = dense(model._token, np.concatenate([table[item] * 8**0.5, model._unknown.numpy()[0]]))
            query, heads = leaky(dense(model._asked, candidate)), []
            for head in (slice(0, 4), slice(4, 8)):
                share = np.exp(keys[:, head] @ query[head] / 2)
                heads.append(share / share.sum() @ values[:, head])
            attended = np.concatenate(heads) * (candidate if residual else 1)
            assert found[row, item] == pytest.approx((attended @ score)[0], rel=1e-3, abs=1e-5)


def test_an_event_is_its_item_beside_scene_hour_and_weekday():
    model, features = harness.build(SMALL), harness.batch(6)
    model._blocks, model._norm = [], lambda hidden: hidden
    index = [features[name].numpy() for name in model.inputs_read]
    item, scene = model._items.table.numpy()[index[0]], model._scene_table.table.numpy()[index[1]]
    context = (
        dense(model._of_scene, scene) + model._hours.numpy()[index[2]] + model._weekdays.numpy()[index[3]]
    )
    expected = dense(model._token, np.concatenate([item * 8**0.5, context], axis=2))
    real = index[0] != names.PADDING_INDEX
    np.testing.assert_allclose(
        model.encode_positions(features).numpy()[real], expected[real], rtol=1e-4, atol=1e-6
    )


def test_later_events_change_no_earlier_state():
    model, features = harness.build(SMALL), harness.batch(2)
    before = model.encode_positions(features).numpy()
    real = features[names.HISTORY_ITEM_INDEX].numpy() != names.PADDING_INDEX
    for changed in range(1, harness.LENGTH):
        later = tf.range(harness.LENGTH) >= changed
        for name in model.inputs_read:
            value = features[name]
            other = {**features, name: tf.where(later & (value != 0), 5 - value % 4, value)}
            after = model.encode_positions(other).numpy()
            np.testing.assert_array_equal(
                after[:, :changed][real[:, :changed]], before[:, :changed][real[:, :changed]]
            )
            assert np.abs(after[:, changed:] - before[:, changed:]).max() > 1e-5


def test_a_candidate_does_not_depend_on_others_and_chunks_change_nothing(monkeypatch):
    model, features = harness.build(SMALL), harness.batch(6)
    query = model.query(features)
    whole = model.scores(query).numpy()
    rows = tf.constant([9, 2, 2, 5])
    np.testing.assert_allclose(model.shared_scores(query, rows), whole[:, [9, 2, 2, 5]], rtol=1e-5, atol=1e-6)
    for row in range(harness.SIZE):
        np.testing.assert_allclose(model.scores(query, row, 1)[:, 0], whole[:, row], rtol=1e-5, atol=1e-6)
    # So little at once that candidates are taken three at a time, or one.
    scores = cross_attention.attended_scores
    for at_once in (3 * 5 * 2 * harness.LENGTH, 1):
        monkeypatch.setattr(cross_attention, "attended_scores", functools.partial(scores, at_once=at_once))
        np.testing.assert_allclose(model.scores(query), whole, rtol=1e-5, atol=1e-6)


def test_the_catalogue_kernel_ranks_by_it():
    model, features = harness.build(SMALL), harness.batch(6)
    query = catalogue.query(model, features)
    scores, target = model.scores(query).numpy(), np.arange(5)
    ranks = catalogue.full_rank(model, query, harness.SIZE, tf.constant(target))
    np.testing.assert_array_equal(ranks, (scores >= scores[np.arange(5), target][:, np.newaxis]).sum(axis=1))
    excluded = tf.fill([5, 0], tf.constant(0, tf.int64))
    _, best = catalogue.best(model, query, harness.SIZE, tf.constant(3), excluded)
    np.testing.assert_array_equal(best, np.argsort(-scores, axis=1)[:, :3])


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "bce"},
        {"name": "bce", "negatives": 2, "negative_sampling": "unmet"},
        {"name": "gbce", "negatives": 3},
        {"name": "sampled_softmax", "negatives": 4, "shared_negatives": True},
        {"name": "sampled_softmax", "negatives": 4, "negative_sampling": "popularity"},
        {"name": "period_bce", "negatives": 4},
        {"name": "period_softmax"},
    ],
    ids=lambda loss: "-".join(map(str, loss.values())),
)
def test_every_loss_trains_all_of_it(loss):
    model = harness.build(SMALL, loss=loss)
    (total, count), gradients = harness.loss_and_gradients(model, harness.batch(rows=40), training=True)
    assert float(count) == 40 and np.isfinite(float(total))
    for variable, gradient in zip(model.trainable_variables, gradients):
        assert float(tf.norm(gradient)) > 0 or "qkv/bias" in variable.name, variable.name


def test_its_default_loss_is_that_of_the_paper():
    assert config.TrainerSettings.from_values({"model": SMALL}).loss.name == "bce"


def test_it_is_no_dot_product_which_a_search_of_lists_would_need():
    model = harness.build(SMALL)
    assert not isinstance(model, scoring.DotProduct) and not model.settings.dot_products
    with pytest.raises(errors.InputError, match="dot products, found CARCA: use retrieval: {name: exact}"):
        choosing.choose(model, iter(()), retrieval.IVFSettings(name="ivf"))


def test_the_embedding_is_the_last_state():
    model, features = harness.build(SMALL), harness.batch(6)
    np.testing.assert_array_equal(model.encode(features), model.encode_positions(features)[:, -1])
