"""BERT4Rec."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import harness
from trainer.layers import attention, transformer
from trainer.losses import loss as losses

SMALL = {"name": "bert4rec", "dim": 8, "blocks": 2, "heads": 2, "dropout": 0.1}


def test_bert4rec(tmp_path):
    # Post-norm blocks do not bear the harness's usual learning rate.
    values = {**SMALL, "mask_ratio": 0.5}
    harness.run_model_test(values, tmp_path, causal=False, learning_rate=0.005, steps=400)


def test_it_looks_both_ways():
    """A state in the middle depends on what comes after, and none on what stands under the mask."""
    model = harness.build(SMALL)
    items = np.tile(np.arange(names.FIRST_INDEX, names.FIRST_INDEX + harness.LENGTH), [2, 1])
    items[1, -1] += 1
    states = model.encode_positions({names.HISTORY_ITEM_INDEX: tf.constant(items)}).numpy()
    assert np.abs(states[0, 1] - states[1, 1]).max() > 1e-4
    # The first event of a full window moves out of it.
    items[1] = items[0]
    items[1, 0] += 3
    states = model.encode({names.HISTORY_ITEM_INDEX: tf.constant(items)}).numpy()
    np.testing.assert_allclose(states[0], states[1], atol=1e-6)


def test_serving_is_training_with_the_last_item_masked():
    """The loss without randomness is the cross-entropy of the target given `encode`."""
    model, features = harness.build(SMALL), harness.batch(5)
    total, count = model.summed_loss(features, training=False)
    logits = model.encode(features).numpy().astype(np.float64) @ model.item_table().numpy().T
    labels = features[names.TARGET_ITEM_INDEX].numpy() - names.FIRST_INDEX
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), labels]
    assert float(count) == 5 and float(total) == pytest.approx(losses.sum(), rel=1e-4)


def test_masks_are_drawn_as_the_settings_say():
    model = harness.build({**SMALL, "mask_ratio": 0.3, "last_share": 0.25})
    rng = np.random.default_rng(0)
    rows, length = 20_000, 10
    known = np.arange(length)[None, :] >= rng.integers(0, 9, [rows, 1])
    known &= rng.uniform(size=known.shape) < 0.9
    known[:, -1] = True
    masked = model.masks(tf.constant(known)).numpy()
    assert not (masked & ~known).any() and masked.any(axis=1).all()
    # With n known items: the last one alone is drawn by chance or not at all, or by the share.
    number = known.sum(1)
    only_last = masked[:, -1] & (masked.sum(1) == 1)
    nothing = 0.7**number
    expected = 0.25 + 0.75 * (nothing + 0.3 * 0.7 ** (number - 1))
    for n in range(1, 7):
        chosen = number == n
        assert abs(only_last[chosen].mean() - expected[chosen][0]) < 4 * np.sqrt(0.25 / chosen.sum())
    # An item before the last is masked with the ratio, in windows that are not of the share.
    rate = masked[:, :-1][known[:, :-1]].mean()
    assert abs(rate - 0.75 * 0.3) < 0.005


def test_masks_come_from_the_generator():
    model, known = harness.build(SMALL), tf.ones([64, 6], tf.bool)
    state = model.generator.state.numpy()
    first, second = model.masks(known).numpy(), model.masks(known).numpy()
    assert not np.array_equal(first, second)
    model.generator.state.assign(state)
    np.testing.assert_array_equal(model.masks(known), first)


def test_nothing_leaks_from_under_a_mask(monkeypatch):
    """A masked target is predicted from the others: its own id changes the label, not the state."""
    model, features = harness.build({**SMALL, "dropout": 0.0}), harness.batch(6)
    monkeypatch.setattr(model, "masks", lambda known, training: known & (tf.range(harness.LENGTH) % 2 == 1))
    seen = []

    class Seen(losses.Loss):
        def __call__(self, model, states, labels):
            seen.append(states)
            return states[:, 0]

    monkeypatch.setattr(model, "training_loss", Seen())
    model.summed_loss(features)
    # Positions 1, 3, 5 of the sequence are positions 2 and 4 of the history, and the target.
    items = features[names.HISTORY_ITEM_INDEX].numpy().copy()
    hidden = items[:, [2, 4]]
    items[:, [2, 4]] = np.where(
        hidden >= names.FIRST_INDEX, names.FIRST_INDEX + (hidden + 3) % harness.SIZE, hidden
    )
    target = names.FIRST_INDEX + (features[names.TARGET_ITEM_INDEX] + 5) % harness.SIZE
    model.summed_loss(
        {**features, names.HISTORY_ITEM_INDEX: tf.constant(items), names.TARGET_ITEM_INDEX: target}
    )
    np.testing.assert_array_equal(seen[0], seen[1])


def test_static_and_dynamic_losses_are_equal():
    model, features = harness.build({**SMALL, "dropout": 0.0}), harness.batch(6)
    state = model.generator.state.numpy()
    dynamic = model.summed_loss(features)
    model.generator.state.assign(state)
    model.static_shapes = True
    static = model.summed_loss(features)
    assert float(static[1]) == float(dynamic[1]) > 0
    assert float(static[0]) == pytest.approx(float(dynamic[0]), rel=1e-5)


def test_post_norm_block_equals_numpy():
    """BERT4Rec's eq. (5), with the attention layer's own output (tested with SASRec)."""
    layer = transformer.TransformerBlock(
        6, 2, 24, "relu", 0.0, tf.random.Generator.from_seed(0), post_norm=True
    )
    inputs = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    bias = attention.key_bias(tf.constant([[False, True, True, True], [True] * 4]))
    assert bias.shape == (2, 1, 1, 4)
    found = layer(inputs, bias)
    values = {v.name: v.numpy() for v in layer.trainable_variables}
    inner, outer = (next(v for v in values.values() if v.shape == shape) for shape in ((6, 24), (24, 6)))

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-8)

    hidden = norm(inputs + layer._attention(inputs, bias).numpy())
    np.testing.assert_allclose(
        found, norm(hidden + np.maximum(hidden @ inner, 0) @ outer), rtol=1e-3, atol=1e-4
    )


def test_expected_targets_are_the_mean_of_what_is_drawn():
    model = harness.build({**SMALL, "mask_ratio": 0.3, "last_share": 0.2})
    length = harness.LENGTH
    lengths = np.repeat([1, 2, length], 4000)
    known = tf.constant(np.arange(length) >= length - lengths[:, np.newaxis])
    drawn = tf.reduce_sum(tf.cast(model.masks(known), tf.float32), axis=1).numpy()
    expected = model.expected_targets(tf.constant(lengths, tf.float32)).numpy()
    for n in (1, 2, length):
        where = lengths == n
        error = drawn[where].std() / np.sqrt(where.sum())
        assert drawn[where].mean() == pytest.approx(expected[where][0], abs=4 * error + 1e-6)
