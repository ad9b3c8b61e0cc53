"""PLE."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.models import labels_harness as harness
from trainer.models import labels as label_models

SMALL = {
    "name": "ple",
    "dim": 4,
    "step_experts": 2,
    "shared_experts": 1,
    "expert": [6],
    "tower": [5],
    "dropout": 0.1,
}


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ple(tmp_path, levels):
    harness.run_model_test({**SMALL, "levels": levels}, tmp_path, graphs=levels == 2)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def outputs(group, inputs):
    """`[B, E, Y]` of one layer of experts."""
    kernel, bias = (variable.numpy() for variable in group.trainable_variables)
    return np.maximum(np.einsum("bx,exy->bey", inputs, kernel) + bias[None, :, 0], 0)


def mixture(gate, inputs, found):
    share = softmax(inputs @ gate.trainable_variables[0].numpy())
    return np.einsum("be,bey->by", share, found)


def test_levels_in_numpy():
    model, features = harness.build({**SMALL, "levels": 2}), harness.batch(3)
    inputs = label_models.flat(model._embedding(features)).numpy()
    first, last = model._levels
    found = [outputs(group, inputs) for group in first._experts]
    steps = [
        mixture(gate, inputs, np.concatenate([own, found[-1]], axis=1))
        for gate, own in zip(first._gates, found)
    ]
    shared = mixture(first._shared_gate, inputs, np.concatenate(found, axis=1))
    found = [outputs(group, part) for group, part in zip(last._experts, [*steps, shared])]
    steps = [
        mixture(gate, part, np.concatenate([own, found[-1]], axis=1))
        for gate, part, own in zip(last._gates, steps, found)
    ]
    assert last._shared_gate is None
    expected = [
        head(tower(part.astype(np.float32))) for part, tower, head in zip(steps, model._towers, model._heads)
    ]
    np.testing.assert_allclose(model(features), np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels, reached", [(1, False), (2, True)])
def test_experts_of_a_step_are_out_of_reach_of_others_but_through_the_shared_part(levels, reached):
    """On the last level a step sees its own experts and the shared ones alone."""
    model, features = harness.build({**SMALL, "levels": levels}), harness.batch(3)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(features)[:, 0])
    others = model._levels[0]._experts[1].trainable_variables
    found = [np.abs(gradient).max() > 0 for gradient in tape.gradient(total, others)]
    assert any(found) == reached
