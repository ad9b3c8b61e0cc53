"""Supervised contrast of views."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import supervised_contrast

LABELS = np.array([4, 7, 4, -1, -1, 7, 9])
COUNTED = np.array([True, True, True, True, True, False, True])


def vectors(views=2, dim=3):
    return np.random.default_rng(3).normal(size=[len(LABELS), views, dim])


def brute_force(vectors, labels, counted, temperature):
    """One view after the other, as the formula stands."""
    rows, views, _ = vectors.shape
    unit = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    everyone = [(row, view) for row in range(rows) for view in range(views) if counted[row]]
    found = np.zeros(rows)
    for row, view in everyone:
        own = unit[row, view]
        others = [one for one in everyone if one != (row, view)]
        below = sum(np.exp(own @ unit[one] / temperature) for one in others)
        alike = [one for one in others if one[0] == row or labels[row] == labels[one[0]] >= 0]
        logs = [np.log(np.exp(own @ unit[one] / temperature) / below) for one in alike]
        found[row] -= temperature * np.mean(logs) / views
    return found


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("temperature", [0.2, 1.5])
def test_value(views, temperature):
    given = vectors(views)
    found = supervised_contrast.supervised_contrast(
        tf.constant(given, tf.float32), tf.constant(LABELS), tf.constant(COUNTED), temperature
    )
    expected = brute_force(given, LABELS, COUNTED, temperature)
    np.testing.assert_allclose(found.numpy()[COUNTED], expected[COUNTED], rtol=1e-5)


def test_worked_by_hand():
    """Two windows of other targets, on two axes: each view has one like it, and two at a right angle.

    With tau = 1/2: -1/2 log [e^2 / (e^2 + 2)].
    """
    given = tf.constant([[[3.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 5.0]]])
    found = supervised_contrast.supervised_contrast(
        given, tf.constant([0, 1], tf.int64), tf.fill([2], True), 0.5
    )
    np.testing.assert_allclose(found, [0.5 * np.log(1 + 2 * np.exp(-2))] * 2, rtol=1e-5)
    # The same target: of three views like each, one is along it: -1/2 (2/3 (0 - 2) + log(e^2 + 2)).
    found = supervised_contrast.supervised_contrast(
        given, tf.constant([1, 1], tf.int64), tf.fill([2], True), 0.5
    )
    np.testing.assert_allclose(found, [0.5 * (np.log(np.exp(2) + 2) - 2 / 3)] * 2, rtol=1e-5)


def test_what_does_not_count_has_no_gradient_and_no_part():
    given = tf.constant(vectors(), tf.float32)
    counted = tf.constant(COUNTED)
    with tf.GradientTape() as tape:
        tape.watch(given)
        losses = supervised_contrast.supervised_contrast(given, tf.constant(LABELS), counted, 0.2)
        total = tf.reduce_sum(tf.where(counted, losses, 0.0))
    gradient = tape.gradient(total, given).numpy()
    assert (
        np.isfinite(gradient).all()
        and not gradient[~COUNTED].any()
        and gradient[COUNTED].any(axis=(1, 2)).all()
    )
    for nobody in (counted & False, counted[:0]):
        rows = len(nobody)
        found = supervised_contrast.supervised_contrast(given[:rows], tf.constant(LABELS[:rows]), nobody, 0.2)
        assert found.shape == (rows,) and np.isfinite(found).all()
