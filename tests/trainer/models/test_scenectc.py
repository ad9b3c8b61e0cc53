"""SceneCTC."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import scene_harness as harness

SMALL = {"name": "scenectc", "dim": 8, "scene_dim": 4, "blocks": 1, "heads": 2, "dropout": 0.1}


def test_scenectc(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_an_event_is_its_item_beside_its_scene():
    model, features = harness.build(SMALL), harness.batch(6)
    seen = []
    model._encoder = lambda hidden, *_, **__: (seen.append(hidden.numpy()), hidden)[1]
    model.queries(features)
    items, of_scenes = (
        layer.table.numpy()[features[name].numpy()]
        for layer, name in (
            (model._items, names.HISTORY_ITEM_INDEX),
            (model._scene_table, names.HISTORY_SCENE_INDEX),
        )
    )
    kernel, bias = (variable.numpy() for variable in model._input.variables)
    real = features[names.HISTORY_ITEM_INDEX].numpy() != names.PADDING_INDEX
    expected = items @ kernel[:8] + of_scenes @ kernel[8:] + bias
    np.testing.assert_allclose(seen[0][real], expected[real], rtol=1e-4, atol=1e-6)


def test_scenes_of_the_history_matter():
    model, features = harness.build(SMALL), harness.batch(6)
    other = dict(features)
    scenes = features[names.HISTORY_SCENE_INDEX].numpy()
    other[names.HISTORY_SCENE_INDEX] = tf.constant(np.where(scenes > 0, scenes % harness.SCENES + 2, 0))
    assert np.abs(model.encode(other) - model.encode(features)).max() > 1e-4


@pytest.mark.parametrize("loss", ["softmax", "period_bce", "period_softmax"])
def test_its_loss_is_that_of_items_and_scenes_alone(loss):
    """There is no contrast: the loss is what each scorer's is, added with the weight of scenes."""
    model = harness.build({**SMALL, "scene_weight": 0.5}, loss={"name": loss})
    features = harness.batch(6)
    items, of_scenes = (scores.astype(np.float64) for scores in harness.answers(model, features))
    expected = 0.0
    for scores, future, weight in (
        (items, names.FUTURE_ITEM_INDEX, 1.0),
        (of_scenes, names.FUTURE_SCENE_INDEX, 0.5),
    ):
        for row, following in zip(scores, features[future].numpy() - names.FIRST_INDEX):
            following = following[following >= 0]
            if loss == "period_bce":
                chance = 1 / (1 + np.exp(-(row - np.log(len(row)))))
                label = np.isin(np.arange(len(row)), following)
                expected -= weight * np.log(np.where(label, chance, 1 - chance)).sum()
                continue
            likely = row - np.log(np.exp(row).sum())
            expected -= weight * likely[following[:1] if loss == "softmax" else following].mean()
    total, count = model.summed_loss(features, training=False)
    assert float(count) == 5 and float(total) == pytest.approx(expected, rel=1e-4)
