"""BPCM."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from tests.trainer.models import labels_harness as harness
from trainer import config
from trainer.layers import feature_tower
from trainer.models import bpcm
from trainer.models import labels as label_models

SMALL = {"name": "bpcm", "dim": 4, "hidden": 8, "tower": [6], "dropout": 0.1}


@pytest.mark.parametrize(
    "extra", [{}, {"gate": False, "calibrator": 0.0, "tower": []}], ids=["whole", "without Gate"]
)
def test_bpcm(tmp_path, extra):
    harness.run_model_test({**SMALL, **extra}, tmp_path, graphs=not extra)


def test_two_replicas():
    harness.check_replicas(SMALL)


def test_attention_worked_by_hand():
    """Two tokens of width 2 with W_Q = W_K = I and W_V = 2 I."""
    layer = feature_tower.FieldAttention(2)
    tokens = tf.constant([[[1.0, 0.0], [0.0, 2.0]]])
    layer(tokens, tokens)
    for variable, factor in zip(layer.trainable_variables, (1.0, 1.0, 2.0)):
        variable.assign(factor * np.eye(2))
    # The products are [[1, 0], [0, 4]], over the root of 2.
    a = np.exp(1 / np.sqrt(2)) / (np.exp(1 / np.sqrt(2)) + 1)
    b = np.exp(4 / np.sqrt(2)) / (np.exp(4 / np.sqrt(2)) + 1)
    expected = [[2 * a, 4 * (1 - a)], [2 * (1 - b), 4 * b]]
    np.testing.assert_allclose(layer(tokens, tokens)[0], expected, rtol=1e-5)


def test_gate_worked_by_hand():
    """W_C = [[1, 0], [0, -1]] and W_D = 0: the share of E_Att is sigmoid of E_org with one sign turned."""
    layer = feature_tower.ComplementaryGate(2)
    attended, aggregated = tf.constant([[[1.0, 1.0]]]), tf.constant([[[0.0, np.log(3.0)]]], tf.float32)
    layer(attended, aggregated)
    of_aggregated, of_attended = layer.trainable_variables
    assert "W_C" in of_aggregated.name and "W_D" in of_attended.name
    of_aggregated.assign([[1.0, 0.0], [0.0, -1.0]])
    of_attended.assign(np.zeros([2, 2]))
    # Shares 1/2 and 1/4: 1 * 1/2 + 0 * 1/2, and 1 * 1/4 + log 3 * 3/4.
    expected = [[[0.5, 0.25 + 0.75 * np.log(3)]]]
    np.testing.assert_allclose(layer(attended, aggregated), expected, rtol=1e-6)
    # The other way round: of E_Att.
    of_aggregated.assign(np.zeros([2, 2]))
    of_attended.assign([[0.0, np.log(3.0)], [0.0, 0.0]])
    expected = [[[0.5, 0.75 + 0.25 * np.log(3)]]]
    np.testing.assert_allclose(layer(attended, aggregated), expected, rtol=1e-6)


def test_aggregation_in_numpy():
    tf.keras.utils.set_random_seed(1)
    layer = feature_tower.Aggregation(3, 2, 5)
    tokens = np.random.default_rng(1).normal(size=[4, 3, 2]).astype(np.float32)
    found = layer(tokens)
    w1, b1, w2, b2 = (variable.numpy() for variable in layer.trainable_variables)
    expected = np.maximum(np.maximum(tokens.reshape(4, 6) @ w1 + b1, 0) @ w2 + b2, 0)
    np.testing.assert_allclose(found, expected.reshape(4, 3, 2), rtol=1e-5, atol=1e-6)


def normalised(tokens):
    centred = tokens - tokens.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)


def attention(layer, queries, keys):
    """Eq. (2)-(3) in NumPy."""
    query, key, value = (variable.numpy().astype(np.float64) for variable in layer.trainable_variables)
    logits = np.einsum("bid,bjd->bij", queries @ query, keys @ key) / np.sqrt(queries.shape[-1])
    powers = np.exp(logits)
    return (powers / powers.sum(axis=2, keepdims=True)) @ (keys @ value)


def test_conversion_in_numpy():
    """Eq. (7)-(9): what is passed on is normalised; the query's own tokens are among the keys."""
    tf.keras.utils.set_random_seed(1)
    model = harness.build(SMALL)
    own, before = np.random.default_rng(2).normal(0, 2, [2, 4, 3, 4]).astype(np.float32)
    convert, message = model._conversions[0], model._messages[0]
    h = message(before)
    np.testing.assert_allclose(h, normalised(before), rtol=1e-4, atol=1e-5)
    expected = attention(convert._attention, own, np.concatenate([own, normalised(before)], axis=1)) + own
    np.testing.assert_allclose(convert(own, h), expected, rtol=1e-4, atol=1e-5)


def test_conversion_as_the_equation_is_printed():
    """Eq. (9) with keys and values of h_t alone."""
    tf.keras.utils.set_random_seed(1)
    model = harness.build({**SMALL, "conversion_reads": "passed"})
    own, before = np.random.default_rng(2).normal(0, 2, [2, 4, 3, 4]).astype(np.float32)
    convert = model._conversions[0]
    expected = attention(convert._attention, own, normalised(before)) + own
    np.testing.assert_allclose(convert(own, model._messages[0](before)), expected, rtol=1e-4, atol=1e-5)


def test_message_by_dropout_alone():
    """Eq. (8) as the text has it: h_t is Z_t where nothing is dropped, and no variable is of it."""
    model, whole = harness.build({**SMALL, "message_norm": False}), harness.build(SMALL)
    before = np.random.default_rng(2).normal(0, 2, [4, 3, 4]).astype(np.float32)
    np.testing.assert_array_equal(model._messages[0](before), before)
    steps, dim = len(model._messages), SMALL["dim"]
    for one in (model, whole):
        one(harness.batch(3))
    parameters = [sum(np.prod(v.shape) for v in one.trainable_variables) for one in (whole, model)]
    assert parameters[0] - parameters[1] == steps * 2 * dim


@pytest.mark.parametrize("norm", [True, False])
def test_message_has_dropout_in_training_alone(norm):
    model = harness.build({**SMALL, "dropout": 0.5, "message_norm": norm})
    before = tf.constant(np.random.default_rng(2).normal(size=[40, 3, 4]), tf.float32)
    message = model._messages[0]
    plain, dropped = message(before).numpy(), message(before, training=True).numpy()
    gone = dropped == 0
    assert 0.4 < gone.mean() < 0.6
    np.testing.assert_allclose(dropped[~gone], 2 * plain[~gone], rtol=1e-5)


def test_whole_model_in_numpy():
    model, features = harness.build(SMALL), harness.batch(3)
    tokens = model._embedding(features).numpy().astype(np.float64)
    states = []
    for tower in model._features:
        w1, b1, w2, b2 = (variable.numpy() for variable in tower._aggregation.trainable_variables)
        org = np.maximum(np.maximum(tokens.reshape(7, -1) @ w1 + b1, 0) @ w2 + b2, 0).reshape(tokens.shape)
        att = attention(tower._attention, tokens, tokens)
        w_c, w_d = (variable.numpy() for variable in tower._gate.trainable_variables)
        share = 1 / (1 + np.exp(-(org @ w_c + att @ w_d)))
        states.append(att * share + org * (1 - share))
    for t, convert in enumerate(model._conversions):
        keys = np.concatenate([states[t + 1], normalised(states[t])], axis=1)
        states[t + 1] = attention(convert._attention, states[t + 1], keys) + states[t + 1]
    expected = [
        head(tower(state.reshape(7, -1).astype(np.float32)))
        for state, tower, head in zip(states, model._towers, model._heads)
    ]
    np.testing.assert_allclose(model(features), np.stack(expected, axis=1), rtol=1e-3, atol=1e-4)


def test_one_step_is_a_head_on_the_feature_tower():
    model, features = harness.build(SMALL, steps=("buy",)), harness.batch(3, steps=("buy",))
    tower = model._features[0](model._embedding(features))
    expected = model._heads[0](model._towers[0](label_models.flat(tower)))
    np.testing.assert_array_equal(model(features)[:, 0], expected)
    assert not model._messages and not model._conversions
    assert float(tf.reduce_sum(model.penalty(model(features)))) == 0


def count(part):
    return sum(int(np.prod(variable.shape)) for variable in part.trainable_variables)


def test_ablations_leave_variables_out():
    whole = harness.build(SMALL)
    attention, aggregation, gate = 3 * 16, (24 * 8 + 8) + (8 * 24 + 24), 2 * 16
    convert = 3 * 16 + 2 * 4
    assert count(whole._features[0]) == attention + aggregation + gate
    removed = {
        "attention": 3 * (attention + gate),
        "aggregation": 3 * (aggregation + gate),
        "gate": 3 * gate,
        "conversion": 2 * convert,
    }
    features, logits = harness.batch(3), whole(harness.batch(3))
    for name, number in removed.items():
        model = harness.build({**SMALL, name: False})
        assert count(model) == count(whole) - number, name
        assert np.abs(model(features) - logits).max() > 1e-5, name


def test_units_that_are_left_out():
    features = harness.batch(3)
    model = harness.build({**SMALL, "gate": False})
    tower, tokens = model._features[0], model._embedding(features)
    np.testing.assert_allclose(
        tower(tokens), tower._attention(tokens, tokens) + tower._aggregation(tokens), rtol=1e-6
    )
    model = harness.build({**SMALL, "attention": False})
    tower, tokens = model._features[0], model._embedding(features)
    np.testing.assert_array_equal(tower(tokens), tower._aggregation(tokens))
    model = harness.build({**SMALL, "conversion": False})
    for variable in model._features[0].trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    other = harness.build({**SMALL, "conversion": False})
    np.testing.assert_array_equal(model(features)[:, 1:], other(features)[:, 1:])


def test_a_model_with_neither_unit_is_refused():
    with pytest.raises(pydantic.ValidationError, match="cannot both be left out"):
        config.TrainerSettings.from_values({"model": {**SMALL, "attention": False, "aggregation": False}})


def test_dropout_of_messages_is_drawn_anew_at_each_step():
    layer = bpcm.Message(0.5, harness.build(SMALL).generator)
    inputs = tf.constant(np.random.default_rng(2).normal(size=[8, 3, 4]), tf.float32)
    assert np.abs(layer(inputs, training=True) - layer(inputs, training=True)).max() > 0
