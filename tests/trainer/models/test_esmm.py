"""ESMM."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.models import labels_harness as harness
from trainer.models import esmm

SMALL = {"name": "esmm", "dim": 4, "tower": [8], "dropout": 0.1}


def test_esmm(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_logits_of_products():
    logits = np.random.default_rng(1).normal(0, 4, [50, 4])
    likely = np.cumprod(1 / (1 + np.exp(-logits)), axis=1)
    found = esmm.chain_logits(tf.constant(logits, tf.float32))
    np.testing.assert_allclose(found, np.log(likely / (1 - likely)), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[:, 0], logits[:, 0].astype(np.float32))


@pytest.mark.parametrize("size", [-500.0, -90.0, -30.0, 0.0, 30.0, 90.0, 500.0])
def test_logits_of_any_size_stay_finite_with_their_gradients(size):
    logits = tf.constant([[size, size, size], [size, -size, size], [-size, size, -size]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = esmm.chain_logits(logits)
        loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.constant([[1.0, 1.0, 0.0]] * 3), found)
    assert np.isfinite(found).all() and np.isfinite(tape.gradient(loss, logits)).all()
    # Of a chain of equal large logits the product of two is e^-x: not rounded to a certainty.
    if size == 30.0:
        assert float(found[0, 1]) == pytest.approx(30 - np.log(2), rel=1e-5)


def test_no_step_is_likelier_than_the_one_before():
    model = harness.build(SMALL)
    for variable in model.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, [1, 2], stddev=2.0))
    logits = model(harness.batch(3, rows=200)).numpy()
    assert (logits[:, 1:] <= logits[:, :-1]).all()
    assert logits.std() > 1


def test_a_head_starts_at_the_rate_among_those_that_got_so_far():
    model = harness.build(SMALL, base_rates=(0.5, 0.1, 0.0))
    biases = [head.trainable_variables[1].numpy()[0] for head in model._heads]
    np.testing.assert_allclose(biases[:2], [0.0, np.log(0.2 / 0.8)], atol=1e-6)
    assert np.isfinite(biases[2]) and biases[2] < -10
    assert np.isfinite(harness.build(SMALL, base_rates=(0.0, 0.0, 1.0))(harness.batch())).all()


def test_a_later_step_that_is_more_frequent_than_the_one_before_can_still_be_learnt():
    """Of purchases without a cart: a head that begins at certainty would have no gradient."""
    model = harness.build({"name": "esmm"}, base_rates=(0.4, 0.05, 0.06))
    features = harness.batch(1, 200)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.logits(features)[:, 2])
    biases = [head.trainable_variables[-1] for head in model._heads]
    assert all(abs(float(tf.reduce_max(tf.abs(g)))) > 1e-3 for g in tape.gradient(loss, biases))
