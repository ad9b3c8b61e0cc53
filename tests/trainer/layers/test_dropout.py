"""Dropout."""

import numpy as np
import tensorflow as tf

from trainer.layers import dropout


def test_expectation_rate_and_reproduction():
    ones = tf.ones([37, 211])
    generator = tf.random.Generator.from_seed(1)
    layer = dropout.Dropout(0.3, generator)
    state = generator.state.numpy()
    first = layer(ones, training=True).numpy()
    assert abs((first == 0).mean() - 0.3) < 0.02 and abs(first.mean() - 1) < 0.03
    assert len(np.unique(first)) == 2
    assert not np.array_equal(layer(ones, training=True), first)
    generator.state.assign(state)
    np.testing.assert_array_equal(layer(ones, training=True), first)
    np.testing.assert_array_equal(layer(ones, training=False), ones)
    np.testing.assert_array_equal(dropout.Dropout(0.0, generator)(ones, training=True), ones)
    # The nearest that it can do: one element of 256 is kept.
    assert np.isfinite(dropout.Dropout(0.9999, generator)(ones, training=True)).all()


def test_neighbours_are_independent():
    """Four elements share a random word, not their fate."""
    kept = (
        dropout.Dropout(0.5, tf.random.Generator.from_seed(2))(tf.ones([40_000]), training=True).numpy() > 0
    )
    for shift in (1, 2, 3, 4):
        assert abs(np.corrcoef(kept[:-shift], kept[shift:])[0, 1]) < 0.02
