"""What a model does on two replicas, for both harnesses."""

from typing import Any, Callable, Dict

import numpy as np
import tensorflow as tf


def check(build: Callable[[], Any], features: Dict[str, tf.Tensor], learning_rate: float) -> None:
    """A step on two logical devices equals one on a single device.

    Args:
      build: makes the model.
      features: a batch of which each device gets half.
      learning_rate: of the step, by plain gradient descent.
    """
    rows = len(next(iter(features.values())))
    results = []
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        strategy = tf.distribute.MirroredStrategy(devices)
        with strategy.scope():
            model = build()
            optimizer = tf.keras.optimizers.SGD(learning_rate)
        data = tf.data.Dataset.from_tensors(features).unbatch().batch(rows)

        def step(batch: Dict[str, tf.Tensor], model: Any = model, optimizer: Any = optimizer) -> None:
            with tf.GradientTape() as tape:
                total, count = model.summed_loss(batch, training=False)
                count = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, count)
                loss = total / count
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))

        run = tf.function(
            lambda batch, strategy=strategy, step=step: strategy.run(step, args=(batch,)), autograph=False
        )
        run(next(iter(strategy.experimental_distribute_dataset(data))))
        assert strategy.num_replicas_in_sync == len(devices)
        results.append([variable.numpy() for variable in model.trainable_variables])
    for one, two in zip(*results):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
