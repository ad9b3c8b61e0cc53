"""The encoder of histories: what it sees, and what it does not."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import history_encoder
from trainer.models import ranking

LENGTH, DIM = 6, 8
PRESENT = np.arange(LENGTH) >= np.array([[0], [2], [5], [6]])
INPUTS = np.random.default_rng(0).normal(size=[4, LENGTH, DIM]).astype(np.float32)


def encoder(rate=0.0, **extra):
    tf.keras.utils.set_random_seed(1)
    generator = ranking.random_generator(0)
    return history_encoder.HistoryEncoder(LENGTH, DIM, 2, 2, 16, rate, generator, **extra)


def test_without_blocks_it_is_the_normed_sum_of_vector_and_position():
    layer = encoder()
    layer(INPUTS, PRESENT)
    layer._blocks = []
    state = INPUTS + layer._positions.numpy()
    state = (state - state.mean(-1, keepdims=True)) / state.std(-1, keepdims=True)
    np.testing.assert_allclose(layer(INPUTS, PRESENT), state, rtol=1e-3, atol=1e-4)


def test_blocks_are_post_norm_and_see_both_ways():
    layer = encoder()
    states = layer(INPUTS, PRESENT).numpy()
    # Of a state that was normed last, with weights still at their beginning.
    np.testing.assert_allclose(states.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(states.std(-1), 1, rtol=1e-4)
    changed = INPUTS.copy()
    changed[0, -1, 0] += 1
    assert np.abs(layer(changed, PRESENT)[0, 0] - states[0, 0]).max() > 1e-3
    changed = INPUTS.copy()
    changed[0, 0, 0] += 1
    assert np.abs(layer(changed, PRESENT)[0, -1] - states[0, -1]).max() > 1e-3


def test_padding_changes_nothing_also_where_it_is_cut_off():
    layer = encoder()
    states = layer(INPUTS, PRESENT).numpy()
    assert np.isfinite(states).all()
    other = np.where(PRESENT[..., None], INPUTS, 9.0).astype(np.float32)
    found = layer(other, PRESENT).numpy()
    np.testing.assert_allclose(found[PRESENT], states[PRESENT], rtol=1e-5, atol=1e-6)
    short = layer(INPUTS[1:3, 2:], PRESENT[1:3, 2:]).numpy()
    np.testing.assert_allclose(short[:, -1], states[1:3, -1], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="at most 6 positions, found 7"):
        layer(tf.zeros([1, LENGTH + 1, DIM]), tf.ones([1, LENGTH + 1], tf.bool))


def test_a_masked_event_is_there_but_not_looked_at():
    layer = encoder(masks=True)
    masked = np.zeros_like(PRESENT)
    masked[0, 3] = True
    states = layer(INPUTS, PRESENT, masked=masked).numpy()
    changed = INPUTS.copy()
    changed[0, 3, 0] += 5
    np.testing.assert_array_equal(layer(changed, PRESENT, masked=masked), states)
    # The same as with the mask's vector there, which is no padding.
    changed[0, 3] = layer.training_variables[0].numpy()
    np.testing.assert_array_equal(layer(changed, PRESENT), states)
    gone = PRESENT & ~masked
    assert np.abs(layer(INPUTS, gone)[0, -1] - states[0, -1]).max() > 1e-3
    assert encoder().training_variables == []
    with pytest.raises(ValueError, match="masks=True"):
        encoder()(INPUTS, PRESENT, masked=masked)


def test_dropout_is_drawn_from_the_generator():
    layer = encoder(rate=0.5)
    still = layer(INPUTS, PRESENT)
    first, second = (layer(INPUTS, PRESENT, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.1 and np.abs(first - still).max() > 0.1
