"""What all models share: which targets count, and what they weigh."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import harness
from trainer.losses import loss as losses
from trainer.models import ranking as ranking_models

SMALL = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}


def labels_of(features):
    """Catalogue rows of the targets and which count, one window after the other."""
    history, target = features[names.HISTORY_ITEM_INDEX].numpy(), features[names.TARGET_ITEM_INDEX].numpy()
    labels = np.concatenate([history[:, 1:], target[:, None]], axis=1) - names.FIRST_INDEX
    return labels, (history != names.PADDING_INDEX) & (labels >= 0)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_a_weight_multiplies_the_loss_of_its_target_alone(static):
    model, features = harness.build(SMALL), harness.batch(3)
    model.static_shapes = static
    weights = np.random.default_rng(1).uniform(0, 2, [5, harness.LENGTH]).astype(np.float32)
    model.target_weights = lambda features: tf.constant(weights)
    total, count = model.summed_loss(features, training=False)

    labels, counted = labels_of(features)
    logits = model.encode_positions(features).numpy().astype(np.float64) @ model.item_table().numpy().T
    losses = (
        np.log(np.exp(logits).sum(-1))
        - np.take_along_axis(logits, np.maximum(labels, 0)[..., None], -1)[..., 0]
    )
    assert float(total) == pytest.approx((losses * weights)[counted].sum(), rel=1e-4)
    # The number of targets, whatever they weigh: twice the weights are twice the mean loss.
    assert float(count) == counted.sum()


def test_without_weights_each_target_weighs_one():
    model, features = harness.build(SMALL), harness.batch(3)
    plain, number = model.summed_loss(features, training=False)
    model.target_weights = lambda features: tf.ones([5, harness.LENGTH])
    weighted, same = model.summed_loss(features, training=False)
    assert float(weighted) == pytest.approx(float(plain)) and float(number) == float(same)


def test_what_the_loss_makes_of_padding_reaches_no_sum():
    model, features = harness.build(SMALL), harness.batch(3)
    expected, number = model.summed_loss(features, training=False)
    model.static_shapes, loss = True, model.training_loss

    class Padded(losses.Loss):
        def __call__(self, model, states, labels, real):
            return tf.where(real, loss(model, states, labels, real), float("nan"))

    model.training_loss = Padded()
    found, same = model.summed_loss(features, training=False)
    assert float(found) == pytest.approx(float(expected), rel=1e-5) and float(number) == float(same)


def test_an_unknown_target_does_not_count():
    model, features = harness.build(SMALL), harness.batch(3)
    features[names.TARGET_ITEM_INDEX] = tf.constant([names.OOV_INDEX] * 5, tf.int64)
    found, counted = model.targets(features)
    expected, real = labels_of(features)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(counted, real)
    assert not counted.numpy()[:, -1].any() and counted.numpy().any()


def test_streams_of_seeds_have_nothing_in_common():
    drawn = [
        set(ranking_models.random_generator(seed).uniform_full_int([4096], tf.uint64).numpy().tolist())
        for seed in range(4)
    ]
    assert len(set.union(*drawn)) == 4 * 4096
    again = ranking_models.random_generator(3).uniform_full_int([4096], tf.uint64).numpy().tolist()
    assert set(again) == drawn[3]
