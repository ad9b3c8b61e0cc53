"""Metrics of models of labels within training."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import errors, names
from tests.schemas import test_auc
from tests.trainer.models import labels_harness as harness
from trainer import input as input_lib
from trainer.evaluation import labels as evaluation

SMALL = {"name": "mlp", "dim": 4, "tower": [8], "dropout": 0.0}


def blocks(features):
    return tf.data.Dataset.from_tensor_slices(features).batch(16)


def exposures(seed=1, rows=100):
    """Some labels unknown."""
    features = harness.batch(seed, rows)
    unknown = np.random.default_rng(seed).random(rows) < 0.3
    last = names.LABEL_PREFIX + "buy"
    features[last] = tf.where(unknown, tf.constant(names.UNKNOWN_LABEL, tf.int64), features[last])
    return features


def test_metrics_are_of_known_labels():
    model, features = harness.build(SMALL, keep_negatives=0.5), exposures()
    found = evaluation.StepMetrics(model, blocks(features), batch_size=7).evaluate()
    likely = model.probabilities(features).numpy().astype(np.float64)
    aucs, losses = [], []
    for place, step in enumerate(harness.STEPS):
        labels = features[names.LABEL_PREFIX + step].numpy()
        known = labels >= 0
        own, labels = likely[known, place], labels[known]
        aucs.append(test_auc.by_pairs(own, labels))
        losses.append(-np.log(np.where(labels == 1, own, 1 - own)).mean())
        assert found[f"auc/{step}"] == pytest.approx(aucs[-1], abs=1e-3)
        assert found[f"log_loss/{step}"] == pytest.approx(losses[-1], rel=1e-4)
    assert found["auc"] == pytest.approx(np.mean([found[f"auc/{step}"] for step in harness.STEPS]))
    assert found["log_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert found["exposures"] == 100


def test_a_step_with_one_class_is_left_out_of_the_mean():
    model, features = harness.build(SMALL), exposures()
    features["label_buy"] = tf.zeros([100], tf.int64)
    features["label_cart"] = tf.fill([100], tf.constant(-1, tf.int64))
    found = evaluation.StepMetrics(model, blocks(features)).evaluate()
    assert found["auc"] == found["auc/click"]
    assert "auc/buy" not in found and "auc/cart" not in found
    assert "log_loss/buy" in found and "log_loss/cart" not in found


def test_nothing_to_stop_by():
    features = exposures()
    features.update((f"label_{step}", tf.zeros([100], tf.int64)) for step in harness.STEPS)
    with pytest.raises(errors.InputError, match="click 0 of 100, cart 0 of 100, buy 0 of 100"):
        evaluation.StepMetrics(harness.build(SMALL), blocks(features))


def test_calibration_makes_the_mean_the_base_rate_and_keeps_the_order():
    model, features = harness.build(SMALL, base_rates=(0.9, 0.01, 0.2)), exposures(rows=400)
    one = evaluation.StepMetrics(model, blocks(features))
    before = one.evaluate()
    said = one.calibrate()
    after = one.evaluate()
    assert said["log_loss_before"] == before["log_loss"] > after["log_loss"] == said["log_loss_after"]
    likely = model.probabilities(features).numpy()
    for place, step in enumerate(harness.STEPS):
        labels = features[f"label_{step}"].numpy()
        known = labels >= 0
        assert likely[known, place].mean() == pytest.approx(labels[known].mean(), rel=1e-3)
        assert after[f"auc/{step}"] == pytest.approx(before[f"auc/{step}"], abs=1e-3)
        assert said["steps"][step]["slope"] > 0


def test_features_that_are_settled_are_read_on_the_host():
    """Operations go to a second device here, as they would to a GPU."""
    model, features, given = harness.build(SMALL), exposures(), []

    def settle(batch):
        given.append({value.device for value in batch.values()})
        return {name: tf.identity(value) for name, value in batch.items()}

    with tf.device("CPU:1"):
        one = evaluation.StepMetrics(model, blocks(features), batch_size=7)
        before = one.logits()
        for _ in range(2):
            one.settle(settle)
        np.testing.assert_array_equal(one.logits(), before)
        given.append({value.device for value in one._features.values()})
    assert {tf.DeviceSpec.from_string(name).device_index for found in given for name in found} == {0}


def test_base_rates():
    features = exposures()
    found = input_lib.base_rates(blocks(features), harness.STEPS, "window.labels")
    labels = features["label_buy"].numpy()
    assert found[2] == pytest.approx(labels[labels >= 0].mean())
    assert found[0] == pytest.approx(features["label_click"].numpy().mean())
    features["label_cart"] = tf.fill([100], tf.constant(-1, tf.int64))
    with pytest.raises(errors.InputError) as caught:
        input_lib.base_rates(blocks(features), harness.STEPS, "window.labels")
    said = "window.labels: label cart must be known of at least one training example, found none of 100"
    assert str(caught.value) == said


def test_rows_of_columns_of_all_shapes_and_types():
    rng = np.random.default_rng(1)
    held = {
        "one": tf.constant(rng.integers(0, 9, 6)),
        "number": tf.constant(rng.normal(size=6).astype(np.float32)),
        "many": tf.constant(rng.integers(0, 9, [6, 3])),
        "grid": tf.constant(rng.normal(size=[6, 2, 2]).astype(np.float32)),
        "none": tf.zeros([6, 0], tf.int64),
    }
    found = input_lib.Rows(held).gather(tf.constant([4, 0, 4]))
    assert list(found) == list(held)
    for name, values in held.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values.numpy()[[4, 0, 4]])


def test_batches_have_every_exposure_once_in_an_order_of_seed_and_epoch():
    held = {"row": tf.range(50), "pair": tf.stack([tf.range(50)] * 2, axis=1)}

    def order(seed, epoch, done=0):
        steps = input_lib.epochs(lambda one: (input_lib.shuffled(50, 8, seed, one),), [epoch], done)
        batches = input_lib.exposure_batches(input_lib.Rows(held), steps)
        found = list(batches.as_numpy_iterator())
        assert len(found) == 7 - done
        assert all((batch["pair"][:, 0] == batch["row"]).all() for batch in found)
        return np.concatenate([batch["row"] for batch in found]).tolist()

    first = order(1, 0)
    assert sorted(first) == list(range(50)) != first
    assert order(1, 0) == first and first not in (order(1, 1), order(2, 0))
    assert order(1, 0, done=3) == first[24:]
