"""What all models of labels share: fields, heads, the loss, and the correction for negatives left out."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from components.transform import fields as fields_lib
from schemas import errors, names
from tests.trainer.models import labels_harness as harness
from trainer.layers import fields, towers
from trainer.losses import labels as losses
from trainer.models import labels as label_models
from trainer.settings import losses as loss_settings

SMALL = {"name": "mlp", "dim": 4, "tower": [8], "dropout": 0.0}


def test_fields_in_numpy():
    tf.keras.utils.set_random_seed(1)
    layer, features = fields.FieldEmbedding(harness.FIELDS, 3), harness.batch(1)
    tokens = layer(features).numpy()
    layer._shifts.assign_add(tf.ones_like(layer._shifts))
    tokens = layer(features).numpy()
    assert tokens.shape == (7, 6, 3)
    items, colors, tags = (layer._tables[name].numpy() for name in ("item_id", "item_color", "item_tags"))
    np.testing.assert_array_equal(tokens[:, 0], items[features["item_id_index"]])
    np.testing.assert_array_equal(tokens[:, 1], colors[features["item_color_index"]])
    for place, key, table in ((2, "item_tags_index", tags), (3, "history_item_index", items)):
        for row, index in enumerate(features[key].numpy()):
            real = index[index > 0]
            expected = table[real].mean(axis=0) if len(real) else np.zeros(3)
            np.testing.assert_allclose(tokens[row, place], expected, rtol=1e-5, atol=1e-8)
    assert not tokens[0, 2].any() and not tokens[0, 3].any()
    for place, key in ((4, "item_price_value"), (5, "user_age_value")):
        scale, shift = layer._scales[place - 4], layer._shifts[place - 4]
        expected = features[key].numpy()[:, None] * scale.numpy() + shift.numpy()
        np.testing.assert_allclose(tokens[:, place], expected, rtol=1e-5)
    # A table for the items, one for colours and one for tags: the history has none of its own.
    assert sorted(layer._tables) == ["item_color", "item_id", "item_tags"]


@pytest.mark.parametrize("name", ["mlp", "mmoe", "ple", "aitm", "esmm", "bpcm"])
def test_initial_embeddings_are_as_wide_as_the_settings_say(name):
    for stddev in (0.01, 0.3):
        model = harness.build({"name": name, "dim": 64, "embedding_stddev": stddev})
        layers = model._embeddings if name == "mlp" else [model._embedding]
        tables = [table.numpy() for each in layers for table in each._tables.values()]
        values = np.concatenate([table[names.FIRST_INDEX :].ravel() for table in tables])
        assert values.std() == pytest.approx(stddev, rel=0.1) and abs(values.mean()) < 0.1 * stddev


def test_what_training_lacks_says_nothing_and_what_it_has_is_learnt():
    """Reserved rows begin at zero, whatever the seed; gradients reach the one that is read."""
    layer = fields.FieldEmbedding(harness.FIELDS, 3)
    unread, read = names.PADDING_INDEX, names.OOV_INDEX
    table = layer._tables["item_color"]
    assert not table.numpy()[: names.FIRST_INDEX].any() and table.numpy()[names.FIRST_INDEX :].all()
    features, head = harness.batch(1), tf.keras.layers.Dense(1)
    features["item_color_index"] = tf.fill([7], tf.constant(read, tf.int64))
    optimizer = tf.keras.optimizers.Adam(0.1)
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((head(tf.reshape(layer(features), [7, 18])) - 1.0) ** 2)
        optimizer.minimize(loss, layer.trainable_variables, tape)
    assert table.numpy()[read].all() and not table.numpy()[unread].any()


def test_tables_are_looked_up_once_with_sparse_gradients():
    layer, features = fields.FieldEmbedding(harness.FIELDS, 3), harness.batch(1)
    graph = tf.function(layer).get_concrete_function(features).graph
    gathers = [op for op in graph.get_operations() if op.type in ("ResourceGather", "GatherV2")]
    assert len(gathers) == 3
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(features) ** 2)
    gradient = tape.gradient(total, layer._tables["item_id"])
    assert isinstance(gradient, tf.IndexedSlices) and gradient.values.shape == (7 * 5, 3)


@pytest.mark.parametrize(
    "changes, message",
    [({"kind": "text"}, "found 'text'"), ({"table": "item_color"}, "item_id: 9, item_color: 5")],
)
def test_fields_that_do_not_fit(changes, message):
    changed = dataclasses.replace(harness.FIELDS[0], **changes)
    with pytest.raises(ValueError, match=message):
        fields.FieldEmbedding((changed, *harness.FIELDS[1:]), 3)


def test_numbers_keep_their_digits_in_mixed_precision():
    """1000 and 1001 are one number in bfloat16."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layer = fields.FieldEmbedding((fields_lib.Field("price", "price", "value", 0, "price"),), 1)
        layer._scales.assign([[1.0]])
        layer._shifts.assign([[-1000.0]])
        np.testing.assert_array_equal(layer({"price": tf.constant([1000.0, 1001.0])})[:, 0, 0], [0.0, 1.0])
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.0002, 0.5, 1.0])
def test_heads_start_at_the_base_rate(rate):
    head = towers.Head(rate)
    found = float(tf.sigmoid(head(tf.zeros([1, 4])))[0])
    assert np.isfinite(float(head(tf.zeros([1, 4]))[0]))
    assert found == pytest.approx(min(max(rate, 1e-6), 1 - 1e-6), rel=1e-4)


def test_exposures_need_a_rate_for_each_step():
    with pytest.raises(ValueError, match="3 steps and 1 rates"):
        harness.exposures(base_rates=(0.1,))


def test_loss_in_numpy():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 3, [20, 3]), rng.integers(-1, 2, [20, 3])
    likely = 1 / (1 + np.exp(-logits))
    each = -np.where(labels == 1, np.log(likely), np.log(1 - likely)) * (labels >= 0)
    loss = losses.StepBCE([1.0, 0.5, 2.0])
    found = loss(tf.constant(logits, tf.float32), tf.constant(labels))
    np.testing.assert_allclose(found, each @ [1.0, 0.5, 2.0], rtol=1e-4, atol=1e-6)


def test_weights_of_steps():
    settings = loss_settings.StepBCESettings(name="step_bce", weights={"buy": 3.0})
    assert losses.build(settings, ("click", "buy"))._weights == (1.0, 3.0)
    with pytest.raises(errors.InputError, match="no step 'buy'; it has click, cart"):
        losses.build(settings, ("click", "cart"))
    # Its AUC, of a head that learns nothing, would still say when to stop.
    with pytest.raises(ValueError, match="greater than 0"):
        loss_settings.StepBCESettings(name="step_bce", weights={"buy": 0.0})


def test_order_violation_worked_by_hand():
    """Only a later step that is likelier than the one before costs, and by as much as it is."""
    likely = np.array([[0.9, 0.5, 0.1], [0.1, 0.5, 0.2], [0.1, 0.2, 0.6]])
    logits = tf.constant(np.log(likely / (1 - likely)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = losses.order_violation(logits)
    np.testing.assert_allclose(found, [0.0, 0.4, 0.5], atol=1e-6)
    gradient = tape.gradient(found, logits).numpy()
    # To go downhill the earlier step rises and the later one falls.
    np.testing.assert_array_equal(np.sign(gradient), [[0, 0, 0], [-1, 1, 0], [-1, 0, 1]])
    np.testing.assert_array_equal(losses.order_violation(logits[:, :1]), np.zeros(3))


def test_correction_undoes_the_sampling_of_negatives():
    """Counted on simulated exposures: all of them against the sample that training would have seen."""
    rng = np.random.default_rng(1)
    first, then, keep = 0.08, np.array([1.0, 0.4, 0.25]), 0.1
    chances = first * np.cumprod(then)
    reached = (rng.random([2_000_000, 1]) < chances).sum(axis=1)
    kept = (reached > 0) | (rng.random(len(reached)) < keep)
    seen = np.array([(reached[kept] > step).mean() for step in range(3)])
    # The sample is far from all: its rates are several times as high.
    assert seen[0] > 4 * first
    logits = tf.constant(np.log(seen / (1 - seen))[None], tf.float32)
    found = tf.sigmoid(label_models.correct_for_sampling(logits, keep))[0]
    np.testing.assert_allclose(found, [(reached > step).mean() for step in range(3)], rtol=0.02)


@pytest.mark.parametrize("keep", [1.0, 0.5, 1e-4])
def test_correction_in_closed_form(keep):
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 5, [40, 3])
    likely = 1 / (1 + np.exp(-logits))
    expected = likely * (keep / (1 - (1 - keep) * likely[:, :1]))
    expected = np.log(expected) - np.log1p(-expected)
    found = label_models.correct_for_sampling(tf.constant(logits, tf.float32), keep)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[:, 0], logits[:, 0] + np.log(keep), rtol=1e-4, atol=1e-4)


def test_correction_of_large_logits_is_finite():
    logits = tf.constant([[200.0, 200.0], [-200.0, -200.0], [200.0, -200.0], [-200.0, 200.0]])
    assert np.isfinite(label_models.correct_for_sampling(logits, 0.01)).all()


def test_probabilities_are_corrected_then_calibrated_and_logits_are_not():
    model, features = harness.build(SMALL, keep_negatives=0.2), harness.batch(1)
    logits = model(features)
    corrected = label_models.correct_for_sampling(logits, 0.2)
    np.testing.assert_allclose(model.probabilities(features), tf.sigmoid(corrected), rtol=1e-6)
    model.calibrate(np.array([2.0, 1.0, 0.5]), np.array([0.0, 0.3, -1.0]))
    np.testing.assert_array_equal(model(features), logits)
    expected = tf.sigmoid(corrected * [2.0, 1.0, 0.5] + [0.0, 0.3, -1.0])
    np.testing.assert_allclose(model.probabilities(features), expected, rtol=1e-5)
    assert not any("calibration" in variable.name for variable in model.trainable_variables)
