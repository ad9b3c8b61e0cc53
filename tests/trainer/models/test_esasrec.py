"""eSASRec."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.models import harness
from trainer import config
from trainer.layers import attention, ligr
from trainer.models import ranking

SMALL = {"name": "esasrec", "dim": 8, "blocks": 2, "heads": 2, "dropout": 0.1}


def test_esasrec(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_a_block_by_numpy():
    """`x + sigmoid(W x + b) * g(LayerNorm(x))`, twice; attention is what it is elsewhere."""
    tf.keras.utils.set_random_seed(3)
    layer = ligr.LiGRBlock(6, 2, 10, 0.0, ranking.random_generator(1))
    rng = np.random.default_rng(0)
    inputs = tf.constant(rng.normal(size=(2, 4, 6)), tf.float32)
    bias = attention.causal_bias(tf.constant([[False, True, True, True], [True] * 4]))
    layer(inputs, bias)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))

    def normed(values, norm):
        values = (values - values.mean(-1, keepdims=True)) / values.std(-1, keepdims=True)
        return values * norm.gamma.numpy() + norm.beta.numpy()

    def gate(values, dense):
        return 1 / (1 + np.exp(-(values @ dense.kernel.numpy() + dense.bias.numpy())))

    given = inputs.numpy().astype(np.float64)
    attended = layer._attention(tf.constant(normed(given, layer._attention_norm), tf.float32), bias).numpy()
    hidden = given + gate(given, layer._attention_gate) * attended
    both = normed(hidden, layer._inner_norm) @ layer._inner.kernel.numpy()
    one, two = both[..., :10], both[..., 10:]
    product = one / (1 + np.exp(-one)) * two
    expected = hidden + gate(hidden, layer._inner_gate) * (product @ layer._outer.kernel.numpy())
    np.testing.assert_allclose(layer(inputs, bias), expected, rtol=1e-3, atol=1e-3)


def test_its_loss_is_of_sampled_negatives_unless_another_is_named():
    assert config.TrainerSettings.from_values({"model": SMALL}).loss.name == "sampled_softmax"
    settings = config.TrainerSettings.from_values({"model": SMALL, "loss": {"name": "softmax"}})
    assert settings.loss.name == "softmax"
    with pytest.raises(ValueError, match=r"multiple of heads \(3\), found 8"):
        config.TrainerSettings.from_values({"model": {**SMALL, "heads": 3}})
