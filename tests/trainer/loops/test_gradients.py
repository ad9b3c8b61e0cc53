"""Gradients that graphs register."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from trainer.loops import gradients
from trainer.models import scoring


def _traced() -> weakref.ref:
    """The graph of a step with a custom gradient, of which nothing but TensorFlow's registry may know any more."""

    @tf.function(autograph=False)
    def step(states: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(states)
            losses = scoring.softmax_losses(states, tf.eye(4), tf.constant([0, 1], tf.int64))
        return tape.gradient(losses, states)

    given = tf.constant([[1.0, 0, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_allclose(tf.reduce_sum(step(given), axis=1), 0.0, atol=1e-6)
    return weakref.ref(step.get_concrete_function(given).graph)


def test_graphs_with_gradients_of_their_own_are_freed():
    before = set(ops.gradient_registry.list())
    with gradients.released():
        graph = _traced()
        assert set(ops.gradient_registry.list()) > before
    gc.collect()
    assert graph() is None
    assert set(ops.gradient_registry.list()) == before


def test_they_are_freed_after_an_error_and_others_stay():
    @tf.RegisterGradient("FootfallTest")
    def _of_test(_, upstream):
        return upstream

    with pytest.raises(ZeroDivisionError), gradients.released():
        graph = _traced()
        raise ZeroDivisionError
    gc.collect()
    assert graph() is None
    assert ops.gradient_registry.lookup("FootfallTest") is _of_test
