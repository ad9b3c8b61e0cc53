"""What every next-item model has to pass; a model's test is one call of `run_model_test`."""

from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from serving import module
from tests.trainer.models import compiled, replicas
from trainer import config, optimizers, registry
from trainer.losses import ranking as losses
from trainer.models import ranking as ranking_models

LENGTH = 6
SIZE = 11


def catalogue() -> ranking_models.Catalogue:
    """Of 11 items with falling counts."""
    counts = np.arange(SIZE, 0, -1)
    return ranking_models.Catalogue(counts, LENGTH, behaviors=2, scenes=2, behavior_names=("view", "buy"))


def batch(seed: int = 0, rows: int = 5) -> dict[str, tf.Tensor]:
    """Left-padded random histories of 1 to L events; what a model does not read does no harm."""
    rng = np.random.default_rng(seed)
    item = rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + SIZE, [rows, LENGTH])
    present = np.arange(LENGTH)[None, :] >= LENGTH - rng.integers(1, LENGTH + 1, [rows, 1])
    kinds = rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + 2, [rows, LENGTH])
    return {
        names.HISTORY_ITEM_INDEX: tf.constant(np.where(present, item, names.PADDING_INDEX)),
        names.HISTORY_BEHAVIOR_INDEX: tf.constant(np.where(present, kinds, names.PADDING_INDEX)),
        names.HISTORY_SCENE_INDEX: tf.constant(np.where(present, kinds, names.PADDING_INDEX)),
        names.HISTORY_LOG_GAP: tf.constant(np.where(present, item % 7 * 2.0, 0.0), tf.float32),
        names.TARGET_ITEM_INDEX: tf.constant(
            rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + SIZE, [rows])
        ),
        names.TARGET_BEHAVIOR_INDEX: tf.constant(
            rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + 2, [rows])
        ),
        names.TARGET_SCENE_INDEX: tf.constant(rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + 2, [rows])),
    }


def build(
    values: dict[str, Any], seed: int = 3, loss: dict[str, Any] | None = None
) -> ranking_models.SequenceModel:
    """A model with its variables made, and the full softmax as its loss, whichever its settings are checked with."""
    settings = config.TrainerSettings.from_values({"model": values, **({"loss": loss} if loss else {})}).model
    tf.keras.utils.set_random_seed(seed)
    model = registry.load(settings.name)(settings, catalogue(), seed=seed)
    model.training_loss = losses.Softmax()
    model(batch(), training=False)
    return model


def run_model_test(
    values: dict[str, Any],
    folder: Any,
    causal: bool = True,
    trains: bool = True,
    learning_rate: float = 0.02,
    steps: int = 150,
    graphs: bool = True,
) -> None:
    """Checks shapes, padding (also cut off), causality, gradients, precision, overfitting, XLA, saving and export.

    Args:
      values: the `model` part of an experiment, with a small model.
      folder: an empty one.
      causal: whether a position must not see later ones.
      trains: whether there is anything to train.
      learning_rate, steps: what learning one batch by heart takes.
      graphs: whether to do what takes a graph of the model (from overfitting on): of several variants of a
        model, the one that has most of its parts.
    """
    model, features = build(values), batch()
    states = model.encode_positions(features, training=False)
    embedding = model.encode(features, training=False)
    scores = model.scores(embedding)
    _check_scoring(model, features, embedding, scores)
    assert states.shape[:2] == (5, LENGTH) and embedding.shape == (5, states.shape[-1])
    assert scores.shape == (5, SIZE)
    np.testing.assert_array_equal(model(features), embedding)
    _check_padding(model)
    _check_trimming(values)
    if causal:
        _check_causality(model)
    if trains:
        _check_gradients(model, features)
        _check_precision(values)
    if trains and graphs:
        _check_overfitting(values, learning_rate, steps)
        _check_static_shapes(values)
    if graphs:
        _check_saving(values, model, features, folder)


def _check_scoring(model: Any, features: dict[str, tf.Tensor], query: Any, scores: tf.Tensor) -> None:
    """A score is the same by all ways to ask for it, and the loss over the catalogue is of these scores."""
    np.testing.assert_array_equal(model.query(features), query)
    np.testing.assert_allclose(model.scores(query, 3, 4), scores[:, 3:7], rtol=1e-5, atol=1e-6)
    rows = tf.constant([[0, 3], [10, 1], [2, 2], [5, 0], [7, 9]], tf.int64)
    expected = tf.gather(scores, rows, axis=1, batch_dims=1)
    np.testing.assert_allclose(model.pair_scores(query, rows), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.pair_scores(query, rows[:, 0]), expected[:, 0], rtol=1e-5, atol=1e-6)
    shared = model.shared_scores(query, rows[:, 0])
    np.testing.assert_allclose(shared, tf.gather(scores, rows[:, 0], axis=1), rtol=1e-5, atol=1e-6)
    likely = tf.math.log_softmax(scores)
    losses = model.catalogue_losses(query, rows[:, 0])
    np.testing.assert_allclose(losses, -tf.gather(likely, rows[:, 0], axis=1, batch_dims=1), rtol=1e-4)


def _check_padding(model: ranking_models.SequenceModel) -> None:
    """What stands beside the padding, in padded places of other features, must not matter."""
    features = batch(1)
    noisy = dict(features)
    padded = features[names.HISTORY_ITEM_INDEX] == names.PADDING_INDEX
    for name in (names.HISTORY_BEHAVIOR_INDEX, names.HISTORY_SCENE_INDEX):
        noisy[name] = tf.where(padded, tf.constant(3, tf.int64), features[name])
    noisy[names.HISTORY_LOG_GAP] = tf.where(padded, 5.0, features[names.HISTORY_LOG_GAP])
    np.testing.assert_allclose(model.encode(noisy), model.encode(features), rtol=1e-6, atol=1e-7)
    # A row alone gives what it gives among others.
    alone = {name: value[2:3] for name, value in features.items()}
    np.testing.assert_allclose(model.encode(alone)[0], model.encode(features)[2], rtol=1e-4, atol=1e-5)


def _check_trimming(values: dict[str, Any]) -> None:
    """Without the padding that all windows have, states, loss and gradients are the same."""
    model, features = build({**values, "dropout": 0.0} if "dropout" in values else values), batch(8)
    if model.padding_needed is None:
        return
    for longest in (1, LENGTH - 2):
        # Of the last events, so that the longest history has just as many.
        cut = LENGTH - longest
        whole = {
            name: tf.where(tf.range(LENGTH) >= cut, value, names.PADDING_INDEX)
            if value.shape.rank > 1
            else value
            for name, value in features.items()
        }
        start = max(0, cut - model.padding_needed)
        short = {name: value[:, start:] if value.shape.rank > 1 else value for name, value in whole.items()}
        np.testing.assert_allclose(model.encode(short), model.encode(whole), rtol=1e-5, atol=1e-6)
        for model.static_shapes in (False, True):
            (found, gradients), (expected, others) = (
                _loss_and_gradients(model, one) for one in (short, whole)
            )
            np.testing.assert_allclose(found, expected, rtol=1e-5)
            for one, two in zip(gradients, others):
                np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)
    model.static_shapes = False


def _loss_and_gradients(model: ranking_models.SequenceModel, features: dict[str, tf.Tensor]) -> Any:
    with tf.GradientTape() as tape:
        found = model.summed_loss(features, training=False)
    gradients = tape.gradient(found[0], model.trainable_variables)
    return found, [tf.convert_to_tensor(gradient) for gradient in gradients]


def _check_causality(model: ranking_models.SequenceModel) -> None:
    features = batch(2)
    before = model.encode_positions(features, training=False).numpy()
    for changed in range(1, LENGTH):
        other = dict(features)
        for name in (names.HISTORY_ITEM_INDEX, names.HISTORY_BEHAVIOR_INDEX, names.HISTORY_SCENE_INDEX):
            value = features[name].numpy().copy()
            value[:, changed:] = names.FIRST_INDEX + (value[:, changed:] + 1) % 2
            other[name] = tf.constant(value)
        later = tf.range(LENGTH) >= changed
        other[names.HISTORY_LOG_GAP] = tf.where(later, 9.0, features[names.HISTORY_LOG_GAP])
        after = model.encode_positions(other, training=False).numpy()
        real = features[names.HISTORY_ITEM_INDEX].numpy()[:, :changed] != names.PADDING_INDEX
        np.testing.assert_array_equal(after[:, :changed][real], before[:, :changed][real])


def _check_gradients(model: ranking_models.SequenceModel, features: dict[str, tf.Tensor]) -> None:
    with tf.GradientTape() as tape:
        total, count = model.summed_loss(features, training=False)
    assert count > 0
    for variable, gradient in zip(model.trainable_variables, tape.gradient(total, model.trainable_variables)):
        assert gradient is not None, f"no gradient reaches {variable.name}"
        assert float(tf.norm(tf.convert_to_tensor(gradient))) > 0 or "qkv/bias" in variable.name, (
            variable.name
        )


def _check_overfitting(values: dict[str, Any], learning_rate: float, steps: int) -> None:
    """One batch is learnt by heart, so the loss can be reached and the optimiser finds it."""
    model, features = build({**values, "dropout": 0.0} if "dropout" in values else values), batch(4, rows=3)
    model(features)
    optimizer = optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(features, training=True)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        )
        return loss

    first = float(step())
    # The mean of some steps, since a loss over random targets jumps.
    last = np.mean([float(step()) for _ in range(steps)][-10:])
    assert last < 0.15 * first, (first, last)


def _check_static_shapes(values: dict[str, Any]) -> None:
    """XLA compiles the loss of known shapes with its gradient, and it is the same loss."""
    model, features = build(values), batch(3)
    expected = model.summed_loss(features, training=False)
    model.static_shapes = True
    compiled.check(model, features, expected)


def _check_precision(values: dict[str, Any]) -> None:
    exact = build(values).scores(build(values).encode(batch()))
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build(values)
        rough = tf.cast(model.scores(model.encode(batch())), tf.float32)
        total, _ = model.summed_loss(batch(), training=True)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(float(total))
    np.testing.assert_allclose(rough, exact, atol=0.1 * float(tf.reduce_max(tf.abs(exact))))
    # As `Loop.as_float32` makes what is served of what has trained.
    served = build(values)
    served.encode(batch())
    served.set_weights(model.get_weights())
    np.testing.assert_array_equal(served.scores(served.encode(batch())), exact)


def _check_saving(
    values: dict[str, Any], model: ranking_models.SequenceModel, features: dict[str, tf.Tensor], folder: Any
) -> None:
    path = tf.train.Checkpoint(model=model).write(str(folder / "checkpoint"))
    other = build(values, seed=99)
    tf.train.Checkpoint(model=other).read(path).assert_existing_objects_matched()
    np.testing.assert_array_equal(other.encode(features), model.encode(features))

    read = {name: features[name] for name in model.inputs_read}
    spec = {
        name: tf.TensorSpec([None, *value.shape[1:]], value.dtype, name=name) for name, value in read.items()
    }
    function = tf.function(
        lambda **kw: {"scores": model.scores(model.encode(kw))}, autograph=False
    ).get_concrete_function(**spec)
    # As `serving` saves it; its own graphs, of each of its layers, would take most of the test.
    tf.saved_model.save(module.HeldModel(model), str(folder / "saved"), signatures={"score": function})
    loaded = tf.saved_model.load(str(folder / "saved")).signatures["score"](**read)["scores"]
    np.testing.assert_allclose(loaded, model.scores(model.encode(features)), rtol=1e-5, atol=1e-6)


def check_replicas(values: dict[str, Any]) -> None:
    """A step of a model on two replicas is one on the whole batch; in `tests/trainer/loops`, that of others is."""
    # Of uneven lengths, so that a mean of the replicas' means would be a different gradient.
    replicas.check(lambda: build(values), batch(7, rows=6), learning_rate=1.0)
