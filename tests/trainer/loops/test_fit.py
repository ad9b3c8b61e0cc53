"""The training loop: equal runs, resumption, early stopping, and what stops it."""

import dataclasses
import logging
import pathlib
import re
import shutil

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
    needed = np.random.default_rng(seed + 1).choice([1, 2, 6, 12], rows, p=[0.4, 0.3, 0.2, 0.1])
    rng = np.random.default_rng(seed)
    walk = names.FIRST_INDEX + (rng.integers(0, harness.SIZE, [rows, 1]) + np.arange(13)) % harness.SIZE
    real = np.arange(12) >= 12 - needed[:, np.newaxis]
    features = {
        names.HISTORY_ITEM_INDEX: np.where(real, walk[:, :-1], names.PADDING_INDEX),
        names.TARGET_ITEM_INDEX: walk[:, -1],
    }
    return tf.data.Dataset.from_tensor_slices(features).batch(32)


class Size:
    """Stands for an evaluation: how large all weights are, which grows as they are learnt, without any graph."""

    objective = "ndcg@10"

    def __init__(self, model):
        self._model = model

    def evaluate(self):
        return {"ndcg@10": float(sum(np.abs(one.numpy()).sum() for one in self._model.trainable_variables))}


def full_ranking(model, length=harness.LENGTH):
    return ranking.FullRanking(model, blocks(20, 1, True, length), exclude_seen=False)


def loop(
    folder,
    training=None,
    loss=None,
    model=None,
    train=None,
    devices=("CPU:0",),
    kind=fit.Fit,
    strategy=None,
    evaluate=Size,
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
        evaluate,
        str(folder / "checkpoints"),
        str(folder / "tensorboard"),
    )


def weights(one):
    return [variable.numpy() for variable in one.model.trainable_variables]


def written_to(one):
    """The folder that a loop's process writes its checkpoints to."""
    return one._checkpoints._own or one._checkpoints._folder


def assert_equal(one, two):
    for a, b in zip(weights(one), weights(two)):
        np.testing.assert_array_equal(a, b)


def test_a_seed_decides_weights_and_order(tmp_path):
    """That runs which begin equal end equal, the one that is killed shows below."""
    found = []
    for n, seed in enumerate((5, 5, 6)):
        one = loop(tmp_path / str(n), {"seed": seed})
        first = next(iter(one._batches(range(1))))[names.HISTORY_ITEM_INDEX].numpy()
        found.append((np.concatenate([value.ravel() for value in weights(one)]), first))
    for kind in range(2):
        np.testing.assert_array_equal(found[0][kind], found[1][kind])
        assert not np.array_equal(found[0][kind], found[2][kind])


class Killed(Exception):
    """Stands for a process that dies."""


def train_and_remember(one, moment, folder):
    """Trains to the end, and copies the checkpoints that a process leaves which is killed at a moment.

    Args:
      moment: epoch and step, at which there is a save.

    Returns:
      The history, and the seconds of the epoch that had been spent by then.
    """
    save, spent = one._save, []

    def save_and_copy():
        save()
        if (int(one._epoch), int(one._step)) == moment:
            shutil.copytree(written_to(one), pathlib.Path(folder) / "checkpoints")
            spent.append(float(one._seconds))

    one._save = save_and_copy
    history = one.run()
    (seconds,) = spent
    return history, seconds


@pytest.mark.parametrize(
    "moment, windows, replicas",
    [((1, 0), blocks, 1), ((1, 4), uneven, 2)],
    ids=["between epochs", "within an epoch, two replicas"],
)
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    tmp_path, moment, windows, replicas, monkeypatch, caplog
):
    """Also where the replicas' shares of a batch, and so the numbers that they draw, differ."""
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 2)
    devices = [f"CPU:{n}" for n in range(replicas)]
    # Six steps an epoch in calls of two.
    settings = {"epochs": 3, "checkpoint_seconds": 1e-9, "length_buckets": 2}
    whole = loop(tmp_path / "whole", settings, train=windows(), devices=devices)
    assert len(whole._widths) == (2 if windows is uneven else 1)
    expected, spent = train_and_remember(whole, moment, tmp_path / "killed")
    assert (spent > 0) == (moment[1] > 0)

    resumed = loop(tmp_path / "killed", settings, train=windows(), devices=devices)
    with caplog.at_level(logging.INFO, "footfall.progress"):
        found = resumed.run()
    (said,) = (record.getMessage() for record in caplog.records if "going on" in record.getMessage())
    # The epoch that follows is the second.
    assert said == ("going on in epoch 2, after step 4 of 6" if moment[1] else "going on after epoch 1")
    assert found["resumed_from_epoch"] == 1 and found["epochs"][1]["seconds"] > spent
    assert_equal(resumed, whole)
    for key in ("loss", "ndcg@10"):
        assert [e[key] for e in found["epochs"]] == [e[key] for e in expected["epochs"]]
    assert found["best_epoch"] == expected["best_epoch"] > 1


def test_all_targets_weigh_the_same_whatever_batch_they_are_in(tmp_path, monkeypatch):
    """The steps of an epoch of full batches add up to as many times the gradient of the mean over all.

    The learning rate is so small that the weights all but stay; the way they go is measured in it.
    """
    rate = 1e-5
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(rate))
    model = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
    one = loop(tmp_path, {"epochs": 1, "batch_size": 15}, {"name": "softmax"}, model, uneven())
    assert one._widths == [4, 8, 12] and one._epoch_steps() == 6
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
    settings = {"epochs": 1, "length_buckets": 2}
    one = loop(tmp_path, settings, {"name": "softmax"}, {"name": name, "dim": 8}, uneven())
    before = weights(one)
    losses = [epoch["loss"] for epoch in one.run()["epochs"]]
    assert len(one._widths) == 2 and np.isfinite(losses).all()
    assert all((old != new).any() for old, new in zip(before, weights(one)))


def test_a_model_that_needs_all_padding_gets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(registry.load("sasrec"), "padding_needed", None)
    assert loop(tmp_path, train=uneven())._widths == [12]


@pytest.mark.parametrize("name, xla", [("sasrec", True), ("gru4rec", False)])
def test_replicas_and_xla_train_on_widths_as_one_device_does(tmp_path, monkeypatch, name, xla):
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(0.5))
    found = []
    for replicas in (1, 2):
        # 91 windows: one is left, which only one of the replicas gets.
        one = loop(
            tmp_path / str(replicas),
            {"epochs": 1, "batch_size": 15, "xla": xla and replicas > 1, "length_buckets": 2},
            {"name": "softmax"},
            {"name": name, "dim": 8, "dropout": 0.0},
            uneven(91),
            [f"CPU:{n}" for n in range(replicas)],
        )
        assert len(one._widths) == 2 and one._strategy.num_replicas_in_sync == replicas
        history = one.run()
        found.append((history["epochs"][0]["loss"], weights(one)))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
    for a, b in zip(found[1][1], found[0][1]):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_negatives_outside_of_windows_of_several_widths(tmp_path, name):
    """XLA compiles a step for each width, which the graph does not know."""
    one = loop(
        tmp_path,
        {"epochs": 1, "batch_size": 15, "xla": True, "length_buckets": 2},
        {"name": "bce", "negatives": 2, "negative_sampling": "unmet"},
        {"name": name, "dim": 8, "heads": 2},
        uneven(91),
    )
    assert len(one._widths) == 2 and np.isfinite(one.run()["epochs"][0]["loss"])


def test_it_learns_and_ends_with_its_best_weights(tmp_path):
    one = loop(tmp_path, {"epochs": 40, "patience": 3}, {"name": "softmax"}, evaluate=full_ranking)
    history = one.run()
    measured = [epoch["ndcg@10"] for epoch in history["epochs"]]
    assert history["stopped"] == "patience"
    assert len(measured) == history["best_epoch"] + 3
    assert max(measured) == measured[history["best_epoch"] - 1] > 0.95
    again = full_ranking(one.model).evaluate()
    assert again["ndcg@10"] == pytest.approx(max(measured), abs=1e-6)
    assert list((tmp_path / "tensorboard").iterdir())


def test_no_epochs_measures_the_initial_weights(tmp_path):
    history = loop(tmp_path, {"epochs": 0}, evaluate=full_ranking).run()
    assert history["stopped"] == "nothing to train" and history["best_epoch"] == 0
    assert 0 <= history["epochs"][0]["ndcg@10"] < 0.9


def take_no_steps(one, loss=1.0):
    """Epochs pass without a graph: each call of the compiled loop gives this loss of one target."""
    one._steps = lambda iterator, steps: tf.constant([loss, 1.0])
    return one


def test_time_limit(tmp_path):
    """The last epoch is measured, whatever ends the training."""
    limits = {"epochs": 500, "patience": 500, "max_seconds": 1e-9, "evaluate_every": 7}
    history = take_no_steps(loop(tmp_path, limits)).run()
    assert history["stopped"] == "max_seconds" and len(history["epochs"]) == history["best_epoch"] == 1


def test_patience_is_asked_where_it_was_measured(tmp_path, monkeypatch):
    """With fewer epochs of it than between two evaluations."""
    one = take_no_steps(loop(tmp_path, {"epochs": 40, "evaluate_every": 4, "patience": 2}))
    scores = iter([0.1, 0.2, 0.2])
    monkeypatch.setattr(one.evaluation, "evaluate", lambda: {"ndcg@10": next(scores)})
    history = one.run()
    assert history["stopped"] == "patience" and history["best_epoch"] == 8
    assert [e["epoch"] for e in history["epochs"] if "ndcg@10" in e] == [4, 8, 12] and one._epoch == 12


@pytest.mark.parametrize(
    "settings, scores, rising",
    [
        ({}, [0.1, 0.2, 0.3], True),
        ({}, [0.1, 0.3, 0.3], False),
        ({"schedule": "cosine"}, [0.1, 0.2, 0.3], False),
        ({"epochs": 1}, [0.1], False),
        ({"epochs": 9, "patience": 1}, [0.3, 0.3], False),
    ],
)
def test_it_says_where_more_epochs_may_be_better(settings, scores, rising, tmp_path, monkeypatch, caplog):
    one = take_no_steps(loop(tmp_path, {"epochs": 3, "patience": 3, **settings}))
    left = iter(scores)
    monkeypatch.setattr(one.evaluation, "evaluate", lambda: {"ndcg@10": next(left)})
    with caplog.at_level("INFO", "footfall.progress"):
        assert one.run()["rising"] is rising
    assert ("best in the last epoch, 3: more of them" in caplog.text) is rising


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    with pytest.raises(loop_lib.TrainingError, match="lower training.learning_rate"):
        take_no_steps(loop(tmp_path), loss=np.nan).run()


def test_settings_of_the_optimiser(tmp_path):
    """They are really used; XLA is above."""
    extra = {"weight_decay": 0.1, "clip_norm": 1.0, "warmup_steps": 5}
    plain = loop(tmp_path / "plain", {"epochs": 1}, {"name": "softmax"}).run()
    other = loop(tmp_path / "other", {"epochs": 1, **extra}, {"name": "softmax"}).run()
    first, second = plain["epochs"][0]["loss"], other["epochs"][0]["loss"]
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
    one = take_no_steps(loop(tmp_path, {"epochs": 2, "patience": 2}))
    with caplog.at_level("INFO", "footfall.progress"):
        one.run()
    steps = one._epoch_steps()
    assert steps == 6
    time = r"\d+ (s|min \d\d s)"
    expected = [
        rf"epoch 1/2 step 2 of 6 [\d,]+ targets/s, about {time} left of it, at most {time} in all",
        rf"epoch 1/2 step 4 of 6 [\d,]+ targets/s, about {time} left of it, at most {time} in all",
        rf"epoch 1/2 loss \d\.\d+ ndcg@10 \d+\.\d+ [\d,]+ targets/s, at most {time} left",
        rf"epoch 2/2 step 2 of 6 [\d,]+ targets/s, about {time} left of it",
        rf"epoch 2/2 step 4 of 6 [\d,]+ targets/s, about {time} left of it",
        r"epoch 2/2 loss \d\.\d+ ndcg@10 \d+\.\d+ [\d,]+ targets/s",
    ]
    # Of TensorFlow's loggers there may be messages, too.
    said = [record.getMessage() for record in caplog.records if record.name == "footfall.progress"]
    assert len(said) == len(expected)
    for message, pattern in zip(said, expected):
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
