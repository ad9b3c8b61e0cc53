"""What every model of exposures has to pass; a model's test is one call of `run_model_test`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from components.transform import fields as fields_lib
from schemas import names
from serving import module
from tests.trainer.models import compiled, replicas
from trainer import config, optimizers, registry
from trainer.models import labels as label_models

STEPS = ("click", "cart", "buy")
ITEMS, COLORS, TAGS = 9, 5, 6
FIELDS = (
    fields_lib.Field("item_id", "item_id_index", "index", ITEMS, "item_id"),
    fields_lib.Field("item_color", "item_color_index", "index", COLORS, "item_color"),
    fields_lib.Field("item_tags", "item_tags_index", "indices", TAGS, "item_tags"),
    fields_lib.Field("history_item", "history_item_index", "indices", ITEMS, "item_id"),
    fields_lib.Field("item_price", "item_price_value", "value", 0, "item_price"),
    fields_lib.Field("user_age", "user_age_value", "value", 0, "user_age"),
)


def exposures(steps: Sequence[str] = STEPS, **changes: Any) -> label_models.Exposures:
    """Of six fields of all kinds, with ever rarer steps."""
    values = {
        "fields": FIELDS,
        "steps": tuple(steps),
        "base_rates": tuple(0.4 / (n + 1) for n in range(len(steps))),
    }
    return label_models.Exposures(**{**values, **changes})


def batch(seed: int = 0, rows: int = 7, steps: Sequence[str] = STEPS) -> dict[str, tf.Tensor]:
    """Random exposures with consistent chains of labels, all of them known."""
    rng = np.random.default_rng(seed)

    def several(width: int, size: int, left: bool) -> np.ndarray:
        found = rng.integers(names.OOV_INDEX, size, [rows, width])
        count = rng.integers(0, width + 1, [rows, 1])
        # One row has none at all.
        count[0] = 0
        place = np.arange(width)[::-1] if left else np.arange(width)
        return np.where(place < count, found, names.PADDING_INDEX)

    reached = rng.integers(0, len(steps) + 1, rows)
    # Every step has both.
    reached[:2] = 0, len(steps)
    features = {
        "item_id_index": rng.integers(0, ITEMS, rows),
        "item_color_index": rng.integers(0, COLORS, rows),
        "item_tags_index": several(3, TAGS, left=False),
        "history_item_index": several(4, ITEMS, left=True),
        "item_price_value": rng.normal(size=rows).astype(np.float32),
        "user_age_value": rng.normal(size=rows).astype(np.float32),
    }
    features.update(
        (names.LABEL_PREFIX + step, (reached > n).astype(np.int64)) for n, step in enumerate(steps)
    )
    return {name: tf.constant(value) for name, value in features.items()}


def build(values: dict[str, Any], seed: int = 3, steps: Sequence[str] = STEPS, **changes: Any) -> Any:
    """A model with its variables made."""
    settings = config.TrainerSettings.from_values({"model": values}).model
    tf.keras.utils.set_random_seed(seed)
    model = registry.load(settings.name)(settings, exposures(steps, **changes), seed=seed)
    model(batch(steps=steps), training=False)
    return model


def run_model_test(
    values: dict[str, Any],
    folder: Any,
    learning_rate: float = 0.02,
    steps: int = 150,
    graphs: bool = True,
) -> None:
    """Checks shapes, chains of any length, gradients, unknown labels, overfitting, XLA, saving and replicas.

    Args:
      values: the `model` part of an experiment, with a small model.
      folder: an empty one.
      learning_rate, steps: what learning one batch by heart takes.
      graphs: whether to do what takes a graph of the model (from overfitting on): of several variants of a
        model, the one that has most of its parts.
    """
    for length in (1, 2, 4):
        chain = tuple(f"step{n}" for n in range(length))
        found = build(values, steps=chain)(batch(steps=chain))
        assert found.shape == (7, length) and found.dtype == tf.float32
    model, features = build(values), batch()
    logits, likely = model(features), model.probabilities(features)
    assert np.isfinite(logits).all() and likely.dtype == tf.float32
    np.testing.assert_allclose(likely, 1 / (1 + np.exp(-np.asarray(logits, np.float64))), rtol=1e-5)
    np.testing.assert_array_equal(build(values)(features), logits)
    assert set(model.inputs_read) == {field.key for field in FIELDS}
    _check_rows(model)
    _check_base_rates(values)
    _check_gradients(model)
    _check_unknown_labels(model)
    _check_precision(values)
    if graphs:
        _check_overfitting(values, learning_rate, steps)
        compiled.check(model, features, model.summed_loss(features, training=False))
        _check_saving(values, model, features, folder)


def _check_rows(model: label_models.LabelModel) -> None:
    """An exposure's logits do not depend on the others, nor on labels and padding."""
    features = batch(1)
    expected = model(features).numpy()
    order = np.random.default_rng(2).permutation(7)
    moved = model({name: tf.gather(value, order) for name, value in features.items()})
    np.testing.assert_allclose(moved, expected[order], rtol=1e-4, atol=1e-5)
    alone = {name: features[name][3:4] for name in model.inputs_read}
    np.testing.assert_allclose(model(alone)[0], expected[3], rtol=1e-4, atol=1e-5)
    wider = dict(features)
    for name in ("item_tags_index", "history_item_index"):
        wider[name] = tf.pad(features[name], [[0, 0], [0, 2]])
    np.testing.assert_allclose(model(wider), expected, rtol=1e-4, atol=1e-5)


def _check_base_rates(values: dict[str, Any]) -> None:
    """A model whose fields say nothing answers with the base rates from the start."""
    model = build(values)
    heads = {head.trainable_variables[1].ref() for head in model._heads}
    for variable in model.trainable_variables:
        if variable.ref() not in heads:
            variable.assign(tf.zeros_like(variable))
    expected = np.tile(model.exposures.base_rates, [7, 1])
    np.testing.assert_allclose(model.probabilities(batch()), expected, rtol=1e-5)


def _gradients(model: label_models.LabelModel, features: dict[str, tf.Tensor]) -> Any:
    with tf.GradientTape() as tape:
        total, count = model.summed_loss(features, training=False)
    found = tape.gradient(total, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, found):
        assert gradient is not None, f"no gradient reaches {variable.name}"
        if "table_" in variable.name:
            assert isinstance(gradient, tf.IndexedSlices), variable.name
    return float(total), float(count), [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def _check_gradients(model: label_models.LabelModel) -> None:
    _, count, found = _gradients(model, batch(3, rows=40))
    assert count == 40
    for variable, gradient in zip(model.trainable_variables, found):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, variable.name


def _check_unknown_labels(model: label_models.LabelModel) -> None:
    """What is not known has no loss and no gradient; an exposure of which nothing is known does not count."""
    features = batch(4, rows=40)
    last = names.LABEL_PREFIX + STEPS[-1]
    unknown = {
        name: tf.fill([40], tf.constant(names.UNKNOWN_LABEL, tf.int64)) for name in model.loss_inputs_read
    }
    assert _gradients(model, {**features, **unknown})[:2] == (0.0, 0.0)
    assert all(not gradient.any() for gradient in _gradients(model, {**features, **unknown})[2])

    # Half the rows without any label: what the other half alone gives.
    half = np.arange(40) < 20
    mixed = {name: tf.where(half, features[name], unknown[name]) for name in unknown}
    some = _gradients(model, {**features, **mixed})
    alone = _gradients(model, {name: value[:20] for name, value in features.items()})
    assert some[1] == alone[1] == 20 and np.isclose(some[0], alone[0], rtol=1e-4)
    for one, two in zip(some[2], alone[2]):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)

    # Without the last label the head of the last step moves only by the penalty.
    logits = model(features)
    labels = tf.stack([features[name] for name in model.loss_inputs_read], axis=1)
    partly = tf.concat([labels[:, :-1], tf.fill([40, 1], tf.constant(-1, tf.int64))], axis=1)
    expected = _cross_entropy(logits.numpy(), partly.numpy()) + model.penalty(logits).numpy()
    total, count = model.summed_loss({**features, last: unknown[last]}, training=False)
    assert float(count) == 40
    np.testing.assert_allclose(total, expected.sum(), rtol=1e-4)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each exposure, over its known labels, in float64."""
    likely = 1 / (1 + np.exp(-logits.astype(np.float64)))
    losses = -np.where(labels == 1, np.log(likely), np.log1p(-likely))
    return np.where(labels >= 0, losses, 0).sum(axis=1)


def _check_overfitting(values: dict[str, Any], learning_rate: float, steps: int) -> None:
    """One batch is learnt by heart, so the loss can be reached and the optimiser finds it."""
    model, features = build({**values, "dropout": 0.0}), batch(5, rows=12)
    model(features)
    optimizer = optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            total, count = model.summed_loss(features, training=True)
            loss = total / count
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        )
        return loss

    first = float(step())
    for _ in range(steps):
        last = float(step())
    assert last < 0.1 * first, (first, last)


def _check_precision(values: dict[str, Any]) -> None:
    exact = build(values)(batch())
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build(values)
        rough, (total, _) = model(batch()), model.summed_loss(batch(), training=True)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert rough.dtype == tf.float32 and np.isfinite(float(total))
    np.testing.assert_allclose(rough, exact, atol=0.03)
    # As `Loop.as_float32` makes what is served of what has trained.
    served = build(values)
    served(batch())
    served.set_weights(model.get_weights())
    np.testing.assert_array_equal(served(batch()), exact)


def _check_saving(
    values: dict[str, Any], model: label_models.LabelModel, features: dict[str, tf.Tensor], folder: Any
) -> None:
    """Checkpoints and SavedModels have all of it, calibration included."""
    model.calibrate(np.array([0.5, 1.5, 2.0]), np.array([0.1, 0.0, -0.2]))
    path = tf.train.Checkpoint(model=model).write(str(folder / "checkpoint"))
    other = build(values, seed=99)
    tf.train.Checkpoint(model=other).read(path).assert_existing_objects_matched()
    likely = model.probabilities(features)
    np.testing.assert_array_equal(other.probabilities(features), likely)

    read = {name: features[name] for name in model.inputs_read}
    specs = {
        name: tf.TensorSpec([None, *value.shape[1:]], value.dtype, name=name) for name, value in read.items()
    }
    function = tf.function(
        lambda **kw: {"likely": model.probabilities(kw)}, autograph=False
    ).get_concrete_function(**specs)
    # As `serving` saves it; its own graphs, of each of its layers, would take most of the test.
    tf.saved_model.save(module.HeldModel(model), str(folder / "saved"), signatures={"predict": function})
    loaded = tf.saved_model.load(str(folder / "saved")).signatures["predict"](**read)["likely"]
    np.testing.assert_allclose(loaded, likely, rtol=1e-5, atol=1e-6)


def check_replicas(values: dict[str, Any]) -> None:
    """A step of a model on two replicas is one on the whole batch."""
    features = batch(7, rows=6)
    # One replica has fewer labels, so that a mean of the replicas' means would be a different gradient.
    for name in label_models.label_features(STEPS):
        features[name] = tf.where(tf.range(6) == 5, tf.constant(-1, tf.int64), features[name])
    replicas.check(lambda: build(values), features, learning_rate=0.5)
