"""The optimiser of all loops, and its learning rate."""

import math
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import errors
from trainer.settings import training as training_settings


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
        beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        step = tf.cast(self.iterations + 1, variable.dtype)
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


class LazyAdam(Adam):
    """Adam which, of a table whose gradient is sparse, moves only the rows that a step has looked up.

    Their moments alone decay and their values alone move; that of a row which is met seldom so forgets by steps that
    meet it, not by all. (As LazyAdam of TensorFlow Addons.) Gradients that are dense, as those of a table that all items
    are scored with, are Adam's. A step is to be taken by one replica: what several have summed is dense.
    """

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        # Summed before: the norm of slices is not that of their sum, if a row is in several of them.
        return super(Adam, self)._clip_gradients([_summed(gradient) for gradient in grads])

    def _deduplicate_sparse_grad(self, grads: list[Any]) -> list[Any]:
        # They are summed when they are clipped, which is before.
        return grads

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """One step of a variable, or of some of its rows."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        key = self._index_dict[self._var_key(variable)]
        moments, velocities, rows = self._momentums[key], self._velocities[key], gradient.indices
        beta_1, beta_2 = (tf.cast(beta, variable.dtype) for beta in (self.beta_1, self.beta_2))
        step = tf.cast(self.iterations + 1, variable.dtype)
        corrected = tf.sqrt(1.0 - tf.pow(beta_2, step)) / (1.0 - tf.pow(beta_1, step))
        rate = tf.cast(self.learning_rate, variable.dtype) * corrected
        moment = beta_1 * tf.gather(moments, rows) + (1.0 - beta_1) * gradient.values
        velocity = beta_2 * tf.gather(velocities, rows) + (1.0 - beta_2) * tf.square(gradient.values)
        moments.scatter_update(tf.IndexedSlices(moment, rows))
        velocities.scatter_update(tf.IndexedSlices(velocity, rows))
        moved = rate * moment / (tf.sqrt(velocity) + tf.cast(self.epsilon, variable.dtype))
        variable.scatter_sub(tf.IndexedSlices(moved, rows))


class SGD(tf.keras.optimizers.SGD):
    """Keras' gradient descent, without momentum."""

    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        # As LazyAdam's: the norm of slices is not that of their sum. Rows without a gradient do not move in any case.
        return super()._clip_gradients([_summed(gradient) for gradient in grads])


def _summed(gradient: Any) -> Any:
    """Slices in which each row is once."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def _dense(gradient: Any) -> tf.Tensor:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])
    return gradient


# By the setting's name.
_OPTIMIZERS = {"adam": Adam, "lazy_adam": LazyAdam, "sgd": SGD}


class _Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear growth over `warmup` steps; then constant, or half a cosine that ends at 0 in step `steps`."""

    def __init__(self, rate: float, warmup: int, steps: int | None):
        self._rate, self._warmup, self._steps = rate, warmup, steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        grown = tf.minimum(1.0, (step + 1.0) / max(1, self._warmup))
        if self._steps is None:
            return self._rate * grown
        done = tf.clip_by_value((step - self._warmup) / max(1, self._steps - self._warmup), 0.0, 1.0)
        return self._rate * grown * (1.0 + tf.cos(math.pi * done)) / 2.0

    def get_config(self) -> dict[str, Any]:
        return {"rate": self._rate, "warmup": self._warmup, "steps": self._steps}


def build(settings: training_settings.TrainingSettings, steps: int) -> tf.keras.optimizers.Optimizer:
    """What `settings.optimizer` names, Adam as AdamW where there is weight decay; with loss scaling for float16.

    In the strategy's scope.

    Args:
      settings: of the training.
      steps: how many it has if nothing stops it before.

    Raises:
      errors.InputError: if `lazy_adam` is to be taken by several replicas.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if settings.optimizer == "lazy_adam" and replicas > 1:
        raise errors.InputError(
            f"training.optimizer: lazy_adam trains on one device, found {replicas}: use adam, or show it one "
            "(CUDA_VISIBLE_DEVICES)"
        )
    rate: Any = settings.learning_rate
    falls = settings.schedule == "cosine"
    if settings.warmup_steps or falls:
        rate = _Schedule(settings.learning_rate, settings.warmup_steps, steps if falls else None)
    optimizer: Any = _OPTIMIZERS[settings.optimizer](
        learning_rate=rate,
        weight_decay=settings.weight_decay or None,
        global_clipnorm=settings.clip_norm,
        jit_compile=False,
    )
    if tf.keras.mixed_precision.global_policy().compute_dtype == "float16":
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer
