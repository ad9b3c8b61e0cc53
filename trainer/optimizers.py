"""Adam and AdamW that pass over a variable once."""

from typing import Any, Iterable, Tuple

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


class _OnePass:
    """Adam's update as one operation for each variable, and sparse gradients as dense ones.

    Keras writes the update as some ten operations, each of which passes over all of the variable and
    makes a tensor as large. Its sparse form spares none of them, as all moments decay in each step
    (it is Adam, not a lazy one), and has to find equal indices first. Values and slots are those of Keras.
    """

    def apply_gradients(self, grads_and_vars: Iterable[Tuple[Any, tf.Variable]], **arguments: Any) -> Any:
        """As of Keras."""
        dense = [(_dense(gradient, variable), variable) for gradient, variable in grads_and_vars]
        return super().apply_gradients(dense, **arguments)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """As of Keras."""
        place = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].handle,
            v=self._velocities[place].handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(self.learning_rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=gradient,
        )


def _dense(gradient: Any, variable: tf.Variable) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, variable.shape[0])


class Adam(_OnePass, tf.keras.optimizers.Adam):
    """Adam; see `_OnePass`."""


class AdamW(_OnePass, tf.keras.optimizers.AdamW):
    """Adam with decoupled weight decay; see `_OnePass`."""
