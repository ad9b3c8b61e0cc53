"""SASRec."""

import numpy as np
import tensorflow as tf

from schemas import names
from tests.trainer.models import harness
from trainer.layers import attention

SMALL = {"name": "sasrec", "dim": 8, "blocks": 2, "heads": 2, "dropout": 0.1}


def test_sasrec(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_order_matters():
    """Position embeddings tell the order of equal sets of items apart."""
    model, features = harness.build(SMALL), harness.batch(3)
    items = np.tile(np.arange(names.FIRST_INDEX, names.FIRST_INDEX + harness.LENGTH), [5, 1])
    forward = model.encode({**features, names.HISTORY_ITEM_INDEX: tf.constant(items)})
    swapped = items[:, [1, 0, 2, 3, 4, 5]]
    backward = model.encode({**features, names.HISTORY_ITEM_INDEX: tf.constant(swapped)})
    assert np.abs(forward - backward).max() > 1e-4


def test_attention_equals_numpy():
    """Against the formula, written out for one head after the other."""
    rng = np.random.default_rng(0)
    layer = attention.SelfAttention(6, 2, 0.0, tf.random.Generator.from_seed(0))
    inputs = rng.normal(size=(2, 4, 6)).astype(np.float32)
    present = np.array([[False, True, True, True], [True] * 4])
    found = layer(inputs, attention.causal_bias(tf.constant(present)))
    kernel, bias, out, out_bias = [v.numpy() for v in layer.trainable_variables]
    for row in range(2):
        projected = inputs[row] @ kernel + bias
        query, key, value = projected[:, :6], projected[:, 6:12], projected[:, 12:]
        mixed = np.zeros([4, 6])
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            for t in range(4):
                seen = [s for s in range(t + 1) if present[row, s]]
                if not seen:
                    continue
                logits = np.array([query[t, part] @ key[s, part] / np.sqrt(3) for s in seen])
                weights = np.exp(logits - logits.max())
                weights /= weights.sum()
                mixed[t, part] = sum(w * value[s, part] for w, s in zip(weights, seen))
        real = present[row]
        np.testing.assert_allclose(found[row][real], (mixed @ out + out_bias)[real], rtol=1e-4, atol=1e-5)
