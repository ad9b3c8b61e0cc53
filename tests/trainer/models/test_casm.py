"""CASM."""

import dataclasses

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from schemas import errors, names
from tests.trainer.loops import test_fit
from tests.trainer.models import harness
from tests.trainer.models.test_ranking import labels_of
from trainer import config, registry
from trainer.loops import fit, tp
from trainer.losses import negatives as negatives_lib
from trainer.losses import ranking as losses_lib

SMALL = {"name": "casm", "dim": 8, "behavior_dim": 4, "blocks": 2, "heads": 2, "dropout": 0.1}


@pytest.mark.parametrize(
    "extra",
    [
        {"behavior_weights": {"view": 0.5, "buy": 2.0}},
        {"context": False, "heads": 1},
        {"behavior_weights": "learned"},
        {"candidates": "behaviors"},
    ],
    ids=["weights", "ablated", "learned", "candidates"],
)
def test_casm(tmp_path, extra):
    learned = extra.get("behavior_weights") == "learned"
    harness.run_model_test({**SMALL, **extra}, tmp_path, graphs=learned)


def test_two_replicas():
    harness.check_replicas({**SMALL, "blocks": 1, "behavior_weights": "learned"})


def target_behaviors(features):
    history, target = (
        features[names.HISTORY_BEHAVIOR_INDEX].numpy(),
        features[names.TARGET_BEHAVIOR_INDEX].numpy(),
    )
    return np.concatenate([history[:, 1:], target[:, None]], axis=1)


def losses_of(model, features):
    """Cross-entropy of each target in NumPy, `[B, L]`."""
    labels, _ = labels_of(features)
    logits = model.encode_positions(features).numpy().astype(np.float64) @ model.item_table().numpy().T
    true = np.take_along_axis(logits, np.maximum(labels, 0)[..., None], -1)[..., 0]
    return np.log(np.exp(logits).sum(-1)) - true


def test_it_begins_with_the_item_part_of_the_state():
    """Without blocks, the state is the normed input, of which the first places are the item's."""
    model, features = harness.build({**SMALL, "dropout": 0.0}), harness.batch(6)
    model._blocks = []
    kept, width = SMALL["dim"], SMALL["dim"] + SMALL["behavior_dim"]
    items = model._items(features[names.HISTORY_ITEM_INDEX]).numpy()
    behaviors = model._behaviors(features[names.HISTORY_BEHAVIOR_INDEX]).numpy()
    positions = model._positions.numpy()[-items.shape[1] :]
    state = np.concatenate([items, behaviors], axis=2) * width**0.5 + positions
    state = (state - state.mean(-1, keepdims=True)) / state.std(-1, keepdims=True)
    real = features[names.HISTORY_ITEM_INDEX].numpy() != names.PADDING_INDEX
    found = model.encode_positions(features).numpy()
    np.testing.assert_allclose(found[real], state[real][:, :kept], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize(
    "extra, view, buy",
    [
        ({}, 1.0, 1.0),
        ({"behavior_weights": {"view": 0.25}}, 0.25, 1.0),
        ({"target_behavior": "buy"}, 0.0, 1.0),
        ({"target_behavior": "buy", "behavior_weights": {"view": 0.5, "buy": 3.0}}, 0.5, 3.0),
    ],
)
def test_each_target_weighs_what_its_own_behaviour_does(extra, view, buy, static):
    model, features = harness.build({**SMALL, **extra}), harness.batch(6)
    model.static_shapes = static
    behaviors = target_behaviors(features)
    _, counted = labels_of(features)
    # "view" is the first of the vocabulary, "buy" the second.
    weights = np.where(behaviors == names.FIRST_INDEX, view, buy)
    total, count = model.summed_loss(features, training=False)
    assert float(total) == pytest.approx((weights * losses_of(model, features))[counted].sum(), rel=1e-4)
    assert float(count) == counted.sum()


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_learned_weights(static):
    """The value, and where it settles: exp(s) is the mean loss of the behaviour."""
    model, features = harness.build({**SMALL, "behavior_weights": "learned"}), harness.batch(6)
    model.static_shapes = static
    log_variances = next(v for v in model.trainable_variables if "log_variances" in v.name)
    log_variances.assign([0.7, -0.4])
    behaviors, losses = target_behaviors(features), losses_of(model, features)
    _, counted = labels_of(features)
    s = np.where(behaviors == names.FIRST_INDEX, 0.7, -0.4)
    with tf.GradientTape() as tape:
        total, count = model.summed_loss(features, training=False)
    assert float(total) == pytest.approx((np.exp(-s) * losses + s)[counted].sum(), rel=1e-4)
    assert float(count) == counted.sum()
    expected = [
        (1 - np.exp(-value) * losses[counted & (behaviors == names.FIRST_INDEX + n)]).sum()
        for n, value in enumerate((0.7, -0.4))
    ]
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(total, log_variances)), expected, rtol=1e-3)


class Drawn(negatives_lib.Sampler):
    """Rows 1 and 4 as negatives of each target, but where they are the target itself."""

    def draw(self, model, states, labels, negatives, counted=None):
        drawn = tf.tile(tf.constant([[1, 4]], tf.int64), [tf.shape(labels)[0], 1])
        drawn = tf.where(drawn == labels[:, None], (drawn + 1) % harness.SIZE, drawn)
        return negatives_lib.Sample(model.pair_scores(states, labels), model.pair_scores(states, drawn))


def bce_terms(positive, negative):
    """-log sigma(s) of the target, and -log(1 - sigma(s)) of both negatives, with the scores counted from log 1/2."""
    prior = np.log(0.5)
    return np.log1p(np.exp(-positive - prior)), np.log1p(np.exp(negative + prior)).sum(-1)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("weighted", ["both", "positives"])
@pytest.mark.parametrize("candidates", ["items", "behaviors"])
def test_bce_with_weights_and_candidates_of_a_behaviour(candidates, weighted, static):
    """By NumPy: a candidate is the token of its item with the behaviour of the target."""
    values = {"candidates": candidates, "weighted": weighted, "behavior_weights": {"view": 0.25, "buy": 2.0}}
    model = harness.build({**SMALL, "dropout": 0.0, **values}, loss={"name": "bce", "negatives": 2})
    model.training_loss = losses_lib.BCE(2, Drawn())
    model.static_shapes = static
    features, rng = harness.batch(6), np.random.default_rng(0)
    labels, counted = labels_of(features)
    behaviors = target_behaviors(features)
    table, states = model.item_table().numpy(), model.encode_positions(features).numpy()
    if candidates == "behaviors":
        model._token.bias.assign(rng.normal(size=SMALL["dim"]))
        states = model._hidden(features, False).numpy()
        kernel, bias = model._token.kernel.numpy(), model._token.bias.numpy()
        of_behaviors = model._behaviors(tf.constant(behaviors)).numpy()
    drawn = np.where(np.array([1, 4]) == labels[..., None], np.array([2, 5]), np.array([1, 4]))
    scored = np.concatenate([np.maximum(labels, 0)[..., None], drawn], axis=2)
    tokens = table[scored]
    if candidates == "behaviors":
        beside = np.repeat(of_behaviors[:, :, None], 3, axis=2)
        tokens = np.concatenate([tokens, beside], axis=3) @ kernel + bias
    scores = np.einsum("bld,blcd->blc", states.astype(np.float64), tokens)
    positive, negative = bce_terms(scores[..., 0], scores[..., 1:])
    alpha = np.where(behaviors == names.FIRST_INDEX, 0.25, 2.0)
    expected = alpha * positive + (alpha if weighted == "both" else 1.0) * negative
    total, count = model.summed_loss(features, training=False)
    assert float(count) == counted.sum()
    assert float(total) == pytest.approx(expected[counted].sum(), rel=1e-4)


def test_a_candidate_of_the_same_behaviour_as_all_others_is_ranked_by_its_item():
    model = harness.build({**SMALL, "dropout": 0.0, "candidates": "behaviors"})
    features = harness.batch(6)
    hidden = model._hidden(features, False).numpy()[:, -1]
    for behavior in (names.FIRST_INDEX, names.FIRST_INDEX + 1):
        beside = np.repeat(model._behaviors(tf.constant([behavior])).numpy(), harness.SIZE, axis=0)
        tokens = np.concatenate([model.item_table().numpy(), beside], axis=1) @ model._token.kernel.numpy()
        expected = hidden @ (tokens + model._token.bias.numpy()).T
        found = model.scores(model.query(features)).numpy()
        np.testing.assert_allclose(
            found - found.mean(1, keepdims=True), expected - expected.mean(1, keepdims=True), atol=1e-5
        )


def test_an_unknown_behaviour_has_weight_one_and_learns_nothing():
    model, features = harness.build({**SMALL, "behavior_weights": "learned"}), harness.batch(6)
    features[names.TARGET_BEHAVIOR_INDEX] = tf.constant([names.OOV_INDEX] * 5, tf.int64)
    np.testing.assert_array_equal(model.target_weights(features)[:, -1], np.ones(5))
    assert np.isfinite(float(model.summed_loss(features, training=False)[0]))


def test_behaviours_of_the_history_matter_only_with_context():
    features = harness.batch(6)
    other = dict(features)
    swapped = features[names.HISTORY_BEHAVIOR_INDEX].numpy()
    other[names.HISTORY_BEHAVIOR_INDEX] = tf.constant(np.where(swapped > 0, 5 - swapped, 0))
    with_context, without = harness.build(SMALL), harness.build({**SMALL, "context": False})
    assert np.abs(with_context.encode(other) - with_context.encode(features)).max() > 1e-4
    np.testing.assert_array_equal(without.encode(other), without.encode(features))


def build(catalogue, **extra):
    settings = config.TrainerSettings.from_values({"model": {**SMALL, **extra}}).model
    return registry.load("casm")(settings, catalogue)


@pytest.mark.parametrize(
    "extra, message",
    [
        (
            {"behavior_weights": {"cart": 1.0}},
            "behavior_weights: the training windows have no behaviour 'cart'; they have view, buy",
        ),
        (
            {"target_behavior": "cart"},
            "target_behavior: the training windows have no behaviour 'cart'; they have view, buy",
        ),
        ({"behavior_weights": {"view": 0, "buy": 0}}, r"each behaviour \(view, buy\) weighs 0"),
    ],
)
def test_names_that_the_training_windows_do_not_have(extra, message):
    with pytest.raises(errors.InputError, match=message):
        build(harness.catalogue(), **extra)


@pytest.mark.parametrize("loop", ["fit", "tp"])
def test_a_behaviour_that_no_target_has_leaves_nothing_to_learn(tmp_path, loop):
    """Buys come first in each history, or are of items that training does not know."""
    features = {**harness.batch(6, rows=60), names.TARGET_BEHAVIOR_INDEX: np.full(60, names.FIRST_INDEX)}
    index = features[names.HISTORY_ITEM_INDEX].numpy()
    first = np.cumsum(index != names.PADDING_INDEX, axis=1) == 1
    view, buy = names.FIRST_INDEX, names.FIRST_INDEX + 1
    behaviors = np.where(index == names.PADDING_INDEX, names.PADDING_INDEX, np.where(first, buy, view))
    index[0, -1], behaviors[0, -1] = names.OOV_INDEX, buy
    users = {names.USER_HASH: np.arange(60), names.USER_HEAD: np.arange(60) % 2}
    features |= {names.HISTORY_ITEM_INDEX: index, names.HISTORY_BEHAVIOR_INDEX: behaviors, **users}
    blocks = tf.data.Dataset.from_tensor_slices(features).batch(25)
    made = tp.TP if loop == "tp" else fit.Fit
    settings = config.TrainerSettings.from_values({"model": {"name": "casm"}, "loop": {"name": loop}})

    def train(**extra):
        return made.of(settings.loop)(
            lambda: build(harness.catalogue(), **extra),
            settings.training,
            tf.distribute.MirroredStrategy(["CPU:0"]),
            blocks,
            lambda model: test_fit.Size(model),
            str(tmp_path),
        )

    for extra, key in (
        ({"target_behavior": "buy"}, "target_behavior"),
        ({"behavior_weights": {"view": 0.0}}, "behavior_weights"),
    ):
        with pytest.raises(errors.InputError, match=rf"model.{key}: no target .* weighs more than 0 \(buy\)"):
            train(**extra)
    train(target_behavior="view")


def test_a_log_without_behaviours():
    catalogue = dataclasses.replace(harness.catalogue(), behaviors=0, behavior_names=())
    with pytest.raises(errors.InputError, match="log.columns.behavior"):
        build(catalogue)


@pytest.mark.parametrize(
    "extra, message",
    [
        ({"heads": 5}, r"dim \+ behavior_dim must be a multiple of heads \(5\), found 12"),
        ({"heads": 3, "context": False}, r"dim must be a multiple of heads \(3\), found 8"),
        ({"behavior_weights": "sum"}, "or learned; found 'sum'"),
        ({"behavior_weights": {"buy": -1}}, "at least 0, found -1"),
        ({"behavior_weights": "learned", "target_behavior": "buy"}, "found target_behavior: buy"),
        ({"behavior_weights": "learned", "weighted": "positives"}, "found weighted: positives"),
        ({"weighted": "positives"}, r"goes with loss: \{name: bce\}, found softmax"),
        ({"candidates": "behaviors", "context": False}, "needs context: true, found false"),
    ],
)
def test_settings_that_do_not_fit(extra, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        config.TrainerSettings.from_values({"model": {**SMALL, **extra}})
