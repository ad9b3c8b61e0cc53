"""MSDP's pretraining of a network of users: the target, the prompt, and what is left out for the consistency."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import user_harness
from trainer import config

SMALL = {"name": "user_msdp", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
DAY = 86_400.0


def test_it_is_a_pretraining():
    user_harness.check(SMALL)


def test_the_target_is_how_often_each_item_follows_within_the_scale():
    model = user_harness.build({**SMALL, "consistency": 0.0})
    features = {name: value[:1] for name, value in user_harness.batch(2).items()}
    # The period is three days: of the scales 0.25, 0.5 and 1 the second ends after a day and a half.
    features[names.FUTURE_ITEM_INDEX] = tf.constant([[5, 5, 7, 3]], tf.int64)
    features[names.FUTURE_SECONDS] = tf.constant([[0.9 * DAY, 1.0 * DAY, 1.4 * DAY, 2.9 * DAY]])
    table = model.users.behaviors.items.table.numpy()[names.FIRST_INDEX :].astype(np.float64)
    embedding = model.encode(features).numpy()[0].astype(np.float64)
    inner, outer = (
        (layer.kernel.numpy().astype(np.float64), layer.bias.numpy()) for layer in model._head.layers
    )

    def loss(scale, shares):
        hidden = tf.nn.gelu((embedding + model._prompts.numpy()[scale]) @ inner[0] + inner[1]).numpy()
        scores = (hidden @ outer[0] + outer[1]) @ table.T
        likely = scores - np.log(np.exp(scores).sum())
        return -sum(share * likely[item - names.FIRST_INDEX] for item, share in shares.items())

    found, counted = model.window_losses(features, training=False)
    assert counted.numpy().tolist() == [True]
    assert float(found[0]) == pytest.approx(loss(2, {5: 0.5, 7: 0.25, 3: 0.25}), rel=1e-4)

    class Drawn:
        """Always the first scale: nothing follows within 18 hours, and the second takes its place."""

        uniform = staticmethod(lambda shape, maxval=None, dtype=tf.float32: tf.zeros(shape, dtype))

    model.generator = Drawn
    found, _ = model.window_losses(features, training=True)
    assert float(found[0]) == pytest.approx(loss(1, {5: 2 / 3, 7: 1 / 3}), rel=1e-4)


def test_a_history_is_to_be_like_the_same_with_some_events_left_out():
    model, features = user_harness.build({**SMALL, "consistency": 0.5}), user_harness.batch(4)
    without = user_harness.build({**SMALL, "consistency": 0.0})
    last = np.zeros([5, 6], bool)
    last[:, -1] = True

    class Drawn:
        """The longest scale, and of each history the last event."""

        @staticmethod
        def uniform(shape, maxval=None, dtype=tf.float32):
            if maxval is not None:
                return tf.fill(shape, tf.cast(maxval - 1, dtype))
            return tf.constant(np.where(last, 0.0, 1.0), tf.float32)

    for one in (model, without):
        one.generator = Drawn
    index = features[names.HISTORY_ITEM_INDEX]
    fewer = {**features, names.HISTORY_ITEM_INDEX: tf.where(last, 0, index)}
    one, other = (model.encode(each).numpy().astype(np.float64) for each in (features, fewer))
    inner, outer = ((layer.kernel.numpy(), layer.bias.numpy()) for layer in model._predictor.layers)

    def predict(vectors):
        return np.maximum(vectors @ inner[0] + inner[1], 0) @ outer[0] + outer[1]

    def cosine(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    unlike = 1 - (cosine(predict(one), other) + cosine(predict(other), one)) / 2
    found, _ = model.window_losses(features, training=True)
    plain, _ = without.window_losses(features, training=True)
    np.testing.assert_allclose(found - plain, 0.5 * unlike, rtol=1e-3, atol=1e-5)


def test_a_window_after_which_no_known_item_comes_does_not_count():
    model, features = user_harness.build(SMALL), user_harness.batch(5)
    none = tf.constant([True, False, False, False, False])
    items = tf.where(none[:, None], tf.constant(names.OOV_INDEX, tf.int64), features[names.FUTURE_ITEM_INDEX])
    assert float(model.summed_loss({**features, names.FUTURE_ITEM_INDEX: items})[1]) == 4


def test_one_batch_is_learnt_by_heart():
    # What is left is the entropy of what follows.
    first, last = user_harness.learns({**SMALL, "dim": 16, "scales": [1.0]})
    assert last < 0.6 * first, (first, last)


def test_scales_rise():
    with pytest.raises(pydantic.ValidationError, match=r"rising shares, at least one, found \[0.5, 0.25\]"):
        config.TrainerSettings.from_values({"model": {**SMALL, "scales": [0.5, 0.25]}})
