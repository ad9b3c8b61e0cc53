"""The training loop: equal runs, resumption, early stopping, and what stops it."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import harness
from trainer import config, optimizers, registry
from trainer.evaluation import ranking
from trainer.loops import fit, progress
from trainer.loops import loop as loop_lib
from trainer.losses import ranking as losses
from trainer.settings import training as training_settings


def blocks(rows=90, seed=0, evaluation=False, length=harness.LENGTH):
    """Windows in which the next item follows from the last one."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, harness.SIZE, [rows, 1])
    walk = names.FIRST_INDEX + (start + np.arange(length + 1)) % harness.SIZE
    features = {names.HISTORY_ITEM_INDEX: walk[:, :-1], names.TARGET_ITEM_INDEX: walk[:, -1]}
    data = tf.data.Dataset.from_tensor_slices(features)
    if evaluation:
        nothing = tf.SparseTensor(tf.zeros([0, 1], tf.int64), tf.zeros([0], tf.int64), [0])
        data = data.map(lambda window: {**window, names.SEEN_ITEM_INDEX: nothing})
    return data.batch(32).cache()


def uneven(rows=90, seed=0):
    """The same windows, most of them short."""
    needed = np.random.default_rng(seed + 1).choice([1, 2, 12, 20], rows, p=[0.4, 0.3, 0.2, 0.1])
    rng = np.random.default_rng(seed)
    walk = names.FIRST_INDEX + (rng.integers(0, harness.SIZE, [rows, 1]) + np.arange(21)) % harness.SIZE
    real = np.arange(20) >= 20 - needed[:, np.newaxis]
    features = {
        names.HISTORY_ITEM_INDEX: np.where(real, walk[:, :-1], names.PADDING_INDEX),
        names.TARGET_ITEM_INDEX: walk[:, -1],
    }
    return tf.data.Dataset.from_tensor_slices(features).batch(32)


def loop(
    folder,
    training=None,
    loss=None,
    model=None,
    train=None,
    devices=("CPU:0",),
    kind=fit.Fit,
    strategy=None,
):
    settings = config.TrainerSettings.from_values(
        {
            "model": model or {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.3},
            "loss": loss or {"name": "bce", "negatives": 2},
            "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.01, **(training or {})},
        }
    )

    train = blocks() if train is None else train
    length = train.element_spec[names.HISTORY_ITEM_INDEX].shape[1]
    catalogue = dataclasses.replace(harness.catalogue(), window_length=length)

    def build():
        model = registry.load(settings.model.name)(settings.model, catalogue, seed=settings.training.seed)
        model.training_loss = losses.build(settings.loss)
        return model

    return kind(
        build,
        settings.training,
        strategy or tf.distribute.MirroredStrategy(list(devices)),
        train,
        lambda model: ranking.FullRanking(model, blocks(20, 1, True, length), exclude_seen=False),
        str(folder / "checkpoints"),
        str(folder / "tensorboard"),
    )


def weights(one):
    return [variable.numpy() for variable in one.model.trainable_variables]


def assert_equal(one, two):
    for a, b in zip(weights(one), weights(two)):
        np.testing.assert_array_equal(a, b)


def test_two_runs_with_a_seed_are_equal_and_another_seed_is_not(tmp_path):
    runs = [loop(tmp_path / str(n), {"epochs": 2, "seed": seed}) for n, seed in enumerate((5, 5, 6))]
    histories = [one.run() for one in runs]
    assert_equal(runs[0], runs[1])
    losses = [[epoch["loss"] for epoch in history["epochs"]] for history in histories]
    assert losses[0] == losses[1] != losses[2]


class Killed(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize(
    "where, windows, replicas",
    [("between epochs", blocks, 1), ("within an epoch", uneven, 1), ("within an epoch", uneven, 2)],
)
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    tmp_path, where, windows, replicas, monkeypatch
):
    """Also where the replicas' shares of a batch, and so the numbers that they draw, differ."""
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 2)
    devices = [f"CPU:{n}" for n in range(replicas)]
    whole = loop(tmp_path / "whole", train=windows(), devices=devices)
    assert len(whole._widths) == (3 if windows is uneven else 1)
    expected = whole.run()

    settings = {"checkpoint_seconds": 1e-9}
    killed = loop(tmp_path / "killed", settings, train=windows(), devices=devices)
    save, saves = killed._save, []

    def save_and_die():
        save()
        saves.append(int(killed._step))
        # Six steps an epoch in calls of two: saved after steps 2 and 4, and at the end.
        if len(saves) == (3 if where == "between epochs" else 5):
            raise Killed

    monkeypatch.setattr(killed, "_save", save_and_die)
    with pytest.raises(Killed):
        killed.run()
    assert (saves[-1] == 0) == (where == "between epochs")

    spent = float(killed._seconds)
    assert (spent > 0) == (where == "within an epoch")
    resumed = loop(tmp_path / "killed", settings, train=windows(), devices=devices)
    found = resumed.run()
    assert found["resumed_from_epoch"] == 1 and found["epochs"][1]["seconds"] > spent
    assert_equal(resumed, whole)
    assert [e["loss"] for e in found["epochs"]] == [e["loss"] for e in expected["epochs"]]
    assert found["best_epoch"] == expected["best_epoch"]


def test_all_targets_weigh_the_same_whatever_batch_they_are_in(tmp_path, monkeypatch):
    """The steps of an epoch of full batches add up to as many times the gradient of the mean over all.

    The learning rate is so small that the weights all but stay; the way they go is measured in it.
    """
    rate = 1e-5
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(rate))
    model = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
    one = loop(tmp_path, {"epochs": 1, "batch_size": 15}, {"name": "softmax"}, model, uneven())
    assert one._widths == [8, 16, 20] and one._epoch_steps() == 6
    everything = next(iter(uneven().unbatch().batch(1000)))
    with tf.GradientTape() as tape:
        mean = one.model.compute_loss(everything, training=True)
    # The embeddings: small values, of which small changes are known well.
    table = one.model._items.table
    gradient = tf.convert_to_tensor(tape.gradient(mean, table)).numpy()
    before = table.numpy()
    history = one.run()
    assert history["epochs"][0]["loss"] == pytest.approx(float(mean), rel=1e-3)
    np.testing.assert_allclose((before - table.numpy()) / rate, 6 * gradient, rtol=0.02, atol=0.005)


@pytest.mark.parametrize("name", ["gru4rec", "bert4rec", "caser"])
def test_other_models_train_on_widths(tmp_path, name):
    """Of which one is unrolled by the width, one has a place more, and one reaches before the window."""
    one = loop(tmp_path, {"epochs": 2}, {"name": "softmax"}, {"name": name, "dim": 8}, uneven())
    before = weights(one)
    losses = [epoch["loss"] for epoch in one.run()["epochs"]]
    assert len(one._widths) > 1 and np.isfinite(losses).all()
    assert all((old != new).any() for old, new in zip(before, weights(one)))


def test_a_model_that_needs_all_padding_gets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(registry.load("sasrec"), "padding_needed", None)
    assert loop(tmp_path, train=uneven())._widths == [20]


@pytest.mark.parametrize("name, xla", [("sasrec", True), ("gru4rec", False)])
def test_replicas_and_xla_train_on_widths_as_one_device_does(tmp_path, name, xla):
    found = []
    for replicas in (1, 2):
        # 91 windows: one is left, which only one of the replicas gets.
        one = loop(
            tmp_path / str(replicas),
            {"epochs": 1, "batch_size": 15, "xla": xla and replicas > 1},
            {"name": "softmax"},
            {"name": name, "dim": 8, "dropout": 0.0},
            uneven(91),
            [f"CPU:{n}" for n in range(replicas)],
        )
        assert len(one._widths) == 3 and one._strategy.num_replicas_in_sync == replicas
        history = one.run()
        found.append((history["epochs"][0]["loss"], weights(one)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    for a, b in zip(found[1][1], found[0][1]):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_it_learns_and_ends_with_its_best_weights(tmp_path):
    one = loop(tmp_path, {"epochs": 40, "patience": 3}, {"name": "softmax"})
    history = one.run()
    measured = [epoch["ndcg@10"] for epoch in history["epochs"]]
    assert history["stopped"] == "patience"
    assert len(measured) == history["best_epoch"] + 3
    assert max(measured) == measured[history["best_epoch"] - 1] > 0.95
    again = ranking.FullRanking(one.model, blocks(20, 1, evaluation=True), exclude_seen=False).evaluate()
    assert again["ndcg@10"] == pytest.approx(max(measured), abs=1e-6)
    assert list((tmp_path / "tensorboard").iterdir())


def test_no_epochs_measures_the_initial_weights(tmp_path):
    history = loop(tmp_path, {"epochs": 0}).run()
    assert history["stopped"] == "nothing to train" and history["best_epoch"] == 0
    assert 0 <= history["epochs"][0]["ndcg@10"] < 0.9


def test_time_limit(tmp_path):
    """The last epoch is measured, whatever ends the training."""
    one = loop(tmp_path, {"epochs": 500, "patience": 500, "max_seconds": 0.01, "evaluate_every": 7})
    history = one.run()
    assert history["stopped"] == "max_seconds" and len(history["epochs"]) == history["best_epoch"] == 1


def test_patience_is_asked_where_it_was_measured(tmp_path, monkeypatch):
    """With fewer epochs of it than between two evaluations."""
    one = loop(tmp_path, {"epochs": 40, "evaluate_every": 4, "patience": 2})
    scores = iter([0.1, 0.2, 0.2])
    monkeypatch.setattr(one.evaluation, "evaluate", lambda: {"ndcg@10": next(scores)})
    history = one.run()
    assert history["stopped"] == "patience" and history["best_epoch"] == 8
    assert [e["epoch"] for e in history["epochs"] if "ndcg@10" in e] == [4, 8, 12] and one._epoch == 12


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    with pytest.raises(loop_lib.TrainingError, match="lower training.learning_rate"):
        loop(tmp_path, {"learning_rate": 1e30, "epochs": 5}).run()


@pytest.mark.parametrize(
    "extra", [{"xla": True}, {"weight_decay": 0.1, "clip_norm": 1.0, "warmup_steps": 5}], ids=["xla", "all"]
)
def test_settings_of_training(tmp_path, extra):
    """XLA changes the speed, not the mathematics; the others are really used."""
    plain = loop(tmp_path / "plain", {"epochs": 2}, {"name": "softmax"}).run()
    other = loop(tmp_path / "other", {"epochs": 2, **extra}, {"name": "softmax"}).run()
    first, second = plain["epochs"][0]["loss"], other["epochs"][0]["loss"]
    if "xla" in extra:
        # The draws of dropout differ between compilers; the loss is close all the same.
        assert second == pytest.approx(first, rel=0.05)
    else:
        assert second > first and other["epochs"][0]["learning_rate"] == pytest.approx(0.01)


def test_a_cosine_schedule_ends_at_zero_with_the_last_step(tmp_path):
    """Step s of n, from 0, has the rate (1 + cos(pi s / n)) / 2; the history has that of an epoch's last."""
    one = loop(tmp_path, {"epochs": 4, "patience": 4, "schedule": "cosine"}, train=uneven())
    steps = one._epoch_steps()
    rates = [epoch["learning_rate"] for epoch in one.run()["epochs"]]
    last = (np.arange(1, 5) * steps - 1) / (4 * steps)
    np.testing.assert_allclose(rates, 0.01 * (1 + np.cos(np.pi * last)) / 2, rtol=1e-4)


def test_a_cosine_schedule_follows_the_warmup():
    settings = training_settings.TrainingSettings(learning_rate=0.01, warmup_steps=2, schedule="cosine")
    rate = optimizers.build(settings, steps=6)._learning_rate
    expected = 0.01 * np.array([0.5, 1, 1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4, 0, 0])
    np.testing.assert_allclose([float(rate(step)) for step in range(8)], expected, atol=1e-8)


def test_mean_loss_counts_only_real_targets():
    """Padding and targets out of vocabulary are worth nothing, in either form of the loss."""
    model = harness.build({"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0})
    features = harness.batch(3)
    target = features[names.TARGET_ITEM_INDEX].numpy().copy()
    target[0] = names.OOV_INDEX
    features[names.TARGET_ITEM_INDEX] = tf.constant(target)
    total, count = model.summed_loss(features, training=False)
    history = features[names.HISTORY_ITEM_INDEX].numpy()
    assert float(count) == (history != names.PADDING_INDEX).sum() - 1
    model.static_shapes = True
    static_total, static_count = model.summed_loss(features, training=False)
    assert float(static_count) == float(count)
    assert float(static_total) == pytest.approx(float(total), rel=1e-5)


def test_training_says_how_long_it_will_be(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop_lib, "_SAY_SECONDS", 0.0)
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 2)
    one = loop(tmp_path, {"epochs": 2, "patience": 2}, {"name": "softmax"})
    with caplog.at_level("INFO", "footfall.progress"):
        one.run()
    steps = one._epoch_steps()
    assert steps == 6
    time = r"\d+ (s|min \d\d s)"
    expected = [
        rf"epoch 1/2 step 2 of 6 [\d,]+ targets/s, about {time} left of it, at most {time} in all",
        rf"epoch 1/2 step 4 of 6 [\d,]+ targets/s, about {time} left of it, at most {time} in all",
        rf"epoch 1/2 loss \d\.\d+ ndcg@10 \d\.\d+ [\d,]+ targets/s, at most {time} left",
        rf"epoch 2/2 step 2 of 6 [\d,]+ targets/s, about {time} left of it",
        rf"epoch 2/2 step 4 of 6 [\d,]+ targets/s, about {time} left of it",
        r"epoch 2/2 loss \d\.\d+ ndcg@10 \d\.\d+ [\d,]+ targets/s",
    ]
    assert len(caplog.messages) == len(expected)
    for message, pattern in zip(caplog.messages, expected):
        assert re.fullmatch(pattern, message), message


def test_what_is_left_is_of_the_other_epochs_and_of_the_time_that_was_set():
    one = progress.Progress(training_settings.TrainingSettings(epochs=60))
    # 48 epochs of 2.5 s; with 7 s of the running one.
    assert one.left(12, 2.5, 30.0) == ", at most 2 min 00 s left"
    assert one.left(12, 2.5, 30.0, rest=7.0) == ", at most 2 min 07 s in all"
    assert one.left(60, 2.5, 150.0) == ""
    limited = progress.Progress(training_settings.TrainingSettings(epochs=60, max_seconds=100.0))
    assert limited.left(12, 2.5, 30.0) == ", at most 1 min 10 s left"
    assert [progress.duration(s) for s in (0.2, 59.4, 59.6, 125, 3600, 7499)] == [
        "1 s", "59 s", "1 min 00 s", "2 min 05 s", "1 h 00 min", "2 h 04 min",
    ]  # fmt: skip
