"""MMoE."""

import numpy as np
import pytest

from tests.trainer.models import labels_harness as harness
from trainer.models import labels as label_models

SMALL = {"name": "mmoe", "dim": 4, "experts": 3, "expert": [8, 6], "tower": [5], "dropout": 0.1}


def test_mmoe(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_gates_are_a_softmax_for_each_step_and_mix_the_experts():
    model, features = harness.build(SMALL), harness.batch(3)
    inputs = label_models.flat(model._embedding(features)).numpy()
    weights = [variable.numpy() for variable in model._experts.trainable_variables]
    found = []
    for expert in range(3):
        hidden = inputs
        for kernel, bias in zip(weights[0::2], weights[1::2]):
            hidden = np.maximum(hidden @ kernel[expert] + bias[expert], 0)
        found.append(hidden)
    found = np.stack(found, axis=1)
    np.testing.assert_allclose(model._experts(inputs), found, rtol=1e-4, atol=1e-6)

    logits = model(features).numpy()
    shares = []
    for step, (gate, tower, head) in enumerate(zip(model._gates, model._towers, model._heads)):
        powers = np.exp(inputs @ gate.trainable_variables[0].numpy())
        share = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(gate.shares(inputs), share, rtol=1e-4)
        np.testing.assert_allclose(np.sum(gate.shares(inputs), axis=1), 1, rtol=1e-6)
        mixed = np.einsum("be,bey->by", share, found).astype(np.float32)
        np.testing.assert_allclose(logits[:, step], head(tower(mixed)), rtol=1e-4, atol=1e-5)
        shares.append(share)
    assert np.abs(shares[0] - shares[1]).max() > 1e-4


@pytest.mark.parametrize("before, after", [(24, 8), (8, 6)])
def test_experts_start_as_single_layers_would(before, after):
    """Glorot's limit is of one expert, however many there are."""
    model = harness.build({**SMALL, "experts": 50})
    kernel = next(v for v in model._experts.trainable_variables if v.shape[1:] == (before, after)).numpy()
    limit = (6 / (before + after)) ** 0.5
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert len(np.unique(kernel[:, 0, 0])) == 50
