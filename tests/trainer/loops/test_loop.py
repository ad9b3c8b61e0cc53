"""What a procedure around a model is to the loop: groups of variables, and what follows a step."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.loops import test_fit
from trainer import optimizers
from trainer.loops import fit, gradients
from trainer.loops import loop as loop_lib

DECAY, RATE = 0.75, 0.01


class Averaged(fit.Fit):
    """Keeps a teacher, the moving average of the model, that no optimiser moves."""

    def _prepare(self):
        super()._prepare()
        self.teacher = [
            tf.Variable(one.read_value(), trainable=False) for one in self.model.trainable_variables
        ]

    def _kept(self):
        return {"teacher": self.teacher}

    def after_step(self):
        students = [one.read_value() for one in self.model.trainable_variables]
        gradients.update(
            lambda teacher, student: teacher.assign(DECAY * teacher + (1 - DECAY) * student),
            list(zip(self.teacher, students)),
        )


TINY = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}


class Opposed(fit.Fit):
    """Differentiates V = L + y, of which the model descends L and y is to climb."""

    def _prepare(self):
        super()._prepare()
        self.opponent = tf.Variable(0.0)

    def groups(self):
        variables = [self.opponent]
        return [*super().groups(), loop_lib.Group("opponent", variables, self.new_optimizer(variables), -1.0)]

    def _value(self, batch, places):
        sums, value = super()._value(batch, places)
        return sums, value + self.opponent * sums[1] / places


def test_a_teacher_follows_each_step_on_all_replicas_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 1)
    devices = ["CPU:0", "CPU:1"]
    one = test_fit.loop(tmp_path, {"epochs": 1}, kind=Averaged, devices=devices)
    expected, align = [test_fit.weights(one)], one._replicas.align

    def remember(generator):
        align(generator)
        mixed = [DECAY * a + (1 - DECAY) * b for a, b in zip(expected[-1], test_fit.weights(one))]
        expected.append(mixed)

    monkeypatch.setattr(one._replicas, "align", remember)
    one.run()
    # 90 windows in batches of 16.
    assert len(expected) == 7
    for teacher, values, student in zip(one.teacher, expected[-1], test_fit.weights(one)):
        for replica in one._strategy.experimental_local_results(teacher):
            np.testing.assert_allclose(replica.numpy(), values, rtol=1e-4, atol=1e-6)
        assert np.abs(values - student).max() > 1e-4
    again = test_fit.loop(tmp_path, {"epochs": 1}, kind=Averaged, devices=devices)
    again._restore()
    for kept, teacher in zip(again.teacher, one.teacher):
        np.testing.assert_array_equal(kept.numpy(), teacher.numpy())


def test_a_step_that_overflows_is_taken_by_no_group_and_lowers_the_scale_of_all(tmp_path, monkeypatch):
    """Of the opponent alone the gradient is infinite."""
    descend = Opposed._descent

    def overflowing(self, batch):
        sums, found = descend(self, batch)
        return sums, [*found[:-1], found[-1] + np.inf]

    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        one = test_fit.loop(tmp_path, {"epochs": 1}, kind=Opposed, model=TINY, loss={"name": "softmax"})
        monkeypatch.setattr(one, "_descent", lambda batch: overflowing(one, batch))
        before, scale = test_fit.weights(one), float(one._groups[0].optimizer.loss_scale)
        one._one_step(next(iter(one._batches(range(1)))))
        assert float(one._groups[0].optimizer.loss_scale) == scale / 2
        for a, b in zip(before, test_fit.weights(one), strict=True):
            np.testing.assert_array_equal(a, b)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


class Listed:
    """Measures what it is told to, one after the other."""

    objective = "ndcg@10"
    told: "list[float]" = []

    def __init__(self, model):
        del model

    def evaluate(self):
        return {"ndcg@10": self.told.pop(0)}


def started(folder, told, monkeypatch, **training):
    """A loop whose start counts, and what it starts from."""
    monkeypatch.setattr(Listed, "told", list(told))
    one = test_fit.loop(folder, training, evaluate=Listed)
    one.start_counts = True
    return one, test_fit.weights(one)


def test_what_a_training_starts_from_stays_where_no_epoch_is_better(tmp_path, monkeypatch, caplog):
    one, before = started(tmp_path, [0.5, 0.1, 0.3, 0.5], monkeypatch, epochs=3, patience=5)
    with caplog.at_level("INFO", logger="footfall.progress"):
        result = one.run()
    assert result["best_epoch"] == 0 and [epoch["epoch"] for epoch in result["epochs"]] == [0, 1, 2, 3]
    assert result["epochs"][0]["ndcg@10"] == 0.5 and not result["rising"]
    for a, b in zip(before, test_fit.weights(one), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "before training ndcg@10 0.5" in caplog.text
    assert "no epoch is better than what the training started from" in caplog.text


def test_patience_counts_from_the_best_epoch_and_not_from_the_start(tmp_path, monkeypatch):
    """Two epochs behind what it started from, it comes out before it."""
    one, _ = started(tmp_path, [0.5, 0.1, 0.2, 0.6, 0.4, 0.4], monkeypatch, epochs=9, patience=2)
    result = one.run()
    assert (
        result["best_epoch"] == 3 and result["stopped"] == "patience" and result["epochs"][-1]["epoch"] == 5
    )


@pytest.mark.parametrize("saves", [1, 2])
def test_a_training_that_was_killed_knows_what_it_started_from(tmp_path, monkeypatch, saves):
    """Within the first epoch, whose checkpoint has the start in its history; and after it."""
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 1)
    one, before = started(tmp_path, [0.5, 0.1, 0.3], monkeypatch, epochs=2, checkpoint_seconds=1e-9)
    save, left = one._save, []

    def save_and_die():
        save()
        left.append(1)
        # Six steps an epoch, each kept but the last.
        if len(left) == {1: 2, 2: 6}[saves]:
            raise KeyboardInterrupt

    monkeypatch.setattr(one, "_save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    # Another process has other weights until it goes on.
    again, _ = started(tmp_path, Listed.told, monkeypatch, epochs=2, seed=5)
    result = again.run()
    assert result["resumed_from_epoch"] == saves - 1 and result["best_epoch"] == 0 and not Listed.told
    for a, b in zip(before, test_fit.weights(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_variables_that_a_step_makes_are_the_models_fault(tmp_path):
    one = test_fit.loop(tmp_path, {"epochs": 1})
    summed = one.model.summed_loss

    def with_another(features, training=True):
        total, count = summed(features, training)
        if not hasattr(one.model, "late"):
            with tf.init_scope():
                one.model.late = tf.Variable(1.0, name="late")
        return total * one.model.late, count

    one.model.summed_loss = with_another
    with pytest.raises(RuntimeError, match="SASRec makes variables that are not trained.*late"):
        one.run()


def test_a_group_climbs_what_the_model_descends_by_an_optimiser_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(RATE))
    runs = [test_fit.loop(tmp_path / kind.__name__, {"epochs": 1}, kind=kind) for kind in (fit.Fit, Opposed)]
    plain, opposed = (one.run()["epochs"] for one in runs)
    assert opposed[0]["loss"] == plain[0]["loss"]
    test_fit.assert_equal(*runs)
    # The derivative by y is 1 in each of the 6 steps.
    assert np.isclose(runs[1].opponent.numpy(), 6 * RATE, rtol=1e-5)


def test_weights_that_are_no_numbers_after_the_last_step_stop_a_training(tmp_path):
    """The loss of a step is of the weights before it."""
    one = test_fit.loop(tmp_path, {"epochs": 1})
    one._check_finite(0)
    one.model.trainable_variables[-1].assign(one.model.trainable_variables[-1] * np.nan)
    with pytest.raises(
        loop_lib.TrainingError, match=r"no numbers at the end of epoch 3 \(.*\): lower training.learning"
    ):
        one._check_finite(2)
