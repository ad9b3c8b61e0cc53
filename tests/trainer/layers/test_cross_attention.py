"""Cross-attention of candidates to histories."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import cross_attention

B, H, L, D, C = 3, 2, 5, 4, 7
PRESENT = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1]])


def given(own):
    """Keys, values, which are there, q and w; of candidates of each history's own, or the same for all."""
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=[2, B, H, L, D])
    asked, weights = rng.normal(size=[2, B if own else 1, H, C, D])
    return [tf.constant(one, tf.float32) for one in (keys, values, PRESENT, asked, weights)]


def by_hand(keys, values, present, asked, weights):
    """One history, candidate and head after the other."""
    found = np.zeros([B, C])
    for b in range(B):
        real = np.flatnonzero(present[b])
        for c in range(C):
            for h in range(H):
                q, w = (one[b % len(one), h, c] for one in (asked, weights))
                share = np.exp(keys[b, h, real] @ q / np.sqrt(D))
                found[b, c] += (share / share.sum()) @ values[b, h, real] @ w
    return found


@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
@pytest.mark.parametrize("at_once", [1, 2 * B * H * L, cross_attention.AT_ONCE], ids=["one", "two", "all"])
def test_values(own, at_once):
    tensors = given(own)
    expected = by_hand(*(one.numpy().astype(np.float64) for one in tensors))
    found = cross_attention.attended_scores(*tensors, at_once=at_once)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
@pytest.mark.parametrize("at_once", [3 * B * H * L, cross_attention.AT_ONCE], ids=["three", "all"])
@pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
def test_gradients_are_those_of_the_formula(own, at_once, compiled):
    """Against TensorFlow's own of the same formula, without chunks."""
    keys, values, present, asked, weights = given(own)
    upstream = tf.constant(np.random.default_rng(1).normal(size=[B, C]), tf.float32)

    def plain(keys, values, asked, weights):
        logits = tf.matmul(asked, keys, transpose_b=True) / D**0.5
        logits = tf.where(present[:, tf.newaxis, tf.newaxis, :] > 0, logits, -1e9)
        worth = tf.matmul(weights, values, transpose_b=True)
        return tf.reduce_sum(tf.nn.softmax(logits) * worth, axis=[1, 3])

    def chunked(keys, values, asked, weights):
        return cross_attention.attended_scores(keys, values, present, asked, weights, at_once)

    def gradients(function):
        @tf.function(autograph=False, jit_compile=compiled)
        def found(*variables):
            with tf.GradientTape() as tape:
                tape.watch(variables)
                total = tf.reduce_sum(function(*variables) * upstream)
            return tape.gradient(total, variables)

        return found(keys, values, asked, weights)

    for one, two in zip(gradients(chunked), gradients(plain), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_shapes_that_are_not_known_before():
    specs = [
        tf.TensorSpec([None] * one.shape.rank if at == 2 else [None, H, None, D])
        for at, one in enumerate(given(True))
    ]
    function = tf.function(cross_attention.attended_scores, input_signature=specs, autograph=False)
    np.testing.assert_allclose(
        function(*given(True)), cross_attention.attended_scores(*given(True)), rtol=1e-5, atol=1e-6
    )
    nobody = [one[:0] for one in given(True)]
    assert function(*nobody).shape == (0, C)
    *histories, asked, weights = given(True)
    assert function(*histories, asked[:, :, :0], weights[:, :, :0]).shape == (B, 0)


def test_a_history_without_events_and_half_precision_are_finite():
    keys, values, _, asked, weights = (tf.cast(one, tf.float16) for one in given(False))
    with tf.GradientTape() as tape:
        tape.watch(keys)
        found = cross_attention.attended_scores(keys, values, tf.zeros([B, L], tf.float16), asked, weights)
    assert found.dtype == tf.float32 and np.isfinite(found).all()
    assert np.isfinite(tape.gradient(found, keys)).all()
