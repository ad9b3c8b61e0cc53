"""What padding may do to attention: nothing, in any precision."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import attention


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("bias", [attention.causal_bias, attention.key_bias])
def test_masked_keys_weigh_nothing_and_a_query_of_padding_is_finite(dtype, bias):
    present = tf.constant([[False, False, True, True]])
    for logit in (-1000.0, -20.0, 0.0, 1000.0):
        logits = tf.fill([1, 1, 4, 4], tf.cast(logit, dtype))
        weights = tf.cast(tf.nn.softmax(logits + bias(present, dtype)), tf.float32).numpy()[0, 0]
        assert np.isfinite(weights).all()
        assert (weights[2:, :2] == 0).all()
        np.testing.assert_allclose(weights[2:].sum(axis=1), 1, rtol=1e-2)


def test_a_layer_s_padding_changes_no_state_in_float16():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = attention.SelfAttention(8, 2, 0.0, tf.random.Generator.from_seed(1))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    values = 30 * tf.random.stateless_normal([1, 5, 8], (1, 2))
    there = tf.constant([[False, False, True, True, True]])
    padded = layer(values, attention.causal_bias(there, tf.float16))
    alone = layer(values[:, 2:], attention.causal_bias(there[:, 2:], tf.float16))
    assert np.isfinite(padded.numpy()).all()
    np.testing.assert_allclose(padded[:, 2:], alone, rtol=1e-2, atol=1e-2)
