"""GRU4Rec."""

import numpy as np
import pytest

from schemas import names
from tests.trainer.models import harness

SMALL = {"name": "gru4rec", "dim": 8, "hidden": 12, "layers": 2, "dropout": 0.1}


@pytest.mark.parametrize("extra", [{}, {"hidden": 8, "layers": 1, "tied": False}], ids=["deep", "untied"])
def test_gru4rec(tmp_path, extra):
    harness.run_model_test({**SMALL, **extra}, tmp_path, graphs=not extra)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_states_equal_numpy():
    """One window and one position after the other, from the formulas; the padding is not even looked at."""
    model, features = harness.build({**SMALL, "layers": 1}), harness.batch(5)
    values = {v.name: v.numpy().astype(np.float64) for v in model.trainable_variables}
    table = next(v for name, v in values.items() if v.shape == (harness.SIZE + names.FIRST_INDEX, 8))
    kernel, recurrent = (
        next(v for v in values.values() if v.shape == shape) for shape in ((8, 36), (12, 36))
    )
    bias = np.random.default_rng(0).normal(size=36)
    next(v for v in model.trainable_variables if v.shape == (36,)).assign(bias)
    dense = next(v for v in values.values() if v.shape == (12, 8))
    states = model.encode_positions(features).numpy()
    for row, items in enumerate(features[names.HISTORY_ITEM_INDEX].numpy()):
        h = np.zeros(12)
        for t in np.flatnonzero(items):
            x, u = table[items[t]] @ kernel + bias, h @ recurrent
            z, r = sigmoid(x[:12] + u[:12]), sigmoid(x[12:24] + u[12:24])
            h = (1 - z) * h + z * np.tanh(x[24:] + r * u[24:])
            np.testing.assert_allclose(states[row, t], h @ dense, rtol=1e-4, atol=1e-6)
