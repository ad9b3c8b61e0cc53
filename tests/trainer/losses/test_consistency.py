"""Cosines of two views against NumPy, and what a vector without a direction does."""

import numpy as np
import tensorflow as tf

from trainer.losses import consistency, contrast


def test_cosines_equal_numpy_and_the_other_side_gets_no_gradient():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(5, 8)).astype(np.float32), rng.normal(size=(5, 8)).astype(np.float32)
    sides = tf.constant(one), tf.constant(other)
    with tf.GradientTape() as tape:
        tape.watch(sides)
        found = consistency.cosine(*sides)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(found, (one * other).sum(axis=1) / lengths, rtol=1e-5)
    of_one, of_other = tape.gradient(found, sides)
    assert of_other is None and np.abs(of_one).max() > 0.01
    # SimSiam, eq. (2): of two views that agree it is 0, of opposite ones 2.
    same = consistency.unlike(tf.identity, sides[0], sides[0])
    np.testing.assert_allclose(same, np.zeros(5), atol=1e-6)
    np.testing.assert_allclose(
        consistency.unlike(tf.identity, sides[0], -sides[0]), np.full(5, 2.0), rtol=1e-6
    )


def test_a_vector_of_no_length_has_no_direction_and_a_small_gradient():
    """One of 0, one that is next to it, and one that is short and has a direction."""
    vectors = tf.constant([[0.0, 0.0], [3e-5, 4e-5], [3e-4, 4e-4]])
    others = tf.constant([[1.0, 0.0]] * 3)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        found = consistency.cosine(vectors, others)
    np.testing.assert_allclose(found, [0.0, 3e-5, 0.6], rtol=1e-5)
    lengths = np.linalg.norm(tape.gradient(found, vectors), axis=1)
    # Of a length r the gradient is the sine over r.
    np.testing.assert_allclose(lengths, [1.0, 1.0, 0.8 / 5e-4], rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(contrast.unit(vectors), axis=1), [0.0, 5e-5, 1.0], rtol=1e-5)
