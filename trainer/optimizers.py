"""The optimiser of all loops."""

from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


class Adam(tf.keras.optimizers.Adam):
    """Keras' Adam (Kingma and Ba, ICLR 2015), or AdamW with `weight_decay`, by TensorFlow's own kernel.

    The update is the same but for rounding. Adam moves every row of a table in every step, also those
    that have no gradient now, so with a large catalogue it is most of a step. Keras makes a temporary
    tensor of the table's size for each term of the formula; the kernel reads and writes
    variable and moments once. It takes dense gradients: sparse ones are summed into one.
    """

    def _clip_gradients(self, grads: list[Any]) -> list[tf.Tensor]:
        # Dense before: the norm of slices is not that of their sum, if a row is in several of them.
        return super()._clip_gradients([_dense(gradient) for gradient in grads])

    def _deduplicate_sparse_grad(self, grads: list[Any]) -> list[tf.Tensor]:
        # Keras would sum equal rows into slices, which would then be summed once more.
        return [_dense(gradient) for gradient in grads]

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """One step of a variable."""
        key = self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[key].handle,
            v=self._velocities[key].handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(self.learning_rate, variable.dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=_dense(gradient),
        )


def _dense(gradient: Any) -> tf.Tensor:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])
    return gradient
