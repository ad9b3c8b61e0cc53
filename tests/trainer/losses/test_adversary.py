"""An adversary's part of a loss."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import discriminator
from trainer.losses import adversary
from trainer.models import ranking

ROWS, DIM, ALPHA = 6, 3, 1e-9
Z, PRIOR = np.random.default_rng(0).normal(size=[2, ROWS, DIM])


def log_sigmoid(values):
    return -np.log1p(np.exp(-values))


def eq4(weight, z=Z):
    """log D(prior) + log(1 - D(z)) of each row, of a logistic discriminator."""
    return log_sigmoid(PRIOR @ weight) + log_sigmoid(-(z @ weight))


def numeric(function, at):
    found, step = np.zeros_like(at), 1e-6
    for place in np.ndindex(*at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        found[place] = (function(up) - function(down)) / (2 * step)
    return found


def test_value_and_both_gradients():
    """The value and the encoder's gradient are of the term as it stands in the loss, D's of the sum of logarithms.

    So what descends it moves z to where D takes it for the prior, and what ascends it tells the two apart.
    """
    weight = np.array([0.5, -1.0, 2.0])
    variable, z = tf.Variable(weight, dtype=tf.float32), tf.constant(Z, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        judged = adversary.judge(
            lambda vectors: tf.linalg.matvec(vectors, variable), z, tf.constant(PRIOR, tf.float32), ALPHA
        )
        loss = tf.reduce_sum(judged.value)
    np.testing.assert_allclose(judged.value, ALPHA * eq4(weight), rtol=1e-5)
    of_z, of_weight = tape.gradient(loss, [z, variable])
    np.testing.assert_allclose(
        of_z, ALPHA * numeric(lambda z: eq4(weight, z).sum(), Z), rtol=1e-4, atol=1e-12
    )
    np.testing.assert_allclose(of_weight, numeric(lambda w: eq4(w).sum(), weight), rtol=1e-4)
    np.testing.assert_allclose(judged.prior, np.exp(log_sigmoid(PRIOR @ weight)), rtol=1e-5)
    np.testing.assert_allclose(judged.encoded, np.exp(log_sigmoid(Z @ weight)), rtol=1e-5)
    # Downhill, D takes z for the prior rather; uphill, it tells them apart.
    moved = Z - 0.1 / ALPHA * of_z.numpy()
    assert (log_sigmoid(moved @ weight) > log_sigmoid(Z @ weight)).all()
    assert eq4(weight + 0.01 * of_weight.numpy()).sum() > eq4(weight).sum()


def test_worked_by_hand():
    """A discriminator that knows nothing says 1/2: 2 log(1/2)."""
    judged = adversary.judge(
        lambda vectors: tf.zeros([2]), tf.zeros([1, DIM]), tf.ones([1, DIM]), strength=0.5
    )
    assert float(judged.value[0]) == pytest.approx(-np.log(2)) and float(judged.prior[0]) == 0.5


def test_a_discriminator_that_ascends_it_learns_to_tell():
    """Two distributions of one mean, which it takes a hidden layer to tell apart."""
    tf.keras.utils.set_random_seed(0)
    judge, generator = discriminator.Discriminator([16]), ranking.random_generator(0)
    judge(tf.zeros([1, DIM]))
    optimizer = tf.keras.optimizers.legacy.Adam(0.02)

    @tf.function(autograph=False)
    def step():
        z = 0.2 * generator.normal([64, DIM])
        with tf.GradientTape() as tape:
            judged = adversary.judge(judge, z, adversary.PRIORS["normal"]([64, DIM], generator), ALPHA)
            down = -tf.reduce_mean(judged.value)
        variables = judge.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(down, variables), variables))
        return tf.reduce_mean(judged.prior), tf.reduce_mean(judged.encoded)

    for _ in range(150):
        prior, encoded = step()
    assert float(prior) > 0.75 and float(encoded) < 0.25


@pytest.mark.parametrize("name, kurtosis", [("normal", 3.0), ("uniform", 1.8), ("laplace", 6.0)])
def test_priors_have_mean_0_and_variance_1(name, kurtosis):
    drawn = adversary.PRIORS[name]([400, 500], ranking.random_generator(2)).numpy().astype(np.float64)
    assert np.isfinite(drawn).all()
    assert drawn.mean() == pytest.approx(0, abs=0.01) and drawn.var() == pytest.approx(1, abs=0.02)
    assert (drawn**4).mean() == pytest.approx(kurtosis, rel=0.05)
