"""DSPnet."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import replicas, scene_harness
from trainer import config
from trainer.layers import augmentation
from trainer.losses import adversary

SMALL = {
    "name": "dspnet",
    "dim": 8,
    "scene_dim": 4,
    "blocks": 1,
    "heads": 2,
    "dropout": 0.1,
    "apr": 0.01,
    "ccr": 0.02,
    "discriminator_hidden": [6],
}
STILL = {**SMALL, "dropout": 0.0}


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"encoders": "single"},
        {"concat": False, "mlp_layers": 1, "contrast_equal": False},
        {"mlp_layers": 0, "apr": 0, "ccr": 0},
    ],
    ids=["whole", "single", "apart", "plain"],
)
def test_dspnet(tmp_path, extra):
    scene_harness.run_model_test({**SMALL, **extra}, tmp_path, graphs=not extra)


def fixed_view(present, generator):
    """Of each history the first two events change places and the third is masked, whatever has been drawn."""
    index = tf.range(tf.shape(present)[1])
    length = tf.reduce_sum(tf.cast(present, tf.int32), axis=1, keepdims=True)
    event = index - (tf.shape(present)[1] - length)
    moved = (length > 1) & (event >= 0) & (event < 2)
    return augmentation.View(index + tf.where(moved, 1 - 2 * event, 0), (event == 2) & present)


def fixed_prior(shape, generator):
    return tf.ones(shape) * tf.cos(tf.range(tf.cast(shape[1], tf.float32)))


@pytest.fixture
def undrawn(monkeypatch):
    """Training draws nothing: views and the prior are functions of the batch."""
    monkeypatch.setattr(augmentation, "draw", fixed_view)
    monkeypatch.setattr(adversary, "PRIORS", {"normal": fixed_prior})


def relu(values):
    return np.maximum(values, 0)


def dense(layer, values, activation=lambda values: values):
    kernel, bias = (variable.numpy().astype(np.float64) for variable in layer.variables)
    return activation(values @ kernel + bias)


def encoded(model, features, view=None):
    """h of each sequence, by the layers that have tests of their own."""
    items, scenes = features[names.HISTORY_ITEM_INDEX], features[names.HISTORY_SCENE_INDEX]
    present = items != names.PADDING_INDEX
    if view is not None:
        items, scenes = view.of(items), view.of(scenes)
    vectors = [model._items(items), model._scene_table(scenes)]
    if model.settings.encoders == "single":
        vectors = [tf.concat(vectors, axis=2)]
    masked = None if view is None else view.masked
    return [
        encoder(one, present, masked=masked)[:, -1].numpy().astype(np.float64)
        for encoder, one in zip(model._encoders, vectors)
    ]


def fused(model, encoded):
    """z of both, eq. (3) with one to three layers."""
    settings, found = model.settings, []
    for n, layers in enumerate(model._fusions):
        value = np.concatenate(encoded, axis=1) if settings.concat else encoded[n]
        for layer in layers[:-1]:
            value = dense(layer, value, relu)
        found.append(dense(layers[-1], value) if layers else value)
    return found


def answered(model, fused):
    """o of both, eq. (5)."""
    joined = np.concatenate(fused, axis=1)
    return [
        dense(layer, joined if model.settings.concat else own) for layer, own in zip(model._selections, fused)
    ]


VARIANTS = [
    {},
    {"mlp_layers": 0},
    {"mlp_layers": 1},
    {"mlp_layers": 3},
    {"concat": False},
    {"encoders": "single"},
]


@pytest.mark.parametrize("extra", VARIANTS, ids=str)
def test_queries_are_equations_2_3_and_5(extra):
    model, features = scene_harness.build({**SMALL, **extra}), scene_harness.batch(6)
    expected = answered(model, fused(model, encoded(model, features)))
    scene_harness.assert_close(model.queries(features), expected)
    assert [one.shape[1] for one in expected] == [8, 4]


def bce(scores, rows):
    """N times eq. (6) of each window, of scores counted from log(1 / N)."""
    chances = 1 / (1 + np.exp(-(scores - np.log(scores.shape[1]))))
    label = (np.arange(scores.shape[1]) == rows[:, :, None] - names.FIRST_INDEX).any(1)
    return -np.sum(np.where(label, np.log(chances), np.log(1 - chances)), axis=1)


def log_sigmoid(values):
    return -np.log1p(np.exp(-values))


def contrasts(anchors, views, equal):
    """Eq. (8) of each window, of two views that are the same: both weigh 1/2; equal ones are no negatives."""
    anchors, views = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (anchors, views))
    near, far = (anchors * views).sum(1), anchors @ anchors.T / 0.07
    far[equal] = -np.inf
    weights = np.exp(far - np.maximum(far.max(1, keepdims=True), -1e9))
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-30)
    return np.where(weights > 0, weights * np.where(np.isinf(far), 0, far), 0).sum(1) - near


def with_equal_histories(features):
    """Windows 2 and 3 have one history; 0 and 1 have the same scenes, with the items in another order."""
    items, scenes = (features[name].numpy() for name in (names.HISTORY_ITEM_INDEX, names.HISTORY_SCENE_INDEX))
    items[3], scenes[3], items[1], scenes[1] = items[2], scenes[2], items[0, ::-1], scenes[0]
    changed = {names.HISTORY_ITEM_INDEX: items, names.HISTORY_SCENE_INDEX: scenes}
    return {**features, **{name: tf.constant(value) for name, value in changed.items()}}


def same_sequences(model, features):
    """Which windows have what each encoder reads in common, `[B, B]`."""
    read = [features[names.HISTORY_ITEM_INDEX].numpy(), features[names.HISTORY_SCENE_INDEX].numpy()]
    read = [np.concatenate(read, axis=1)] if model.settings.encoders == "single" else read
    return [(one[:, None] == one[None]).all(2) for one in read]


@pytest.mark.parametrize(
    "extra", [*VARIANTS, {"contrast_equal": False}, {"contrast_equal": False, "encoders": "single"}], ids=str
)
def test_the_loss_is_equation_9(undrawn, extra):
    values = {**STILL, **extra, "apr": 0.3, "ccr": 0.7, "scene_weight": 0.4}
    model, features = scene_harness.build(values), with_equal_histories(scene_harness.batch(6))
    h = encoded(model, features)
    z = fused(model, h)
    items, scenes = answered(model, z)
    expected = bce(items @ model._items.items().numpy().T, features[names.FUTURE_ITEM_INDEX].numpy())
    of_scenes = bce(scenes @ model._scene_table.items().numpy().T, features[names.FUTURE_SCENE_INDEX].numpy())
    alone = expected + 0.4 * of_scenes
    adversaries = np.zeros(5)
    for encoded_as, judge in zip(z, model._discriminators):
        prior = np.tile(np.cos(np.arange(encoded_as.shape[1])), [5, 1])
        logits = [
            dense(judge._logit, dense(judge._hidden[0], one, relu))[:, 0] for one in (prior, encoded_as)
        ]
        adversaries += log_sigmoid(logits[0]) + log_sigmoid(-logits[1])
    view = fixed_view(features[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, None)
    equal = (
        [np.eye(5, dtype=bool)] * len(h) if model.settings.contrast_equal else same_sequences(model, features)
    )
    contrasted = sum(contrasts(a, b, e) for a, b, e in zip(h, encoded(model, features, view), equal))
    for training, total in ((False, alone), (True, alone + 0.3 * adversaries + 0.7 * contrasted)):
        found, count = model.summed_loss(features, training=training)
        assert float(found) == pytest.approx(total.sum(), rel=1e-4) and count == 5
    # None of the terms is small beside the others.
    assert min(abs(term.sum()) for term in (alone, 0.3 * adversaries, 0.7 * contrasted)) > 0.1


def test_what_descends_and_what_ascends_the_loss(undrawn):
    """By finite differences: the model's gradient is that of the loss, the adversaries' that of eq. (4) without alpha."""
    alpha = 0.05
    model = scene_harness.build({**STILL, "apr": alpha, "contrast_weights_gradient": True})
    features = scene_harness.batch(6)
    without = scene_harness.build({**STILL, "apr": 0, "contrast_weights_gradient": True})
    kernels = [layers[0].kernel for layers in model._fusions]
    judges = [judge._hidden[0].kernel for judge in model._discriminators]
    _, gradients = scene_harness.loss_and_gradients(model, features, training=True)
    by_ref = {variable.ref(): one for variable, one in zip(model.trainable_variables, gradients)}
    for variable, factor in [*((one, 1.0) for one in kernels), *((one, alpha) for one in judges)]:
        # Along the gradient itself, where rounding matters least; so little that no unit stops or begins.
        gradient, before, losses = by_ref[variable.ref()].numpy(), variable.numpy(), []
        steepness, step = np.linalg.norm(gradient), 0.005
        for way in (step, -step):
            variable.assign(before + way * gradient / steepness)
            losses.append(float(model.summed_loss(features, training=True)[0]))
        variable.assign(before)
        slope = (losses[0] - losses[1]) / (2 * step)
        assert steepness * factor == pytest.approx(slope, rel=0.01)
    assert {one.ref() for one in judges} <= {one.ref() for one in model.adversary_variables}
    assert without.adversary_variables == []


def test_padding_and_rows_that_fill_a_batch_are_nothing_in_training(undrawn):
    model, features = scene_harness.build(STILL), scene_harness.batch(8)
    expected = scene_harness.loss_and_gradients(model, features, training=True)
    for model.static_shapes in (False, True):
        found = scene_harness.loss_and_gradients(model, scene_harness.filled(features), training=True)
        scene_harness.assert_close([found[0], *found[1]], [expected[0], *expected[1]], rtol=1e-3)
    long = {
        name: tf.pad(value, [[0, 0], [2, 0]]) if name in scene_harness.HISTORIES else value
        for name, value in features.items()
    }
    short = {name: value[:, 2:] if name in scene_harness.HISTORIES else value for name, value in long.items()}
    again = scene_harness.loss_and_gradients(model, short, training=True)
    scene_harness.assert_close([again[0], *again[1]], [expected[0], *expected[1]], rtol=1e-3)


def test_two_replicas_contrast_all_windows(undrawn):
    """Also where one of them has but one window, which the other one has, too, and rows that fill up."""
    features = scene_harness.filled(with_equal_histories(scene_harness.batch(7, rows=4)), 2)
    # SGD of a discriminator at full rate goes far; the model's gradient is of before.
    values = {**STILL, "contrast_equal": False}
    replicas.check(lambda: scene_harness.build(values), features, learning_rate=0.5, training=True)


def test_items_and_scenes_have_views_of_their_own_but_for_a_single_sequence(monkeypatch):
    drawn, draw = [], augmentation.draw
    monkeypatch.setattr(augmentation, "draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    features = scene_harness.batch(rows=40)
    for encoders, number in (("dual", 2), ("single", 1)):
        scene_harness.build({**SMALL, "encoders": encoders}).summed_loss(features)
        assert len(drawn) == number and drawn[0].masked.shape == (80, scene_harness.LENGTH)
        assert not np.array_equal(drawn[0].places[:40], drawn[0].places[40:])
        if number == 2:
            assert not np.array_equal(drawn[0].masked, drawn[1].masked)
        drawn.clear()


def test_monitors_are_the_means_over_windows(undrawn):
    model = scene_harness.build(STILL)
    features = scene_harness.filled(scene_harness.batch(6))
    total, count, watched = model.monitored_loss(features)
    assert (total, count) == model.summed_loss(features)
    found = dict(zip(model.monitors, watched.numpy() / float(count), strict=True))
    z = fused(model, encoded(model, scene_harness.batch(6)))
    for of, own in zip(("item", "scene"), z):
        assert found[f"{of}_mean_z"] == pytest.approx(own.mean(), rel=1e-3, abs=1e-5)
        assert found[f"{of}_mean_square_z"] == pytest.approx((own**2).mean(), rel=1e-3)
        assert 0 < found[f"{of}_chance_of_prior"] < 1 and 0 < found[f"{of}_chance_of_encoded"] < 1
    plain = scene_harness.build({**STILL, "apr": 0})
    assert plain.monitors == () and plain.monitored_loss(features)[2].shape == (0,)


def test_what_is_exported_and_what_belongs_to_the_adversary():
    model = scene_harness.build(SMALL)
    exported = {variable.ref() for variable in model.serving_variables}
    adversary_variables = {variable.ref() for variable in model.adversary_variables}
    left_out = {variable.ref() for variable in model.variables} - exported
    # Two layers of two discriminators, the vectors of two masks.
    assert len(adversary_variables) == 8 and adversary_variables < left_out and len(left_out) == 10
    assert sum("mask" in ref.deref().name for ref in left_out) == 2


def test_without_a_loss_of_scenes_their_answer_is_not_trained():
    features = scene_harness.batch()
    model = scene_harness.build({**STILL, "scene_weight": 0, "apr": 0, "ccr": 0})
    _, found = scene_harness.loss_and_gradients(model, features)
    still = [v.name for v, one in zip(model.trainable_variables, found) if not np.any(one)]
    assert len([name for name in still if "qkv/bias" not in name]) == 2


@pytest.mark.parametrize("name", ["softmax", "period_softmax", "sampled_softmax"])
def test_other_losses(name):
    model = scene_harness.build(SMALL, loss={"name": name})
    total, count = model.summed_loss(scene_harness.batch())
    assert np.isfinite(float(total)) and count == 5


def test_its_loss_is_of_a_period_unless_another_is_named():
    settings = config.TrainerSettings.from_values({"model": {"name": "dspnet"}})
    assert settings.loss.name == "period_bce"
    assert config.in_batch(settings.model, settings.loss) == "model dspnet"
    settings = config.TrainerSettings.from_values({"model": {"name": "dspnet", "ccr": 0}})
    assert config.in_batch(settings.model, settings.loss) is None


@pytest.mark.parametrize(
    "extra, message",
    [
        ({"heads": 3}, r"dim must be a multiple of heads \(3\), found 8"),
        ({"scene_dim": 5}, r"scene_dim must be a multiple of heads \(2\), found 5"),
        (
            {"encoders": "single", "scene_dim": 5},
            r"dim \+ scene_dim must be a multiple of heads \(2\), found 13",
        ),
        ({"encoders": "single", "concat": False}, "concat: false goes with encoders: dual"),
        ({"mlp_layers": 4}, "less than or equal to 3"),
        ({"prior": "cauchy"}, "'normal', 'uniform' or 'laplace'"),
        ({"negative_temperature": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit(extra, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        config.TrainerSettings.from_values({"model": {**SMALL, **extra}})
