"""MSDP."""

import dataclasses

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from schemas import errors, names
from tests.trainer.models import scene_harness as harness
from trainer import config, registry
from trainer.losses import consistency

SMALL = {"name": "msdp", "dim": 8, "scene_dim": 4, "blocks": 1, "heads": 2, "dropout": 0.0}
# A period of 100 s, of which events follow after so many seconds: items 2 and up are known.
SECONDS = np.array([[5, 30, 60, 99], [26, 40, 0, 0], [80, 0, 0, 0], [10, 25, 50, 100]], np.float32)
ITEMS = np.array([[3, 4, 3, 5], [7, 8, 0, 0], [6, 0, 0, 0], [1, 9, 4, 9]])
SCENES = np.array([[2, 3, 4, 5], [6, 2, 0, 0], [4, 0, 0, 0], [2, 3, 4, 5]])


def test_msdp(tmp_path, monkeypatch):
    values, batch = {**SMALL, "dropout": 0.1}, harness.batch
    harness.run_model_test(values, tmp_path, graphs=False)

    def one_follows(*given, **named):
        found = batch(*given, **named)
        first = tf.range(harness.FUTURE) == 0
        return {**found, **{name: tf.where(first, found[name], 0) for name in harness.FUTURES}}

    # What is left of a loss that was learnt by heart is the entropy of what follows: of one item, none.
    monkeypatch.setattr(harness, "batch", one_follows)
    harness.run_model_test(values, tmp_path)


class Always:
    """In place of a generator: the second scale, and the last event is masked."""

    @staticmethod
    def uniform(shape, maxval=None, dtype=tf.float32):
        if maxval is not None:
            return tf.ones(shape, dtype)
        return tf.broadcast_to(tf.cast(tf.range(shape[1]) < shape[1] - 1, dtype), shape)


def test_two_replicas(monkeypatch):
    build = harness.build

    def with_draws(values):
        model = build(values)
        model.generator = Always
        return model

    monkeypatch.setattr(harness, "build", with_draws)
    harness.check_replicas(SMALL, training=True)


def future():
    given = harness.batch(6, rows=4)
    given[names.FUTURE_SECONDS] = tf.constant(SECONDS)
    given[names.FUTURE_ITEM_INDEX] = tf.constant(ITEMS)
    given[names.FUTURE_SCENE_INDEX] = tf.constant(SCENES)
    return given


@pytest.mark.parametrize(
    "drawn, chosen, kept",
    [
        # The second has nothing within 25 s, and the third not within 50; of the fourth what comes first is unknown.
        (0, [0, 1, 2, 0], [[3, 0, 0, 0], [7, 8, 0, 0], [6, 0, 0, 0], [1, 9, 0, 0]]),
        (1, [1, 1, 2, 1], [[3, 4, 0, 0], [7, 8, 0, 0], [6, 0, 0, 0], [1, 9, 4, 0]]),
        (2, [2, 2, 2, 2], ITEMS.tolist()),
    ],
)
def test_what_follows_within_the_scale_that_was_drawn_or_the_next_that_has_something(drawn, chosen, kept):
    model, given = harness.build(SMALL), future()
    found = model.within(given, tf.fill([4], tf.constant(drawn, tf.int64)))
    assert found["scale"].numpy().tolist() == chosen
    assert found[names.FUTURE_ITEM_INDEX].numpy().tolist() == kept
    of_scenes = np.where(np.array(kept) > 0, SCENES, 0).tolist()
    assert found[names.FUTURE_SCENE_INDEX].numpy().tolist() == of_scenes


def test_a_window_without_anything_within_the_longest_scale_does_not_count():
    model, given = harness.build({**SMALL, "scales": [0.25, 0.5]}), future()
    for training in (False, True):
        assert float(model.summed_loss(given, training)[1]) == 3


def test_the_target_is_how_often_each_item_follows():
    """The third scale: of the first window item 3 follows twice, 4 and 5 once: shares 1/2, 1/4 and 1/4."""
    model = harness.build({**SMALL, "consistency": 0.0, "scene_weight": 0.0})
    given = {name: value[:1] for name, value in future().items()}
    scores = model.scores(model.query(given)).numpy()[0].astype(np.float64)
    shares = np.zeros(harness.SIZE)
    shares[[1, 2, 3]] = [1 / 2, 1 / 4, 1 / 4]
    entropy = -(shares[1:4] * np.log(shares[1:4])).sum()
    divergence = (
        shares[1:4] * (np.log(shares[1:4]) - np.log(np.exp(scores) / np.exp(scores).sum())[1:4])
    ).sum()
    total, count = model.summed_loss(given, training=False)
    assert float(count) == 1 and float(total) == pytest.approx(divergence + entropy, rel=1e-5)


def test_the_prompt_is_that_of_the_scale_and_served_is_the_longest():
    model, given = harness.build(SMALL), future()
    told = [
        model.query({**given, "scale": tf.fill([4], tf.constant(scale, tf.int64))}).numpy()
        for scale in range(3)
    ]
    np.testing.assert_array_equal(model.query(given), told[2])
    assert min(np.abs(told[scale] - told[2]).max() for scale in (0, 1)) > 1e-4
    # In training a window is told what it is trained with.
    seen = []
    queries = model.queries
    model.queries = lambda features, training: (seen.append(features), queries(features, training))[1]
    model.generator = Always
    model.summed_loss(given, training=True)
    assert seen[0]["scale"].numpy().tolist() == [1, 1, 2, 1]


def test_all_scales_are_drawn():
    model, drawn = harness.build({**SMALL, "consistency": 0.0}), []
    within = model.within
    model.within = lambda features, scales: (drawn.append(scales.numpy()), within(features, scales))[1]
    given = {name: tf.repeat(value, 100, axis=0) for name, value in future().items()}
    model.summed_loss(given, training=True)
    assert np.bincount(drawn[0], minlength=3).min() > 90


def test_the_likeness_of_masked_histories():
    """1 - 1/2 [cos(p(z), z') + cos(p(z'), z)], of windows that count; z and z' as targets are constants."""
    model, without = (
        harness.build({**SMALL, "consistency": 0.5}),
        harness.build({**SMALL, "consistency": 0.0}),
    )
    given = harness.batch(6)
    given[names.FUTURE_ITEM_INDEX] = tf.where(
        tf.range(5)[:, tf.newaxis] == 1, 0, given[names.FUTURE_ITEM_INDEX]
    )
    for one in (model, without):
        one.generator = Always
    told = {**given, **model.within(given, tf.ones([5], tf.int64))}
    last = tf.broadcast_to(tf.range(harness.LENGTH) == harness.LENGTH - 1, [5, harness.LENGTH])
    whole, other = (model._of_items(model._encode(told, masked, False)).numpy() for masked in (None, last))
    variables = [v.numpy() for v in model._predictor.variables]

    def predict(vectors):
        return np.maximum(vectors @ variables[0] + variables[1], 0) @ variables[2] + variables[3]

    def cosine(one, two):
        return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)

    unlike = 1 - (cosine(predict(whole), other) + cosine(predict(other), whole)) / 2
    expected, count = without.summed_loss(given, training=True)
    total, _ = model.summed_loss(given, training=True)
    assert float(count) == 4
    assert float(total) == pytest.approx(float(expected) + 0.5 * np.delete(unlike, 1).sum(), rel=1e-4)
    with tf.GradientTape() as tape:
        vectors = tf.constant(whole), tf.constant(other)
        tape.watch(vectors)
        value = consistency.cosine(model._predictor(vectors[0]), vectors[1])
    assert [gradient is None for gradient in tape.gradient(value, vectors)] == [False, True]


def test_what_training_alone_reads_is_not_exported():
    model = harness.build(SMALL)
    served = {variable.ref() for variable in model.serving_variables}
    left_out = [v for v in model.variables if v.ref() not in served]
    assert sorted(v.shape.as_list() for v in left_out) == [[8], [8], [8], [8, 8], [8, 8]]
    assert model._prompts.ref() in served


def test_it_needs_to_know_how_long_a_period_is():
    settings = config.TrainerSettings.from_values({"model": SMALL}).model
    unknown = dataclasses.replace(harness.catalogue(), period_seconds=None)
    with pytest.raises(
        errors.InputError, match=r"msdp needs window: \{kind: period\}, found windows without"
    ):
        registry.load("msdp")(settings, unknown)


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"model": {"scales": [0.5, 0.25]}},
            r"scales must be rising shares, at least one, found \[0.5, 0.25\]",
        ),
        ({"model": {"scales": [0.5, 0.5]}}, "must be rising"),
        ({"model": {"scales": []}}, "at least one"),
        ({"model": {"scales": [0.5, 2]}}, "less than or equal to 1"),
        ({"loss": {"name": "softmax"}}, r"model msdp needs loss: \{name: period_softmax\}, found softmax"),
        ({"loss": {"name": "period_bce"}}, "found period_bce"),
    ],
)
def test_settings_that_do_not_fit(values, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        config.TrainerSettings.from_values({**values, "model": {**SMALL, **values.get("model", {})}})


def test_its_loss_is_the_one_that_it_takes():
    assert config.TrainerSettings.from_values({"model": SMALL}).loss.name == "period_softmax"
