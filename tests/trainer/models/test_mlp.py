"""MLP."""

import numpy as np
import tensorflow as tf

from tests.trainer.models import labels_harness as harness

SMALL = {"name": "mlp", "dim": 4, "tower": [8], "dropout": 0.1}


def test_mlp(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_steps_share_nothing():
    """The loss of one step has no gradient for what another is made of."""
    model, features = harness.build(SMALL), harness.batch(3)
    reached = []
    for step in range(3):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(features)[:, step])
        found = tape.gradient(total, model.trainable_variables)
        moved = [np.abs(tf.convert_to_tensor(gradient)).max() > 0 for gradient in found]
        reached.append({v.ref() for v, moves in zip(model.trainable_variables, moved) if moves})
    assert not (reached[0] & reached[1] or reached[0] & reached[2] or reached[1] & reached[2])
    assert len(set.union(*reached)) == len(model.trainable_variables)


def test_without_a_tower_it_is_logistic_regression():
    model, features = harness.build({**SMALL, "tower": []}), harness.batch(3)
    # Linear in each number: a second difference is 0.
    moved = [
        model({**features, "item_price_value": features["item_price_value"] + delta}).numpy()
        for delta in (0.0, 1.0, 2.0)
    ]
    assert np.abs(moved[1] - moved[0]).max() > 1e-4
    np.testing.assert_allclose(moved[2] - moved[1], moved[1] - moved[0], atol=1e-5)
