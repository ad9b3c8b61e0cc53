"""Losses of a predicted embedding, against NumPy and by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from trainer import config
from trainer.losses import future


def test_cross_entropy_by_hand():
    # softmax of [log 3, 0] is [3/4, 1/4]; that of [0, 0] is [1/2, 1/2].
    loss = future.FutureCE(standardize=False)
    target = tf.constant([[math.log(3.0), 0.0]])
    assert float(loss(tf.constant([[0.0, 0.0]]), target)[0]) == pytest.approx(math.log(2))
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(loss(target + 5.0, target)[0]) == pytest.approx(expected)
    # Half the temperature doubles the logits: [9/10, 1/10].
    sharper = future.FutureCE(teacher_temperature=0.5, standardize=False)
    expected = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    assert float(sharper(target, target)[0]) == pytest.approx(expected)


def softmax(values):
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("standardize", [True, False])
def test_both_against_numpy(standardize):
    rng = np.random.default_rng(0)
    predicted, target = rng.normal(size=[7, 5]), rng.normal(1.0, 3.0, size=[7, 5])
    wanted = target
    if standardize:
        wanted = (target - target.mean(axis=1, keepdims=True)) / target.std(axis=1, keepdims=True)
    given = [tf.constant(one, tf.float32) for one in (predicted, target)]
    expected = -(softmax(wanted / 0.7) * np.log(softmax(predicted / 1.3))).sum(axis=1)
    np.testing.assert_allclose(future.FutureCE(0.7, 1.3, standardize)(*given), expected, rtol=1e-4)
    expected = ((predicted - wanted) ** 2).mean(axis=1)
    np.testing.assert_allclose(future.FutureMSE(standardize)(*given), expected, rtol=1e-4)


def test_small_targets_count_as_large_ones_do_and_none_at_all_is_finite():
    rng = np.random.default_rng(1)
    target = tf.constant(rng.normal(size=[3, 6]), tf.float32)
    np.testing.assert_allclose(
        future.standardized(1e-6 * target), future.standardized(target), rtol=1e-3, atol=1e-4
    )
    with tf.GradientTape() as tape:
        nothing = tf.zeros([2, 6])
        tape.watch(nothing)
        found = tf.reduce_sum(future.FutureMSE()(tf.ones([2, 6]), nothing))
    assert float(found) == 2.0 and np.isfinite(tape.gradient(found, nothing)).all()


def test_an_embedding_of_nothing_has_a_small_gradient():
    nothing = tf.zeros([1, 4])
    with tf.GradientTape() as tape:
        tape.watch(nothing)
        found = tf.reduce_sum(future.standardized(nothing) * [[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_allclose(tape.gradient(found, nothing), [[-1.5, -0.5, 0.5, 1.5]], rtol=1e-6)


def test_settings_name_them():
    values = {"model": {"name": "byb"}, "loss": {"name": "future_ce", "student_temperature": 0.5}}
    settings = config.TrainerSettings.from_values(values)
    assert isinstance(future.build(settings.loss), future.FutureCE)
    assert config.TrainerSettings.from_values({"model": {"name": "byb"}}).loss.name == "future_ce"
    values["loss"] = {"name": "future_mse", "standardize": False}
    assert isinstance(future.build(config.TrainerSettings.from_values(values).loss), future.FutureMSE)
