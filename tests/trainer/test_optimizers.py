"""The optimiser against the formula, in float64, and against Keras' own."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import errors
from trainer import optimizers
from trainer.settings import training as training_settings

ROWS, DIM = 7, 3


def gradients(rng):
    """A dense gradient, and one of slices with a row that repeats and rows that have none."""
    values, rows = rng.normal(size=[5, DIM]).astype(np.float32), np.array([1, 4, 1, 0, 1])
    dense = np.zeros([ROWS, DIM], np.float32)
    np.add.at(dense, rows, values)
    slices = tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([ROWS, DIM], tf.int64))
    return rng.normal(size=[ROWS, DIM]).astype(np.float32), slices, dense


@pytest.mark.parametrize("decay, clip", [(0.0, None), (0.1, 0.5)])
def test_gradient_descent(decay, clip):
    """`value -= rate gradient`, of gradients whose common norm is cut; rows that come twice are summed before."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=[2, ROWS, DIM]).astype(np.float32)
    one, two = (tf.Variable(value) for value in start)
    settings = training_settings.TrainingSettings(
        optimizer="sgd", learning_rate=0.1, weight_decay=decay, clip_norm=clip
    )
    optimizer = optimizers.build(settings, steps=1)
    optimizer.build([one, two])
    first, slices, dense = gradients(rng)
    optimizer.apply_gradients([(first, one), (slices, two)])
    norm = np.sqrt((first**2).sum() + (dense**2).sum())
    share = 1.0 if clip is None else min(1.0, clip / norm)
    for variable, value, gradient in zip((one, two), start, (first, dense)):
        expected = value * (1 - 0.1 * decay) - 0.1 * share * gradient
        np.testing.assert_allclose(variable, expected, rtol=1e-5, atol=1e-6)


def by_hand(start, steps, rate, decay=0.0):
    """Algorithm 1 in the form of the end of section 2; the decay is AdamW's."""
    value, m, v = start.astype(np.float64), 0.0, 0.0
    for number, gradient in enumerate(steps, 1):
        value -= value * decay * rate
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient.astype(np.float64) ** 2
        rate_now = rate * np.sqrt(1 - 0.999**number) / (1 - 0.9**number)
        value -= rate_now * m / (np.sqrt(v) + 1e-7)
    return value


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_equal_the_formula(decay):
    rng = np.random.default_rng(0)
    start = rng.normal(size=[2, ROWS, DIM]).astype(np.float32)
    one, two = (tf.Variable(value) for value in start)
    settings = training_settings.TrainingSettings(learning_rate=0.01, weight_decay=decay)
    optimizer = optimizers.build(settings, steps=4)
    assert isinstance(optimizer, optimizers.Adam)
    optimizer.build([one, two])
    apply = tf.function(lambda a, b: optimizer.apply_gradients([(a, one), (b, two)]))
    steps = [gradients(rng) for _ in range(4)]
    for first, slices, _ in steps:
        apply(first, slices)
    np.testing.assert_allclose(one, by_hand(start[0], [s[0] for s in steps], 0.01, decay), rtol=1e-5)
    np.testing.assert_allclose(two, by_hand(start[1], [s[2] for s in steps], 0.01, decay), rtol=1e-5)


def test_the_norm_that_is_clipped_is_that_of_all_gradients():
    """Of slices, that of their sum."""
    rng = np.random.default_rng(2)
    start = rng.normal(size=[2, ROWS, DIM]).astype(np.float32)
    one, two = (tf.Variable(value) for value in start)
    optimizer = optimizers.build(
        training_settings.TrainingSettings(learning_rate=0.01, clip_norm=0.5), steps=4
    )
    optimizer.build([one, two])
    clipped = []
    for size in (1.0, 0.01, 10.0):
        first, slices, dense = gradients(rng)
        slices = tf.IndexedSlices(slices.values * size, slices.indices, slices.dense_shape)
        optimizer.apply_gradients([(first * size, one), (slices, two)])
        norm = size * np.sqrt((first**2).sum() + (dense**2).sum())
        clipped.append([size * gradient * min(1.0, 0.5 / norm) for gradient in (first, dense)])
    np.testing.assert_allclose(one, by_hand(start[0], [c[0] for c in clipped], 0.01), rtol=1e-5)
    np.testing.assert_allclose(two, by_hand(start[1], [c[1] for c in clipped], 0.01), rtol=1e-5)


@pytest.mark.parametrize("devices", [["CPU:0"], ["CPU:0", "CPU:1"]])
def test_updates_equal_those_of_keras(devices):
    """With clipping, a schedule, and on replicas.

    Ours gets slices, Keras their sum: of slices it would take another norm, where rows are in several of them.
    """
    strategy = tf.distribute.MirroredStrategy(devices)
    found = []
    for kind in (optimizers.Adam, tf.keras.optimizers.Adam):
        rng = np.random.default_rng(1)
        with strategy.scope():
            table = tf.Variable(rng.normal(size=[ROWS, DIM]).astype(np.float32))
            schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
            optimizer = kind(schedule, global_clipnorm=0.5, jit_compile=False)
            optimizer.build([table])

        def step(slices, optimizer=optimizer, table=table, kind=kind):
            gradient = slices if kind is optimizers.Adam else tf.convert_to_tensor(slices)
            optimizer.apply_gradients([(gradient, table)], skip_gradients_aggregation=True)

        run = tf.function(lambda slices, step=step: strategy.run(step, args=(slices,)))
        for _ in range(3):
            run(gradients(rng)[1])
        copies = strategy.experimental_local_results(table)
        assert len(copies) == len(devices)
        found += [copy.numpy() for copy in copies]
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, rtol=1e-5, atol=1e-6)


def lazily_by_hand(start, steps, rate, clip=None):
    """The formula of Adam, for the rows of each step alone."""
    value, m, v = start.astype(np.float64), np.zeros_like(start, float), np.zeros_like(start, float)
    for number, (rows, gradient) in enumerate(steps, 1):
        gradient = gradient.astype(np.float64)
        gradient = gradient * min(1.0, clip / np.linalg.norm(gradient)) if clip else gradient
        for row in rows:
            m[row] = 0.9 * m[row] + 0.1 * gradient[row]
            v[row] = 0.999 * v[row] + 0.001 * gradient[row] ** 2
            rate_now = rate * np.sqrt(1 - 0.999**number) / (1 - 0.9**number)
            value[row] -= rate_now * m[row] / (np.sqrt(v[row]) + 1e-7)
    return value


@pytest.mark.parametrize("clip", [None, 0.5])
def test_lazy_updates_equal_the_formula_of_the_rows_that_were_met(clip):
    rng = np.random.default_rng(3)
    start = rng.normal(size=[ROWS, DIM]).astype(np.float32)
    table = tf.Variable(start)
    settings = training_settings.TrainingSettings(learning_rate=0.01, optimizer="lazy_adam", clip_norm=clip)
    optimizer = optimizers.build(settings, steps=4)
    optimizer.build([table])
    apply = tf.function(lambda slices: optimizer.apply_gradients([(slices, table)]), reduce_retracing=True)
    steps = []
    for rows in ([1, 4, 1, 0, 1], [4, 5], [0, 0, 0], [1, 5]):
        values, dense = (
            rng.normal(size=[len(rows), DIM]).astype(np.float32),
            np.zeros([ROWS, DIM], np.float32),
        )
        np.add.at(dense, rows, values)
        steps.append((set(rows), dense))
        apply(tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([ROWS, DIM])))
    np.testing.assert_allclose(table, lazily_by_hand(start, steps, 0.01, clip), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(table.numpy()[[2, 3, 6]], start[[2, 3, 6]])


def test_a_lazy_step_of_a_dense_gradient_is_adams():
    rng = np.random.default_rng(4)
    start, gradient = rng.normal(size=[2, ROWS, DIM]).astype(np.float32)
    variable = tf.Variable(start)
    settings = training_settings.TrainingSettings(learning_rate=0.01, optimizer="lazy_adam")
    optimizer = optimizers.build(settings, steps=2)
    for _ in range(2):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(variable, by_hand(start, [gradient, gradient], 0.01), rtol=1e-5)


def test_gradient_descent_has_no_learning_rate_of_its_own():
    with pytest.raises(ValueError, match="sgd needs a learning_rate: the default, 0.001, is Adam.s"):
        training_settings.TrainingSettings(optimizer="sgd")
    assert training_settings.TrainingSettings(optimizer="sgd", learning_rate=0.001).learning_rate == 0.001


def test_what_lazy_updates_do_not_go_with_is_told():
    with pytest.raises(ValueError, match="found weight_decay: 0.1"):
        training_settings.TrainingSettings(optimizer="lazy_adam", weight_decay=0.1)
    settings = training_settings.TrainingSettings(optimizer="lazy_adam")
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        with pytest.raises(errors.InputError, match="on one device, found 2"):
            optimizers.build(settings, steps=1)
