"""The training loop of models of labels."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.loops import test_fit
from tests.trainer.models import labels_harness as harness
from trainer import config, registry
from trainer import input as input_lib
from trainer.evaluation import labels as evaluation
from trainer.loops import loop as loop_lib
from trainer.loops import rows
from trainer.losses import labels as losses
from trainer.models import labels as label_models

STEPS = ("click", "buy")


def features(rows, seed=0, chances=(0.3, 0.5), clear=3.0):
    """Exposures whose colour and price say how likely the steps are; `chances` are those of the middle."""
    rng = np.random.default_rng(seed)
    found = {name: value.numpy() for name, value in harness.batch(seed, rows, STEPS).items()}
    signal = clear * ((found["item_color_index"] >= 3) - 0.5) + found["item_price_value"]
    reached = np.ones(rows, bool)
    for step, chance in zip(STEPS, chances):
        likely = 1 / (1 + np.exp(-(signal + np.log(chance / (1 - chance)))))
        reached &= rng.random(rows) < likely
        found[names.LABEL_PREFIX + step] = reached.astype(np.int64)
    return found


def blocks(values):
    return tf.data.Dataset.from_tensor_slices(values).batch(1024)


def loop(folder, training=None, model=None, data=None, devices=("CPU:0",), keep_negatives=1.0, strategy=None):
    settings = config.TrainerSettings.from_values(
        {
            "model": {"name": "mlp", "dim": 4, "tower": [8], "dropout": 0.2, **(model or {})},
            "training": {"epochs": 3, "batch_size": 64, "learning_rate": 0.01, **(training or {})},
        }
    )
    train, evaluated = data or (features(300), features(200, 1))
    known = label_models.Exposures(
        harness.FIELDS, STEPS, input_lib.base_rates(blocks(train), STEPS, "window.steps"), keep_negatives
    )

    def build():
        made = registry.load(settings.model.name)(settings.model, known, seed=settings.training.seed)
        made.training_loss = losses.build(settings.loss, STEPS)
        return made

    return rows.RowFit(
        build,
        settings.training,
        strategy or tf.distribute.MirroredStrategy(list(devices)),
        blocks(train),
        lambda made: evaluation.StepMetrics(made, blocks(evaluated)),
        str(folder / "checkpoints"),
        str(folder / "tensorboard"),
    )


def weights(one):
    return [variable.numpy() for variable in one.model.trainable_variables]


def assert_equal(one, two):
    for a, b in zip(weights(one), weights(two)):
        np.testing.assert_array_equal(a, b)


def test_a_seed_decides_weights_and_order(tmp_path):
    """That runs which begin equal end equal, the one that is killed shows below."""
    found = []
    for n, seed in enumerate((5, 5, 6)):
        one = loop(tmp_path / str(n), {"seed": seed})
        first = next(iter(one._batches(range(1))))["item_id_index"].numpy()
        found.append((np.concatenate([value.ravel() for value in weights(one)]), first))
    for kind in range(2):
        np.testing.assert_array_equal(found[0][kind], found[1][kind])
        assert not np.array_equal(found[0][kind], found[2][kind])


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 2)
    # Five steps an epoch in calls of two.
    settings = {"checkpoint_seconds": 1e-9}
    whole = loop(tmp_path / "whole", settings)
    expected, _ = test_fit.train_and_remember(whole, (1, 4), tmp_path / "killed")
    resumed = loop(tmp_path / "killed", settings)
    found = resumed.run()
    assert found["resumed_from_epoch"] == 1
    assert_equal(resumed, whole)
    assert [e["loss"] for e in found["epochs"]] == [e["loss"] for e in expected["epochs"]]
    # The last, smaller batch is there as well.
    assert found["epochs"][0]["targets_per_s"] > 0


def test_a_schedule_knows_how_many_steps_there_are(tmp_path):
    one = loop(tmp_path)
    assert one._epoch_steps() == len(list(one._batches(range(1)))) > 1


def test_it_learns_and_ends_with_its_best_weights(tmp_path):
    one = loop(tmp_path, {"epochs": 30, "patience": 2}, None, (features(2000), features(1000, 1)))
    history = one.run()
    measured = [epoch["auc"] for epoch in history["epochs"]]
    assert history["stopped"] == "patience" and len(measured) == history["best_epoch"] + 2
    assert max(measured) == measured[history["best_epoch"] - 1] > 0.8
    assert one.evaluation.evaluate()["auc"] == pytest.approx(max(measured), abs=1e-6)


@pytest.mark.parametrize("name", ["bpcm", "esmm"])
def test_steps_of_one_in_five_thousand(tmp_path, name):
    """So rare positives break nothing, and are told apart better than by chance."""
    data = features(50_000, 2, (0.004, 0.001)), features(50_000, 3, (0.004, 0.001))
    assert 5 <= data[0]["label_buy"].sum() <= 10 and data[1]["label_buy"].sum() >= 5
    one = loop(tmp_path, {"epochs": 2, "batch_size": 1024, "learning_rate": 0.005}, {"name": name}, data)
    history = one.run()
    assert all(np.isfinite(list(epoch.values())).all() for epoch in history["epochs"])
    assert all(np.isfinite(value).all() for value in weights(one))
    best = history["epochs"][history["best_epoch"] - 1]
    assert best["auc/click"] > 0.75 and best["auc/buy"] > 0.65
    likely = one.model.probabilities({k: tf.constant(v) for k, v in data[1].items()}).numpy()
    # Of the order of the rates after so few steps, since the heads start there.
    ratio = likely.mean(axis=0) / [data[1][names.LABEL_PREFIX + step].mean() for step in STEPS]
    assert (ratio > 0.1).all() and (ratio < 10).all()


def test_negatives_that_were_left_out_are_made_up_for(tmp_path):
    """A model trained on a tenth of the negatives has the probabilities of all exposures."""
    train, evaluated = features(40_000, 4, (0.05, 0.4)), features(20_000, 5, (0.05, 0.4))
    kept = (train["label_click"] == 1) | (np.random.default_rng(6).random(40_000) < 0.1)
    train = {name: value[kept] for name, value in train.items()}
    one = loop(
        tmp_path,
        {"epochs": 2, "batch_size": 256},
        {"dropout": 0.0},
        (train, evaluated),
        keep_negatives=0.1,
    )
    one.run()
    likely = one.model.probabilities({k: tf.constant(v) for k, v in evaluated.items()}).numpy()
    raw = tf.sigmoid(one.model({k: tf.constant(v) for k, v in evaluated.items()})).numpy()
    for place, step in enumerate(STEPS):
        rate = evaluated[names.LABEL_PREFIX + step].mean()
        assert likely[:, place].mean() == pytest.approx(rate, rel=0.15)
        assert raw[:, place].mean() > 2 * rate


def test_settings_of_training(tmp_path):
    plain = loop(tmp_path / "plain", {"epochs": 2}).run()
    others = [loop(tmp_path / "xla", {"epochs": 2, "xla": True}).run()]
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        extra = {"epochs": 2, "weight_decay": 0.1, "warmup_steps": 5}
        others.append(loop(tmp_path / "mixed", extra).run())
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for other in others:
        assert other["epochs"][1]["loss"] == pytest.approx(plain["epochs"][1]["loss"], rel=0.1)


def test_no_epochs_measures_the_initial_weights(tmp_path):
    history = loop(tmp_path, {"epochs": 0}).run()
    assert history["stopped"] == "nothing to train" and 0 < history["epochs"][0]["auc"] < 1


def test_two_replicas_train_as_one(tmp_path):
    found = []
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        # 300 exposures in batches of 23: the last one has a single one, and a replica nothing to do.
        training = {"epochs": 2, "batch_size": 23}
        one = loop(tmp_path / str(len(devices)), training, {"dropout": 0.0}, devices=devices)
        history = one.run()
        assert history["replicas"] == len(devices)
        found.append([(epoch["loss"], epoch["auc"]) for epoch in history["epochs"]])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-2)
