"""Contrasts between histories."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.losses import contrast

ROWS, DIM, VIEWS = 5, 3, 2
RNG = np.random.default_rng(0)
ANCHORS = RNG.normal(size=[ROWS, DIM])
POSITIVES = RNG.normal(size=[VIEWS, ROWS, DIM])
COUNTED = np.array([True, True, False, True, True])


def normed(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def weights_of(anchors, positives, counted, near_tau, far_tau):
    """w+ and w- of each anchor, as eq. (8) has them: lists of those that there are."""
    found = []
    for n, anchor in enumerate(anchors):
        near = np.exp(-positives[:, n] @ anchor / near_tau)
        others = [m for m in range(len(anchors)) if counted[m] and m != n]
        far = np.exp(anchors[others] @ anchor / far_tau)
        found.append((near / near.sum(), dict(zip(others, far / far.sum()))))
    return found


def ccr(anchors, positives, counted, near_tau=1.0, far_tau=0.07, weights=None):
    """Eq. (8) of each anchor; with given weights, of these."""
    anchors, positives = normed(anchors), normed(positives)
    weights = weights or weights_of(anchors, positives, counted, near_tau, far_tau)
    values = []
    for n, anchor in enumerate(anchors):
        near, far = weights[n]
        value = -near @ (positives[:, n] @ anchor) / near_tau
        values.append(value + sum(w * (anchors[m] @ anchor) / far_tau for m, w in far.items()))
    return np.array(values)


def found_by(anchors=ANCHORS, positives=POSITIVES, counted=COUNTED, **options):
    to_tensor = [tf.constant(values, tf.float32) for values in (anchors, positives)]
    return contrast.conditional_contrast(*to_tensor, tf.constant(counted), **options).numpy()


@pytest.mark.parametrize("taus", [(1.0, 0.07), (0.5, 2.0)])
def test_value(taus):
    found = found_by(positive_temperature=taus[0], negative_temperature=taus[1])
    np.testing.assert_allclose(found, ccr(ANCHORS, POSITIVES, COUNTED, *taus), rtol=1e-4)


def test_worked_by_hand():
    """Views at 0 and 90 degrees: s+ of 1 and 0 weigh 1/(1 + e) and e/(1 + e). Others at 60 and 90 degrees."""
    half = [0.5, np.sqrt(0.75)]
    anchors = np.array([[2.0, 0.0], half, [0.0, -3.0]])
    positives = np.array([[[7.0, 0.0], half, [0.0, 1.0]], [[0.0, 1.0], half, [0.0, 1.0]]])
    found = found_by(anchors, positives, np.ones(3, bool), negative_temperature=0.5)
    # s- are 1 and 0.
    assert found[0] == pytest.approx(-1 / (1 + np.e) + np.e / (1 + np.e), rel=1e-5)
    # Both views are the history itself; s- are 1 and -sqrt(3).
    s = -2 * np.sqrt(0.75)
    assert found[1] == pytest.approx(-1 + (np.e + s * np.exp(s)) / (np.e + np.exp(s)), rel=1e-5)


@pytest.mark.parametrize("weights_gradient", [False, True])
def test_gradients(weights_gradient):
    """By finite differences: of the loss itself, or of that with the weights held."""
    weights = None if weights_gradient else weights_of(normed(ANCHORS), normed(POSITIVES), COUNTED, 1.0, 0.5)

    def total(anchors, positives):
        return ccr(anchors, positives, COUNTED, far_tau=0.5, weights=weights)[COUNTED].sum()

    anchors, positives = (tf.constant(values, tf.float32) for values in (ANCHORS, POSITIVES))
    with tf.GradientTape() as tape:
        tape.watch([anchors, positives])
        losses = contrast.conditional_contrast(
            anchors, positives, tf.constant(COUNTED), 1.0, 0.5, weights_gradient=weights_gradient
        )
        loss = tf.reduce_sum(tf.where(COUNTED, losses, 0.0))
    found = tape.gradient(loss, [anchors, positives])
    for n, values in enumerate((ANCHORS, POSITIVES)):
        expected, step = np.zeros_like(values), 1e-5
        for place in np.ndindex(*values.shape):
            moved = [[ANCHORS.copy(), POSITIVES.copy()] for _ in range(2)]
            moved[0][n][place] += step
            moved[1][n][place] -= step
            expected[place] = (total(*moved[0]) - total(*moved[1])) / (2 * step)
        np.testing.assert_allclose(found[n], expected, rtol=1e-3, atol=1e-4)


def test_rows_that_only_fill_a_batch_are_no_negatives():
    anchors, positives = ANCHORS.copy(), POSITIVES.copy()
    anchors[~COUNTED] *= -5
    np.testing.assert_array_equal(found_by(anchors, positives)[COUNTED], found_by()[COUNTED])
    np.testing.assert_allclose(
        found_by()[COUNTED],
        found_by(ANCHORS[COUNTED], POSITIVES[:, COUNTED], np.ones(4, bool)),
        rtol=1e-5,
    )


def test_histories_of_equal_sequences_are_no_negatives_of_each_other():
    """Rows 0, 3 and 4 have one sequence, with padding or without; row 1 has its own."""
    sequences = [[0, 0, 5, 7], [0, 7, 5, 7], [0, 0, 5, 7], [0, 0, 5, 7], [0, 0, 5, 7]]
    keys = contrast.keys_of(tf.constant(sequences, tf.int64))
    found = found_by(keys=keys)
    counted = {0: [1], 1: [0, 3, 4], 3: [1], 4: [1]}
    for row, others in counted.items():
        rows = [row, *others]
        alone = found_by(ANCHORS[rows], POSITIVES[:, rows], np.ones(len(rows), bool))
        assert found[row] == pytest.approx(alone[0], rel=1e-4)
    # All different: as without keys.
    np.testing.assert_array_equal(found_by(keys=tf.eye(ROWS)), found_by())


def test_keys_are_those_of_a_sequence_alone():
    rng = np.random.default_rng(1)
    sequences = rng.integers(1, 2**31 - 1, [500, 6])
    sequences[1] = sequences[0]
    # The same numbers in another order, and one that is longer by a repetition.
    sequences[3], sequences[5, 1:], sequences[5, 0] = sequences[2, ::-1], sequences[4, 1:], 0
    padded = np.pad(sequences, [(0, 0), (3, 0)])
    keys = contrast.keys_of(tf.constant(sequences)).numpy()
    np.testing.assert_array_equal(contrast.keys_of(tf.constant(padded)).numpy(), keys)
    unknown = tf.function(contrast.keys_of, input_signature=[tf.TensorSpec([None, None], tf.int64)])
    np.testing.assert_array_equal(unknown(tf.constant(sequences)).numpy(), keys)
    assert len({tuple(row) for row in keys.tolist()}) == 499
    for prime, base, column in zip(contrast._PRIMES, contrast._BASES, keys.T):
        for row in (0, 7):
            exact = sum(int(x) * pow(base, n, prime) for n, x in enumerate(sequences[row, ::-1])) % prime
            assert column[row] == exact


def test_the_length_of_vectors_is_nothing_to_it():
    np.testing.assert_allclose(found_by(100 * ANCHORS, 0.01 * POSITIVES), found_by(), rtol=1e-4)


def test_alone_there_is_nothing_to_push_away():
    """And a vector of 0, or of what only fills a batch, has a gradient that is a number."""
    anchors = tf.constant([ANCHORS[0], np.zeros(DIM)], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(anchors)
        losses = contrast.conditional_contrast(
            anchors, tf.constant(POSITIVES[:, :2], tf.float32), tf.constant([True, False])
        )
    assert np.isfinite(tape.gradient(losses, anchors)).all()
    near = normed(POSITIVES[:, 0]) @ normed(ANCHORS[0])
    weights = np.exp(-near) / np.exp(-near).sum()
    assert float(losses[0]) == pytest.approx(-weights @ near, rel=1e-5)
