"""ContraRec."""

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.loops import test_fit
from tests.trainer.losses.test_supervised_contrast import brute_force
from tests.trainer.models import harness as windows
from tests.trainer.models import scene_harness as harness
from trainer import config, optimizers
from trainer.layers import augmentation

SMALL = {"name": "contrarec", "dim": 8, "scene_dim": 4, "blocks": 1, "heads": 2, "dropout": 0.0}


def test_contrarec(tmp_path):
    harness.run_model_test({**SMALL, "dropout": 0.1}, tmp_path)


def test_scenes_are_not_read():
    assert harness.build(SMALL).inputs_read == (names.HISTORY_ITEM_INDEX,)


def test_the_loss_is_that_of_targets_and_the_contrast_of_two_views(monkeypatch):
    model, without = (harness.build({**SMALL, "contrast": weight}) for weight in (2.0, 0.0))
    features = harness.batch(6)
    # Two windows with the same target, and one whose target is in no catalogue.
    target = features[names.TARGET_ITEM_INDEX].numpy()
    target[:3] = [names.FIRST_INDEX + 4, names.FIRST_INDEX + 4, names.OOV_INDEX]
    features[names.TARGET_ITEM_INDEX] = tf.constant(target)
    drawn = []
    draw = augmentation.draw
    monkeypatch.setattr(augmentation, "draw", lambda *given: (drawn.append(draw(*given)), drawn[-1])[1])
    expected, count = without.summed_loss(features, training=True)
    assert float(count) == 4 and not drawn
    total, _ = model.summed_loss(features, training=True)

    (view,), index = drawn, features[names.HISTORY_ITEM_INDEX].numpy()
    views = []
    for number in range(10):
        places, masked = view.places.numpy()[number], view.masked.numpy()[number]
        seen = index[number % 5][places][np.newaxis]
        hidden = model._encoder(model._items(seen), tf.constant(seen != 0), tf.constant(masked[np.newaxis]))
        views.append(model._of_items(hidden[:, -1])[0].numpy().astype(np.float64))
    vectors = np.stack([views[:5], views[5:]], axis=1)
    contrast = brute_force(vectors, target, target >= names.FIRST_INDEX, temperature=0.2)
    assert float(total) == pytest.approx(float(expected) + 2.0 * contrast.sum(), rel=1e-4)


def every_other(present, _):
    """In place of what is drawn: every other event is masked in the first view of each history, and none in the second."""
    rows, width = tf.unstack(tf.shape(present))
    masked = (tf.range(width) % 2 == 0) & (tf.range(rows) < rows // 2)[:, tf.newaxis]
    return augmentation.View(tf.broadcast_to(tf.range(width), [rows, width]), present & masked)


def test_two_replicas_are_one(monkeypatch):
    """Also the contrast, whose views are drawn alike: each history from its end."""
    build = harness.build
    monkeypatch.setattr(harness, "build", lambda values: build(values, loss={"name": "period_softmax"}))
    monkeypatch.setattr(augmentation, "draw", every_other)
    harness.check_replicas(SMALL, training=True)


def test_two_replicas_train_as_one_does(tmp_path, monkeypatch):
    """Nine windows in batches of four: of the last, one replica has the only one, and the other none."""
    monkeypatch.setattr(augmentation, "draw", every_other)
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(0.1))
    found = []
    for replicas in (1, 2):
        one = test_fit.loop(
            tmp_path / str(replicas),
            {"epochs": 1, "batch_size": 4},
            {"name": "softmax"},
            SMALL,
            tf.data.Dataset.from_tensor_slices(windows.batch(1, rows=9)).batch(32),
            [f"CPU:{number}" for number in range(replicas)],
        )
        found.append(([one.run()["epochs"][0]["loss"]], test_fit.weights(one)))
    for values in zip(*found):
        harness.assert_close(*values, rtol=1e-3)


def test_what_training_alone_reads_is_not_exported():
    model = harness.build(SMALL)
    left_out = {v.name for v in model.variables} - {v.name for v in model.serving_variables}
    assert len(left_out) == 1 and "mask" in left_out.pop()


@pytest.mark.parametrize(
    "extra, message",
    [
        ({"temperature": 0}, "greater than 0"),
        ({"heads": 3}, r"dim must be a multiple of heads \(3\), found 8"),
    ],
)
def test_settings_that_do_not_fit(extra, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        config.TrainerSettings.from_values({"model": {**SMALL, **extra}})


def test_batches_are_of_any_users():
    settings = {"model": SMALL, "loop": {"name": "tp"}}
    with pytest.raises(pydantic.ValidationError, match="model contrarec needs batches of any users"):
        config.TrainerSettings.from_values(settings)
    # Without the contrast they are not compared.
    assert (
        config.TrainerSettings.from_values({**settings, "model": {**SMALL, "contrast": 0}}).loop.name == "tp"
    )


def test_it_meets_other_replicas_only_to_contrast():
    assert harness.build(SMALL).meets_replicas
    assert not harness.build({**SMALL, "contrast": 0}).meets_replicas
