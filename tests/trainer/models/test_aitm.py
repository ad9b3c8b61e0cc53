"""AITM."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.models import labels_harness as harness
from trainer.layers import transfer
from trainer.models import labels as label_models

SMALL = {"name": "aitm", "dim": 4, "tower": [8, 6], "dropout": 0.1}


def test_aitm(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def attention(layer, passed, own):
    """AIT in NumPy, one exposure at a time."""
    value, query, key = (variable.numpy().astype(np.float64) for variable in layer.trainable_variables)
    found = []
    for p, q in zip(passed, own):
        scores = np.array([(u @ query) @ (u @ key) / np.sqrt(len(u)) for u in (p, q)])
        share = np.exp(scores) / np.exp(scores).sum()
        found.append(share[0] * (p @ value) + share[1] * (q @ value))
    return np.stack(found)


def test_transfer_in_numpy():
    tf.keras.utils.set_random_seed(1)
    layer = transfer.AdaptiveTransfer(5)
    passed, own = np.random.default_rng(2).normal(0, 2, [2, 4, 5]).astype(np.float32)
    found = layer(passed, own)
    names = [variable.name.split("/")[-2] for variable in layer.trainable_variables]
    order = [layer.trainable_variables[names.index(name)] for name in ("h1", "h2", "h3")]
    assert order == layer.trainable_variables
    np.testing.assert_allclose(found, attention(layer, passed, own), rtol=1e-4, atol=1e-5)
    shares = layer.shares(tf.stack([passed, own], axis=1)).numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert shares.std() > 0.01


def test_steps_in_numpy():
    model, features = harness.build(SMALL), harness.batch(3)
    inputs = label_models.flat(model._embedding(features))
    own = [tower(inputs).numpy() for tower in model._towers]
    state = own[0]
    states = [state]
    for found, passes, ait in zip(own[1:], model._passes, model._transfers):
        kernel, bias = (variable.numpy() for variable in passes.trainable_variables)
        state = attention(ait, np.maximum(state @ kernel + bias, 0), found)
        states.append(state)
    expected = [head(state.astype(np.float32)) for head, state in zip(model._heads, states)]
    np.testing.assert_allclose(model(features), np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


def test_later_steps_do_not_reach_back():
    model, features = harness.build(SMALL), harness.batch(3)
    before = model(features).numpy()
    for variable in model._towers[1].trainable_variables:
        variable.assign_add(tf.ones_like(variable))
    after = model(features).numpy()
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    assert np.abs(after[:, 1:] - before[:, 1:]).max(axis=0).min() > 1e-4


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_calibrator(alpha):
    model = harness.build({**SMALL, "calibrator": alpha})
    likely = np.array([[0.5, 0.2, 0.1], [0.1, 0.4, 0.3], [0.2, 0.5, 0.9]])
    found = model.penalty(tf.constant(np.log(likely / (1 - likely)), tf.float32))
    np.testing.assert_allclose(found, alpha * np.array([0.0, 0.3, 0.7]), atol=1e-6)
