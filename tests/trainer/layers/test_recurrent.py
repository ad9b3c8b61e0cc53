"""The GRU layer."""

import numpy as np
import tensorflow as tf

from trainer.layers import recurrent


def case(seed=0, rows=3, length=7):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(rows, length, 4)).astype(np.float32)
    present = np.arange(length)[None, :] >= np.array([[0], [3], [length]])[:rows]
    return tf.constant(inputs), tf.constant(present)


def test_it_is_keras_s_gru():
    """With the gates in Keras's order, and Keras's mask; a reference that is not ours."""
    inputs, present = case()
    layer, keras = recurrent.GRU(5), tf.keras.layers.GRU(5, return_sequences=True, reset_after=True)
    found, _ = layer(inputs, present), keras(inputs)
    kernel, bias, weights = None, None, None
    for variable in layer.trainable_variables:
        if variable.shape == (4, 15):
            kernel = variable.numpy()
        elif variable.shape == (5, 15):
            weights = variable.numpy()
        else:
            bias = np.random.default_rng(1).normal(size=15).astype(np.float32)
            variable.assign(bias)
    # Keras writes h = z h + (1 - z) n: its update gate is one minus ours.
    flip = np.repeat([-1.0, 1.0, 1.0], 5).astype(np.float32)
    keras.set_weights([kernel * flip, weights * flip, np.stack([bias * flip, np.zeros(15, np.float32)])])
    found, expected = layer(inputs, present).numpy(), keras(inputs, mask=present).numpy()
    real = present.numpy()
    np.testing.assert_allclose(found[real], expected[real], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[~real], 0.0)


def test_a_loop_gives_the_states_and_gradients_of_the_unrolled_steps(monkeypatch):
    inputs, present = case(2)
    layer = recurrent.GRU(5)
    layer(inputs, present)

    def gradients(unroll, compiled=False):
        @tf.function(jit_compile=compiled)
        def run():
            with tf.GradientTape() as tape:
                states = layer(inputs, present, unroll=unroll)
                total = tf.reduce_sum(states**2)
            return [states, *tape.gradient(total, layer.trainable_variables)]

        return run()

    unrolled = gradients(True)
    for other in (gradients(False), gradients(False, compiled=True)):
        for one, two in zip(other, unrolled):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(recurrent, "UNROLLED", 3)
    np.testing.assert_allclose(gradients(True)[0], unrolled[0], rtol=1e-5, atol=1e-6)


def test_states_of_padding_are_zero_whatever_stands_there():
    inputs, present = case(3)
    layer = recurrent.GRU(5)
    noise = tf.where(present[:, :, tf.newaxis], inputs, 100.0)
    states = layer(inputs, present)
    np.testing.assert_array_equal(layer(noise, present), states)
    np.testing.assert_array_equal(states.numpy()[~present.numpy()], 0.0)
