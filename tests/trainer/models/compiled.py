"""What XLA makes of a model's loss, for both harnesses."""

from typing import Any

import numpy as np
import tensorflow as tf


def check(model: Any, features: dict[str, tf.Tensor], expected: tuple[tf.Tensor, tf.Tensor]) -> None:
    """The compiled loss is the expected one, and its gradient in training compiles and is finite.

    Args:
      model: has `summed_loss`.
      features: a batch.
      expected: the summed loss without training, and its count.
    """
    compiled = tf.function(
        lambda: model.summed_loss(features, training=False), autograph=False, jit_compile=True
    )
    np.testing.assert_allclose(compiled(), expected, rtol=1e-4)

    @tf.function(autograph=False, jit_compile=True)
    def gradients() -> Any:
        with tf.GradientTape() as tape:
            loss, _ = model.summed_loss(features, training=True)
        found = tape.gradient(loss, model.trainable_variables)
        return [tf.convert_to_tensor(gradient) for gradient in found]

    assert all(np.isfinite(gradient).all() for gradient in gradients())
