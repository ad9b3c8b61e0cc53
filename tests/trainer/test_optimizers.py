"""Adam in one pass, beside Adam of Keras and beside NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from trainer import optimizers

TABLE = np.arange(15, dtype=np.float32).reshape(5, 3) / 10
INDICES = ([1, 3, 1], [0, 0, 0], [4, 2, 1])


def trained(optimizer, sparse=True):
    """The table and a number after steps on gradients of which some rows have two and some none."""
    table, number = tf.Variable(TABLE), tf.Variable(1.0)
    rng = np.random.default_rng(1)
    for indices in INDICES:
        values = tf.constant(rng.normal(size=[3, 3]).astype(np.float32))
        gradient = tf.IndexedSlices(values, tf.constant(indices), tf.constant([5, 3]))
        gradient = gradient if sparse else tf.convert_to_tensor(gradient)
        optimizer.apply_gradients([(gradient, table), (tf.constant(float(indices[0])), number)])
    return np.append(table.numpy().ravel(), number.numpy())


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(
    "name, arguments",
    [("Adam", {}), ("Adam", {"global_clipnorm": 0.5}), ("AdamW", {"weight_decay": 0.1})],
)
def test_as_of_keras(name, arguments, sparse):
    given = {"learning_rate": 0.1, "jit_compile": False, **arguments}
    if sparse and "global_clipnorm" in arguments:
        # Keras takes the norm of the slices as they are; the gradient is their sum.
        expected = trained(getattr(tf.keras.optimizers, name)(**given), sparse=False)
    else:
        expected = trained(getattr(tf.keras.optimizers, name)(**given), sparse)
    found = trained(getattr(optimizers, name)(**given), sparse)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found[:15] - TABLE.ravel()).max() > 0.05


def test_adam_in_numpy():
    rng, place = np.random.default_rng(1), TABLE.astype(np.float64)
    first, second = np.zeros([5, 3]), np.zeros([5, 3])
    for step, indices in enumerate(INDICES, 1):
        gradient = np.zeros([5, 3])
        np.add.at(gradient, indices, rng.normal(size=[3, 3]))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        place = place - 0.1 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
    found = trained(optimizers.Adam(learning_rate=0.1, jit_compile=False))
    np.testing.assert_allclose(found[:15].reshape(5, 3), place, rtol=1e-4, atol=1e-4)


def test_slots_go_on_where_those_of_keras_end():
    """Checkpoints of either can be read by the other."""
    table = tf.Variable(TABLE)
    ours, theirs = (
        module.Adam(learning_rate=0.1, jit_compile=False) for module in (optimizers, tf.keras.optimizers)
    )
    for one in (ours, theirs):
        one.build([table])
    assert [v.shape for v in ours.variables] == [v.shape for v in theirs.variables]
    assert [v.name for v in ours.variables] == [v.name for v in theirs.variables]
