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

    @tf.function(autograph=False, jit_compile=True)
    def compiled() -> Any:
        with tf.GradientTape() as tape:
            loss, _ = model.summed_loss(features, training=True)
        found = tape.gradient(loss, model.trainable_variables)
        return model.summed_loss(features, training=False), [tf.convert_to_tensor(one) for one in found]

    found, gradients = compiled()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
