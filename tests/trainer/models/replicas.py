"""What a model does on two replicas, for both harnesses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.loops import gradients as gradients_lib


def check(
    build: Callable[[], Any], features: dict[str, tf.Tensor], learning_rate: float, training: bool = False
) -> None:
    """A step on two logical devices equals one on all of the batch.

    Args:
      build: makes the model.
      features: a batch of which each device gets half.
      learning_rate: of the step, by plain gradient descent.
      training: whether with what is random in training; it must then be drawn alike.
    """
    whole = build()
    with tf.GradientTape() as tape:
        total, count = whole.summed_loss(features, training=training)
        loss = total / count
    # First, since the models of labels make variables when they are called.
    gradients = tape.gradient(loss, whole.trainable_variables)
    expected = [
        (variable - learning_rate * tf.convert_to_tensor(gradient)).numpy()
        for variable, gradient in zip(whole.trainable_variables, gradients)
    ]

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = build()
        model(features)
        optimizer = tf.keras.optimizers.SGD(learning_rate, jit_compile=False)
        optimizer.build(model.trainable_variables)
    rows = len(next(iter(features.values())))
    data = tf.data.Dataset.from_tensors(features).unbatch().batch(rows)

    def step(batch: dict[str, tf.Tensor]) -> None:
        with tf.GradientTape() as tape:
            total, count = model.summed_loss(batch, training=training)
            loss = total / gradients_lib.sum_over_replicas(count)
        gradients = gradients_lib.sum_over_replicas(tape.gradient(loss, model.trainable_variables))
        optimizer.apply_gradients(zip(gradients, model.trainable_variables), skip_gradients_aggregation=True)

    run = tf.function(lambda batch: strategy.run(step, args=(batch,)), autograph=False)
    run(next(iter(strategy.experimental_distribute_dataset(data))))
    assert strategy.num_replicas_in_sync == 2
    for variable, value in zip(model.trainable_variables, expected):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-6, err_msg=variable.name)
