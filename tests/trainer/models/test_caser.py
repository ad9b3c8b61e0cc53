"""Caser."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import harness
from trainer import config

SMALL = {"name": "caser", "dim": 8, "markov": 3, "horizontal": 4, "vertical": 2, "dropout": 0.1}


@pytest.mark.parametrize(
    "extra",
    # A window shorter than M is filled with zeros.
    [
        {},
        {"markov": harness.LENGTH + 2, "max_height": 2, "vertical": 0, "tied": True, "activation": "linear"},
    ],
    ids=["paper", "tied"],
)
def test_caser(tmp_path, extra):
    harness.run_model_test({**SMALL, **extra}, tmp_path, graphs=not extra)


def test_states_equal_numpy():
    """The paper's formulas for one position after the other, each from a frame of its own."""
    model, features = harness.build(SMALL), harness.batch(5)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    values = {
        v.name.split(":")[0].split("/")[-1]: v.numpy().astype(np.float64) for v in model.trainable_variables
    }
    table = model._items.table.numpy()
    states = model.encode_positions(features).numpy()
    for row, items in enumerate(features[names.HISTORY_ITEM_INDEX].numpy()):
        embedded = np.where(items[:, None] > 0, table[items], 0.0)
        for t in range(harness.LENGTH):
            frame = np.zeros([3, 8])
            known = embedded[max(0, t - 2) : t + 1]
            frame[3 - len(known) :] = known
            outputs = []
            for height in (1, 2, 3):
                filters, bias = values[f"horizontal_{height}"], values[f"bias_{height}"]
                for k in range(4):
                    slides = [
                        max(0.0, (frame[i : i + height] * filters[:, :, k]).sum() + bias[k])
                        for i in range(3 - height + 1)
                    ]
                    # All filters of a height stand together.
                    outputs.append(max(slides))
            sums = values["vertical"].T @ frame
            flat = np.concatenate([outputs, sums.ravel()])
            expected = np.maximum(flat @ values["kernel"] + values["bias"], 0)
            np.testing.assert_allclose(states[row, t], expected, rtol=1e-3, atol=1e-4)


def test_only_the_last_items_matter():
    model = harness.build(SMALL)
    items = np.tile(np.arange(names.FIRST_INDEX, names.FIRST_INDEX + harness.LENGTH), [2, 1])
    items[1, : harness.LENGTH - 3] = names.FIRST_INDEX + 9
    states = model.encode({names.HISTORY_ITEM_INDEX: tf.constant(items)}).numpy()
    np.testing.assert_allclose(states[0], states[1], atol=1e-6)
    items[1, harness.LENGTH - 3] = names.FIRST_INDEX + 9
    states = model.encode({names.HISTORY_ITEM_INDEX: tf.constant(items)}).numpy()
    assert np.abs(states[0] - states[1]).max() > 1e-5


def test_a_filter_is_no_higher_than_the_frame():
    with pytest.raises(pydantic.ValidationError, match=r"max_height must be at most markov \(3\), found 4"):
        config.TrainerSettings.from_values({"model": {**SMALL, "max_height": 4}})
