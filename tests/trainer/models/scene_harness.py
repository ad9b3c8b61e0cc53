"""What every model of periods, with scenes or without, has to pass; a model's test is one call of `run_model_test`.

As `harness`, of models whose windows are one target each and whose histories may be seen both ways.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import names
from serving import module
from tests.trainer.models import compiled, harness, replicas
from trainer import config, optimizers, registry
from trainer.losses import ranking as losses
from trainer.models import ranking as ranking_models

LENGTH, SIZE, SCENES, FUTURE = harness.LENGTH, harness.SIZE, 5, 4
HISTORIES = (
    names.HISTORY_ITEM_INDEX,
    names.HISTORY_BEHAVIOR_INDEX,
    names.HISTORY_SCENE_INDEX,
    names.HISTORY_HOUR_INDEX,
    names.HISTORY_WEEKDAY_INDEX,
)
FUTURES = (names.FUTURE_ITEM_INDEX, names.FUTURE_SCENE_INDEX, names.FUTURE_SECONDS)
# How long the period is that futures are of.
PERIOD_SECONDS = 100.0

# Of a seed and changes of the settings, a model.
Make = Callable[..., Any]


def catalogue() -> ranking_models.Catalogue:
    """Of 11 items with falling counts, and 5 scenes."""
    counts = np.arange(SIZE, 0, -1)
    return ranking_models.Catalogue(
        counts,
        LENGTH,
        behaviors=2,
        scenes=SCENES,
        behavior_names=("view", "buy"),
        period_seconds=PERIOD_SECONDS,
    )


def batch(seed: int = 0, rows: int = 5) -> dict[str, tf.Tensor]:
    """Left-padded random histories of 1 to L events and futures of 1 to 4; what a model does not read does no harm.

    Some events are unknown, but for the first one that follows, which is the target.
    """
    rng = np.random.default_rng(seed)
    found = {}
    lengths, number = rng.integers(1, LENGTH + 1, [rows, 1]), rng.integers(1, FUTURE + 1, [rows, 1])
    lengths[0] = LENGTH
    real, follows = np.arange(LENGTH) >= LENGTH - lengths, np.arange(FUTURE) < number
    for (history, future, target), size in {
        (names.HISTORY_ITEM_INDEX, names.FUTURE_ITEM_INDEX, names.TARGET_ITEM_INDEX): SIZE,
        (names.HISTORY_BEHAVIOR_INDEX, names.FUTURE_BEHAVIOR_INDEX, names.TARGET_BEHAVIOR_INDEX): 2,
        (names.HISTORY_SCENE_INDEX, names.FUTURE_SCENE_INDEX, names.TARGET_SCENE_INDEX): SCENES,
    }.items():
        past = rng.integers(names.OOV_INDEX, names.FIRST_INDEX + size, [rows, LENGTH])
        following = rng.integers(names.OOV_INDEX, names.FIRST_INDEX + size, [rows, FUTURE])
        following[:, 0] = rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + size, rows)
        following = np.where(follows, following, names.PADDING_INDEX)
        found.update({history: np.where(real, past, names.PADDING_INDEX), future: following})
        found[target] = following[:, 0]
    for history, size in {names.HISTORY_HOUR_INDEX: 24, names.HISTORY_WEEKDAY_INDEX: 7}.items():
        past = rng.integers(names.FIRST_INDEX, names.FIRST_INDEX + size, [rows, LENGTH])
        found[history] = np.where(real, past, names.PADDING_INDEX)
    features = {name: tf.constant(value, tf.int64) for name, value in found.items()}
    seconds = np.sort(rng.uniform(0, PERIOD_SECONDS, [rows, FUTURE]), axis=1)
    features[names.FUTURE_SECONDS] = tf.constant(np.where(follows, seconds, 0), tf.float32)
    return features


def filled(features: dict[str, tf.Tensor], rows: int = 2) -> dict[str, tf.Tensor]:
    """The same with rows that only fill the batch up."""
    return {
        name: tf.pad(value, [[0, rows]] + [[0, 0]] * (value.shape.rank - 1))
        for name, value in features.items()
    }


def build(values: dict[str, Any], seed: int = 3, loss: dict[str, Any] | None = None) -> Any:
    """A model with its variables made, and its default loss unless another one is named."""
    settings = config.TrainerSettings.from_values({"model": values, **({"loss": loss} if loss else {})})
    tf.keras.utils.set_random_seed(seed)
    model = registry.load(settings.model.name)(settings.model, catalogue(), seed=seed)
    model.training_loss = losses.build(settings.loss)
    model(batch(), training=False)
    return model


def run_model_test(
    values: dict[str, Any],
    folder: Any,
    learning_rate: float = 0.01,
    steps: int = 200,
    graphs: bool = True,
    loss: dict[str, Any] | None = None,
) -> None:
    """Checks shapes, padding (also cut off), sets, gradients, precision, overfitting, XLA, saving and export.

    Args:
      values: the `model` part of an experiment, with a small model.
      folder: an empty one.
      learning_rate, steps: what learning one batch by heart takes.
      graphs: whether to do what takes a graph of the model (from overfitting on): of several variants of a
        model, the one that has most of its parts.
      loss: one that draws nothing, where the model's default does.
    """

    def make(seed: int = 3, **extra: Any) -> Any:
        return build({**values, **extra}, seed, loss)

    model, features = make(), batch()
    _check_queries(model, features)
    _check_padding(model)
    _check_filling(make)
    _check_trimming(make)
    _check_sets(model, features)
    _check_gradients(model, features)
    _check_precision(make)
    if graphs:
        _check_overfitting(make, learning_rate, steps)
        _check_static_shapes(make)
        _check_saving(make, model, features, folder)


def answers(model: Any, features: dict[str, tf.Tensor]) -> list[np.ndarray]:
    """The scores of all items and, if the model ranks them, of all scenes, for each history."""
    read = {name: features[name] for name in model.inputs_read}
    if model.scenes is None:
        return [model.scores(model.query(read)).numpy()]
    items, scenes = model.queries(read)
    return [model.scores(items).numpy(), model.scenes.scores(scenes).numpy()]


def assert_close(found: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """That lists of values are equal but for rounding."""
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=atol)


def _check_queries(model: Any, features: dict[str, tf.Tensor]) -> None:
    query = model.query(features)
    _check_scoring(model, query, SIZE)
    embedding = model.encode(features)
    assert embedding.shape[0] == 5
    np.testing.assert_array_equal(model(features), embedding)
    if model.scenes is not None:
        of_scenes = model.scene_query(features)
        _check_scoring(model.scenes, of_scenes, SCENES)
        # A query may be several tensors.
        assert_close(tf.nest.flatten(model.queries(features)), tf.nest.flatten([query, of_scenes]))


def _check_scoring(scorer: Any, query: Any, size: int) -> None:
    """A score is the same by all ways to ask for it."""
    scores = scorer.scores(query)
    assert scores.shape == (5, size)
    assert_close([scorer.scores(query, 1, 3)], [scores[:, 1:4]])
    rows = tf.constant([[0, 3], [size - 1, 1], [2, 2], [4, 0], [3, 1]], tf.int64)
    expected = tf.gather(scores, rows, axis=1, batch_dims=1)
    assert_close([scorer.pair_scores(query, rows)], [expected])
    assert_close([scorer.pair_scores(query, rows[:, 0])], [expected[:, 0]])
    assert_close([scorer.shared_scores(query, rows[:, 0])], [tf.gather(scores, rows[:, 0], axis=1)])


def _check_padding(model: Any) -> None:
    """What stands in padded places of other features must not matter, nor the other rows of a batch."""
    features = batch(1)
    noisy, padded = dict(features), features[names.HISTORY_ITEM_INDEX] == names.PADDING_INDEX
    for name in HISTORIES[1:]:
        noisy[name] = tf.where(padded, tf.constant(3, tf.int64), features[name])
    assert_close(answers(model, noisy), answers(model, features))
    alone = {name: value[2:3] for name, value in features.items()}
    assert_close([one[0] for one in answers(model, alone)], [one[2] for one in answers(model, features)])


def _check_filling(make: Make) -> None:
    """Rows that only fill a batch up are none."""
    model, features = make(dropout=0.0), batch(2)
    expected, others = loss_and_gradients(model, features)
    assert expected[1] == 5
    for model.static_shapes in (False, True):
        found, gradients = loss_and_gradients(model, filled(features))
        assert_close([found, *gradients], [expected, *others], rtol=1e-3)


def _check_trimming(make: Make) -> None:
    """Without the padding that all windows have, answers, loss and gradients are the same."""
    model, features = make(dropout=0.0), batch(8)
    for longest in (1, LENGTH - 2):
        cut = LENGTH - longest
        whole = {
            name: tf.where(tf.range(LENGTH) >= cut, value, names.PADDING_INDEX)
            if name in HISTORIES
            else value
            for name, value in features.items()
        }
        start = max(0, cut - model.padding_needed)
        short = {name: value[:, start:] if name in HISTORIES else value for name, value in whole.items()}
        assert_close(answers(model, short), answers(model, whole))
        (found, gradients), (expected, others) = (loss_and_gradients(model, one) for one in (short, whole))
        assert_close([found, *gradients], [expected, *others], rtol=1e-3)


def _check_sets(model: Any, features: dict[str, tf.Tensor]) -> None:
    """In what order events follow changes nothing, if all that follow are the target."""
    if getattr(model.training_loss, "targets", "next") != "period":
        return
    order = np.random.default_rng(5).permutation(FUTURE)
    swapped = {name: tf.gather(features[name], order, axis=1) for name in FUTURES}
    found, expected = (model.summed_loss({**features, **more}, training=False) for more in (swapped, {}))
    assert_close(found, expected)


def loss_and_gradients(
    model: Any, features: dict[str, tf.Tensor], training: bool = False
) -> tuple[Any, list[tf.Tensor]]:
    """The summed loss and its count, and the gradient of each variable; 0 where there is none."""
    with tf.GradientTape() as tape:
        found = model.summed_loss(features, training=training)
    zero = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(found[0], model.trainable_variables, unconnected_gradients=zero)
    return found, [tf.convert_to_tensor(gradient) for gradient in gradients]


def _check_gradients(model: Any, features: dict[str, tf.Tensor]) -> None:
    (_, count), found = loss_and_gradients(model, features, training=True)
    assert count > 0
    for variable, gradient in zip(model.trainable_variables, found):
        assert float(tf.norm(gradient)) > 0 or "qkv/bias" in variable.name, (
            f"no gradient reaches {variable.name}"
        )


def _check_precision(make: Make) -> None:
    exact = answers(make(), batch())
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = make()
        rough = [tf.cast(one, tf.float32) for one in answers(model, batch())]
        total, _ = model.summed_loss(batch(), training=True)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(float(total))
    for one, two in zip(rough, exact, strict=True):
        np.testing.assert_allclose(one, two, atol=0.1 * np.abs(two).max())
    # As `Loop.as_float32` makes what is served of what has trained.
    served = make()
    answers(served, batch())
    served.set_weights(model.get_weights())
    for one, two in zip(answers(served, batch()), exact, strict=True):
        np.testing.assert_array_equal(one, two)


def _check_overfitting(make: Make, learning_rate: float, steps: int) -> None:
    """One batch is learnt by heart, while what ascends the loss does so: the loss without what is random falls."""
    model, features = make(dropout=0.0), batch(4, rows=3)
    adversary = {variable.ref() for variable in model.adversary_variables}
    optimizer = optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)
    measured = tf.function(lambda: model.summed_loss(features, training=False)[0], autograph=False)
    first = float(measured())

    @tf.function(autograph=False)
    def step() -> None:
        _, found = loss_and_gradients(model, features, training=True)
        pairs = zip(found, model.trainable_variables)
        optimizer.apply_gradients((-one if v.ref() in adversary else one, v) for one, v in pairs)

    for _ in range(steps):
        step()
    assert float(measured()) < 0.15 * first, (first, float(measured()))


def _check_static_shapes(make: Make) -> None:
    """XLA compiles the loss of known shapes with its gradient, and it is the same loss.

    Without dropout, of which each place takes a third of a second to compile; `harness` has it.
    """
    model, features = make(dropout=0.0), batch(3)
    expected = model.summed_loss(features, training=False)
    model.static_shapes = True
    compiled.check(model, features, expected)


def _check_saving(make: Make, model: Any, features: dict[str, tf.Tensor], folder: Any) -> None:
    path = tf.train.Checkpoint(model=model).write(str(folder / "checkpoint"))
    other = make(seed=99)
    tf.train.Checkpoint(model=other).read(path).assert_existing_objects_matched()
    expected = answers(model, features)
    assert_close(answers(other, features), expected)

    read = {name: features[name] for name in model.inputs_read}
    spec = {
        name: tf.TensorSpec([None, *value.shape[1:]], value.dtype, name=name) for name, value in read.items()
    }

    def scores(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        if model.scenes is None:
            return {"items": model.scores(model.query(given))}
        items, scenes = model.queries(given)
        return {"items": model.scores(items), "scenes": model.scenes.scores(scenes)}

    function = tf.function(scores, autograph=False).get_concrete_function(**spec)
    # As `serving` saves it: of what is not exported nothing may be read.
    tf.saved_model.save(module.HeldModel(model), str(folder / "saved"), signatures={"score": function})
    loaded = tf.saved_model.load(str(folder / "saved")).signatures["score"](**read)
    assert_close([loaded[name] for name in sorted(loaded)], expected)


def check_replicas(values: dict[str, Any], training: bool = False) -> None:
    """A step of a model on two replicas is one on the whole batch.

    Args:
      values: with `dropout: 0` if `training`.
      training: whether with what is drawn in training, which then has to be the same for a window on any replica.
    """
    replicas.check(lambda: build(values), batch(7, rows=6), learning_rate=1.0, training=training)
