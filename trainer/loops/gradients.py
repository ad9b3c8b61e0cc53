"""What steps do with gradients and variables on all replicas."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops

import schemas  # noqa: F401  selects Keras 2


@contextlib.contextmanager
def released() -> Iterator[None]:
    """Takes the gradients that graphs made within have registered out of TensorFlow's registry at the end.

    A `tf.custom_gradient` in a graph registers one under a name of its own, for good. It holds the tensors of the graph,
    so that no training's graph would ever be freed, and a process of many trainings would only grow. Nothing made
    within is differentiated afterwards.
    """
    # TensorFlow has no way to take one out.
    registered: dict[str, Any] = getattr(ops.gradient_registry, "_registry", {})
    before = set(registered)
    try:
        yield
    finally:
        for name in set(registered) - before:
            if name.startswith("CustomGradient-"):
                del registered[name]


def times(gradient: Any, factor: Any) -> Any:
    """A gradient, dense or sparse, times a scalar."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor


def where(sound: tf.Tensor, gradient: Any, otherwise: float) -> Any:
    """A gradient, dense or sparse, whose values are another number where it is not sound (a scalar bool)."""
    if isinstance(gradient, tf.IndexedSlices):
        values = where(sound, gradient.values, otherwise)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return tf.where(sound, gradient, tf.constant(otherwise, gradient.dtype))


def finite(found: Sequence[Any]) -> tf.Tensor:
    """Whether all that is in some gradients is finite, a scalar bool."""
    values = [one.values if isinstance(one, tf.IndexedSlices) else one for one in found]
    return tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(one)) for one in values]))


def sum_over_replicas(values: Any) -> Any:
    """The sum over replicas of a tensor, or of each of a list of gradients; in a replica context.

    Sparse gradients become dense where there are several replicas: TensorFlow's gather fails
    ("Shape mismatch in the collective instance") as soon as two steps of one call have different
    numbers of slices, as a smaller last batch has. Adam moves all rows in any case.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.nest.map_structure(tf.convert_to_tensor, values))


def update(function: Callable[[tf.Variable, Any], Any], pairs: Sequence[tuple[tf.Variable, Any]]) -> None:
    """Calls `function` with each variable and value, on all replicas, in this order; in a replica context."""
    if not pairs:
        return
    variables, values = zip(*pairs)

    def on_each(strategy: tf.distribute.Strategy, *merged: Any) -> None:
        for variable, value in zip(variables, merged):
            strategy.extended.update(variable, function, args=(value,), group=False)

    tf.distribute.get_replica_context().merge_call(on_each, args=values)
