"""BYB: what an embedding and its supervision are, that no gradient reaches the teacher, and what is exported."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from components.transform import event_fields
from schemas import names
from serving import module
from tests.trainer.models import compiled, replicas, scene_harness
from trainer import config, optimizers, registry
from trainer.layers import buckets
from trainer.losses import future as losses
from trainer.models import byb, users

SMALL = {"name": "byb", "dim": 8, "blocks": 2, "heads": 2, "dropout": 0.1}
STILL = {**SMALL, "dropout": 0.0}
DAY = 86_400.0
PRICE = event_fields.EventField("context_price", "context_price", numeric=True)
SIZES = {event_fields.ITEM: 11, event_fields.BEHAVIOR: 2, event_fields.SCENE: 5, PRICE: 4}
KNOWN = users.Behaviors(SIZES, scene_harness.LENGTH, 4 * DAY, 3 * DAY)
_HISTORIES = (*scene_harness.HISTORIES, names.HISTORY_SECONDS, PRICE.history)


def batch(seed=0, rows=5):
    """Histories of up to 6 events in the 4 days before the moment, and futures of up to 4 in the 3 days after."""
    features, rng = scene_harness.batch(seed, rows), np.random.default_rng(seed + 100)
    before = np.sort(rng.uniform(0, 3.5 * DAY, [rows, scene_harness.LENGTH]), axis=1)[:, ::-1]
    before -= before[:, -1:]
    real = features[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX
    following = features[names.FUTURE_ITEM_INDEX] != names.PADDING_INDEX
    after = np.sort(rng.uniform(0, 3 * DAY, following.shape), axis=1)
    behaviors = tf.constant(rng.integers(1, 4, following.shape), tf.int64)
    # Of some events it is missing.
    prices = (rng.integers(1, 6, there.shape) for there in (real, following))
    prices = [tf.where(price > 1, tf.constant(price, tf.int64), 0) for price in prices]
    return {
        **features,
        PRICE.history: tf.where(real, prices[0], 0),
        PRICE.future: tf.where(following, prices[1], 0),
        names.HISTORY_SECONDS: tf.where(real, tf.constant(before, tf.float32), 0.0),
        names.SECONDS_SINCE_LAST: tf.constant(rng.uniform(0, 0.5 * DAY, rows), tf.float32),
        names.FUTURE_BEHAVIOR_INDEX: tf.where(following, behaviors, 0),
        names.FUTURE_SECONDS: tf.where(following, tf.constant(after, tf.float32), 0.0),
    }


def build(values=STILL, seed=3, loss=None):
    settings = config.TrainerSettings.from_values({"model": values, **({"loss": loss} if loss else {})})
    tf.keras.utils.set_random_seed(seed)
    model = registry.load("byb")(settings.model, KNOWN, seed=seed)
    model.training_loss = losses.build(settings.loss)
    model(batch(), training=False)
    # Apart, so that it shows which one is read.
    rng = np.random.default_rng(seed)
    for teacher, _ in model.teacher_pairs:
        teacher.assign(rng.normal(size=teacher.shape) * 0.3)
    return model


def loss_and_gradients(model, features, variables, training=False):
    with tf.GradientTape() as tape:
        tape.watch(variables)
        found = model.summed_loss(features, training=training)
    return found, tape.gradient(found[0], variables)


def vectors(encoder, indices):
    """Of behaviours `[B, L]`, by NumPy."""
    *tables, weights = (variable.numpy().astype(np.float64) for variable in encoder.variables_in_order)
    weights = np.exp(weights) / np.exp(weights).sum()
    return sum(
        weight * table[index] * (index != 0)[:, :, None]
        for weight, table, index in zip(weights, tables, indices)
    )


@pytest.mark.parametrize("bucket, width", [("day", DAY), ("hour", 3600.0), ("none", None)])
def test_the_supervision_is_the_mean_of_the_means_of_buckets(bucket, width):
    model, features = build({**STILL, "bucket": bucket}), batch(1)
    indices = [features[field.future].numpy() for field in SIZES]
    behaviors, seconds = vectors(model._teacher, indices), features[names.FUTURE_SECONDS].numpy()
    expected = []
    for row, present in enumerate(indices[0] != 0):
        keys = seconds[row][present] // width if width else np.arange(present.sum())
        means = [behaviors[row][present][keys == key].mean(axis=0) for key in np.unique(keys)]
        expected.append(np.mean(means, axis=0))
    np.testing.assert_allclose(model.supervision(features), expected, rtol=1e-4, atol=1e-6)


def test_an_embedding_is_of_pooled_behaviours_and_their_calendar():
    model, features = build(), batch(2)
    indices = [features[field.history].numpy() for field in SIZES]
    events = vectors(model.users.behaviors, indices)
    for name, table in zip((names.HISTORY_HOUR_INDEX, names.HISTORY_WEEKDAY_INDEX), model.users.calendar):
        events = events + table.embeddings.numpy()[features[name].numpy()]
    seconds = features[names.HISTORY_SECONDS].numpy() + features[names.SECONDS_SINCE_LAST].numpy()[:, None]
    pooled, (ages, numbers) = np.zeros([5, 4, 8]), np.zeros([2, 5, 4], np.int64)
    for row, present in enumerate(indices[0] != 0):
        for place, age in enumerate(np.unique(seconds[row][present] // DAY)):
            inside = present & (seconds[row] // DAY == age)
            ages[row, place], numbers[row, place] = age, inside.sum()
            pooled[row, place] = events[row][inside].mean(axis=0)
    number = tf.constant(numbers, tf.float32)
    found = buckets.Buckets(None, None, tf.constant(ages), number > 0, number)
    expected = model.users.blocks(tf.constant(pooled, tf.float32), found, features[names.SECONDS_SINCE_LAST])
    np.testing.assert_allclose(model.encode(features), expected, rtol=1e-3, atol=1e-5)
    # Without a moment it is that of the last event.
    now = {**features, names.SECONDS_SINCE_LAST: tf.zeros([5])}
    missing = {name: value for name, value in features.items() if name != names.SECONDS_SINCE_LAST}
    np.testing.assert_array_equal(model.encode(missing), model.encode(now))
    assert np.abs(model.encode(now) - model.encode(features)).max() > 1e-4


def test_the_loss_is_that_of_the_prediction_and_windows_that_only_fill_up_do_not_count():
    model, features = build(), batch(3)
    predicted = model.predict_future(model.encode(features))
    expected = np.sum(model.training_loss(predicted, model.supervision(features)))
    hidden, out = (layer for layer in model._predictor.layers)
    inner = model.encode(features).numpy() @ hidden.kernel.numpy() + hidden.bias.numpy()
    by_hand = tf.nn.gelu(inner).numpy() @ out.kernel.numpy() + out.bias.numpy()
    np.testing.assert_allclose(predicted, by_hand, rtol=1e-4, atol=1e-5)
    variables = model.trainable_variables
    (total, count), wanted = loss_and_gradients(model, features, variables)
    assert float(total) == pytest.approx(expected, rel=1e-5) and count == 5
    for model.static_shapes in (False, True):
        found, others = loss_and_gradients(model, scene_harness.filled(features), variables)
        np.testing.assert_allclose(found, (total, count), rtol=1e-5)
        for one, two in zip(wanted, others):
            np.testing.assert_allclose(
                tf.convert_to_tensor(one), tf.convert_to_tensor(two), rtol=1e-3, atol=1e-5
            )


def test_padding_that_is_cut_off_and_the_order_of_events_change_nothing():
    model, features = build(), batch(4)
    expected = model.encode(features)
    long = {
        name: tf.pad(value, [[0, 0], [2, 0]]) if name in _HISTORIES else value
        for name, value in features.items()
    }
    np.testing.assert_allclose(model.encode(long), expected, rtol=1e-4, atol=1e-5)
    order = np.random.default_rng(0).permutation(scene_harness.LENGTH)
    mixed = {
        name: tf.gather(value, order, axis=1) if name in _HISTORIES else value
        for name, value in features.items()
    }
    np.testing.assert_allclose(model.encode(mixed), expected, rtol=1e-4, atol=1e-5)
    reverse = {
        name: value[:, ::-1] if name.startswith("future_") else value for name, value in features.items()
    }
    np.testing.assert_allclose(model.supervision(reverse), model.supervision(features), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stop", [True, False])
def test_no_gradient_reaches_the_teacher(stop):
    """Nor, with the stop-gradient, what is predicted; without it the student gets one from there."""
    model = build({**STILL, "momentum": 0.0 if not stop else 0.995, "stop_gradient": stop})
    teachers, students = zip(*model.teacher_pairs)
    assert not {one.ref() for one in teachers} & {one.ref() for one in model.trainable_variables}
    features = batch(5)
    _, found = loss_and_gradients(model, features, list(teachers))
    assert found == [None] * len(teachers)
    with tf.GradientTape() as tape:
        supervision = model.supervision(features)
    gradients = tape.gradient(supervision, list(students))
    assert all((one is None) == stop for one in gradients)
    # All that is trained has a gradient; a key's bias changes no attention.
    _, found = loss_and_gradients(model, features, model.trainable_variables)
    for variable, one in zip(model.trainable_variables, found):
        assert float(tf.norm(tf.convert_to_tensor(one))) > 0 or "qkv/bias" in variable.name, variable.name


def test_a_teacher_starts_equal_and_follows():
    settings = config.TrainerSettings.from_values({"model": SMALL}).model
    model = byb.BYB(settings, KNOWN)
    for teacher, student in model.teacher_pairs:
        np.testing.assert_array_equal(teacher, student)
    (teacher, student), *_ = model.teacher_pairs
    before = teacher.numpy()
    student.assign_add(tf.ones_like(student))
    model.follow(0.75)
    np.testing.assert_allclose(teacher, before + 0.25, rtol=1e-5)


def test_the_schedule_of_the_momentum():
    model = build({**SMALL, "momentum": 0.9})
    assert float(model.momentum_at(tf.constant(3), 10)) == pytest.approx(0.9)
    rising = build({**SMALL, "momentum": 0.9, "momentum_schedule": "cosine"})
    found = [float(rising.momentum_at(tf.constant(step, tf.int64), 10)) for step in (0, 5, 10, 11)]
    assert found == pytest.approx([0.9, 0.95, 1.0, 1.0])


def test_without_a_predictor_the_embedding_is_the_prediction():
    model, features = build({**STILL, "predictor": False}), batch()
    np.testing.assert_array_equal(model.predict_future(model.encode(features)), model.encode(features))
    assert len(build().variables) - len(model.variables) == 4


def test_a_log_of_items_alone():
    settings = config.TrainerSettings.from_values({"model": SMALL}).model
    known = users.Behaviors({event_fields.ITEM: 11}, scene_harness.LENGTH, DAY, DAY)
    model, features = byb.BYB(settings, known), batch()
    assert known.rows == {"items": 11}
    assert not {names.HISTORY_SCENE_INDEX, names.FUTURE_BEHAVIOR_INDEX} & {
        *model.inputs_read,
        *model.loss_inputs_read,
    }
    read = {name: features[name] for name in (*model.inputs_read, *model.loss_inputs_read)}
    assert model.encode(read).shape == (5, 8) and float(model.summed_loss(read)[1]) == 5


def test_one_batch_is_learnt_by_heart():
    # The cross-entropy has that of the targets themselves left; the squared error has nothing.
    model, features = build(loss={"name": "future_mse"}), batch(6, rows=4)
    optimizer = optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = model.compute_loss(features, training=True)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        )
        return loss

    first, last = float(step()), [float(step()) for _ in range(150)][-1]
    assert last < 0.1 * first, (first, last)


def test_xla_and_bfloat16():
    model, features = build(), batch(7)
    expected = model.summed_loss(features, training=False)
    model.static_shapes = True
    compiled.check(model, features, expected)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        rough = build()
        found = rough.summed_loss(features, training=False)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_allclose(found, expected, rtol=0.05)
    # As `Loop.as_float32` makes what is served of what has trained.
    served = build()
    served.set_weights(rough.get_weights())
    np.testing.assert_allclose(served.summed_loss(features, training=False), expected, rtol=1e-5)


def test_two_replicas():
    replicas.check(build, batch(8, rows=6), learning_rate=1.0)


def test_teacher_and_predictor_are_not_exported(tmp_path):
    model, features = build(), batch(9)
    served = {variable.ref() for variable in model.serving_variables}
    left_out = [variable for variable in model.variables if variable.ref() not in served]
    assert sorted(tuple(one.shape) for one in left_out) == sorted(
        [(13, 8), (4, 8), (7, 8), (6, 8), (4,), (8, 32), (32,), (32, 8), (8,)]
    )
    read = {name: features[name] for name in model.inputs_read}
    spec = {
        name: tf.TensorSpec([None, *value.shape[1:]], value.dtype, name=name) for name, value in read.items()
    }
    function = tf.function(lambda **given: {"embedding": model.encode(given)}, autograph=False)
    tf.saved_model.save(
        module.HeldModel(model), str(tmp_path), signatures=function.get_concrete_function(**spec)
    )
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](**read)["embedding"]
    np.testing.assert_allclose(loaded, model.encode(features), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"model": {"heads": 3}}, r"dim must be a multiple of heads \(3\), found 8"),
        ({"model": {"bucket": "month"}}, "'hour', 'day', 'week' or 'none'"),
        ({"model": {"momentum": 1.0}}, "less than 1"),
        ({"model": {"stop_gradient": False}}, r"goes with momentum: 0.*found momentum: 0.995"),
        (
            {"loss": {"name": "softmax"}},
            r"model byb needs loss: \{name: future_ce or future_mse\}, found softmax",
        ),
        ({"loop": {"name": "tp"}}, r"model byb needs loop: \{name: fit\}, found tp"),
    ],
)
def test_settings_that_do_not_fit(values, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        config.TrainerSettings.from_values({**values, "model": {**SMALL, **values.get("model", {})}})


@pytest.mark.parametrize("loss", ["future_ce", "future_mse"])
def test_what_is_to_be_predicted_may_be_as_large_as_the_user_is_active(loss):
    model = build({**STILL, "supervise_activity": True}, loss={"name": loss})
    features = batch(6)
    # Of one user nothing follows.
    alive = tf.constant([True, True, False, True, True])
    features |= {
        name: tf.where(alive[:, None], value, tf.zeros([], value.dtype))
        for name, value in features.items()
        if name.startswith("future_")
    }
    seconds = features[names.FUTURE_SECONDS].numpy()
    there = features[names.FUTURE_ITEM_INDEX].numpy() != 0
    days = [len(np.unique(row[present] // DAY)) for row, present in zip(seconds, there)]
    assert days[2] == 0 and max(days) > 1
    scale = np.log2(1 + np.array(days))
    np.testing.assert_allclose(model.activity(features), scale, rtol=1e-5)
    target = model.supervision(features).numpy().astype(np.float64)
    deviation = target.std(axis=1, keepdims=True)
    target = (target - target.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1)
    target *= scale[:, None]
    predicted = model.predict_future(model.encode(features)).numpy().astype(np.float64)
    if loss == "future_mse":
        expected = ((predicted - target) ** 2).mean(axis=1)
    else:
        wanted = np.exp(target) / np.exp(target).sum(axis=1, keepdims=True)
        expected = -(wanted * (predicted - np.log(np.exp(predicted).sum(axis=1, keepdims=True)))).sum(axis=1)
    total, count = model.summed_loss(features, training=False)
    assert count == 5 and float(total) == pytest.approx(expected.sum(), rel=1e-3)
    # What fills a batch up does not count; nor, without the setting, a window that nothing follows.
    filled = scene_harness.filled(features)
    np.testing.assert_allclose(model.summed_loss(filled, training=False), (total, count), rtol=1e-5)
    plain = build()
    assert plain.activity(features) is None and plain.summed_loss(features, training=False)[1] == 4
