"""SceneContraRec."""

import numpy as np
import tensorflow as tf

from schemas import names
from tests.trainer.models import scene_harness as harness
from trainer.layers import augmentation

SMALL = {"name": "scenecontrarec", "dim": 8, "scene_dim": 4, "blocks": 1, "heads": 2, "dropout": 0.1}


def test_scenecontrarec(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_a_view_has_an_item_where_its_scene_is(monkeypatch):
    """Reordered, both are; the order of the view is then that of a history which was so from the start."""
    model, features = harness.build({**SMALL, "dropout": 0.0}), harness.batch(6)
    order = tf.constant([0, 1, 2, 5, 4, 3])
    swapped = tf.broadcast_to(order, [10, harness.LENGTH])
    nothing = tf.zeros([10, harness.LENGTH], tf.bool)
    # Of histories of three events at least, so that no padding moves.
    kept = np.flatnonzero((features[names.HISTORY_ITEM_INDEX].numpy() != 0).sum(axis=1) >= 3)
    monkeypatch.setattr(augmentation, "draw", lambda *_: augmentation.View(swapped, nothing))
    first, second = model._views(features, training=False)
    was_so = {
        **features,
        **{name: tf.gather(features[name], order, axis=1) for name in model.inputs_read},
    }
    for view in (first, second):
        np.testing.assert_allclose(
            view.numpy()[kept], model.encode(was_so).numpy()[kept], rtol=1e-5, atol=1e-6
        )
    assert len(kept) and np.abs(first.numpy()[kept] - model.encode(features).numpy()[kept]).max() > 1e-4
