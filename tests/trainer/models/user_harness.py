"""What every pretraining of a network of users has to pass, whatever it predicts; a model's test is one call of `check`."""

from typing import Any

import numpy as np
import tensorflow as tf

from schemas import names
from serving import module
from tests.trainer.models import compiled, replicas, scene_harness, test_byb
from trainer import config, optimizers, registry
from trainer.losses import ranking as losses

KNOWN, batch = test_byb.KNOWN, test_byb.batch


def build(values: dict[str, Any], seed: int = 3, loss: dict[str, Any] | None = None) -> Any:
    """A model with its variables made, and its default loss unless another one is named."""
    settings = config.TrainerSettings.from_values({"model": values, **({"loss": loss} if loss else {})})
    tf.keras.utils.set_random_seed(seed)
    model = registry.load(settings.model.name)(settings.model, KNOWN, seed=seed)
    model.training_loss = losses.build(settings.loss)
    model(batch(), training=False)
    # What training moves is there before the loss is asked for.
    made = len(model.trainable_variables)
    model.summed_loss(batch(), training=False)
    assert len(model.trainable_variables) == made
    return model


def check(values: dict[str, Any]) -> None:
    """The invariants that hold for all of them, of settings without dropout."""
    model, features = build(values), batch(1)
    read = {name: features[name] for name in {*model.inputs_read, *model.loss_inputs_read}}
    total, count = model.summed_loss(read, training=False)
    assert float(count) == 5 and np.isfinite(float(total))

    # What follows is in no embedding.
    blind = {name: value for name, value in features.items() if not name.startswith(("future_", "target_"))}
    np.testing.assert_array_equal(model.encode(blind), model.encode(features))
    order = np.random.default_rng(2).permutation(5)
    moved = {name: tf.gather(value, order) for name, value in features.items()}
    np.testing.assert_allclose(
        model.encode(moved), model.encode(features).numpy()[order], rtol=1e-4, atol=1e-5
    )

    # Rows that fill a batch up do not count, and shapes that are known change nothing.
    for model.static_shapes in (False, True):
        found = model.summed_loss(scene_harness.filled(read), training=False)
        np.testing.assert_allclose(found, (total, count), rtol=1e-4)
    compiled.check(model, read, (total, count))
    replicas.check(lambda: build(values), batch(8, rows=6), learning_rate=0.1)

    # All that is trained has a gradient; a key's bias changes no attention.
    model = build(values)
    with tf.GradientTape() as tape:
        loss, _ = model.summed_loss(read, training=True)
    for variable, one in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables)):
        assert one is not None and (
            float(tf.norm(tf.convert_to_tensor(one))) > 0 or "qkv/bias" in variable.name
        ), variable.name

    # What is exported is the network, which embeds without the rest.
    assert [v.ref() for v in model.serving_variables] == [v.ref() for v in model.users.variables]
    held = module.HeldModel(model)
    assert len(held.variables) == len(model.users.variables)
    assert names.HISTORY_ITEM_INDEX in model.inputs_read


def learns(values: dict[str, Any], steps: int = 200, rate: float = 0.01) -> tuple[float, float]:
    """The mean loss of one batch before and after so many steps on it."""
    model, features = build(values), batch(6, rows=4)
    optimizer = optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(features, training=True)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    first = float(model.compute_loss(features))
    for _ in range(steps):
        step()
    return first, float(model.compute_loss(features))
