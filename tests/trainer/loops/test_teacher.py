"""A student with a teacher in the loop: what moves the teacher, resumption, replicas, and a collapse that stops it."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from schemas import embeddings
from tests.trainer.loops import test_fit
from tests.trainer.models import test_byb
from trainer import config, optimizers
from trainer.loops import loop as loop_lib
from trainer.loops import teacher
from trainer.losses import future as losses
from trainer.models import byb

RATE = 0.5


class Sound(test_fit.Size):
    """Says of the embeddings that they are as good as can be, without any graph."""

    objective = embeddings.AGREEMENT
    found = {"spread": 1.0, "effective_rank": 8.0, "target_spread": 1.0, "target_effective_rank": 8.0}

    def evaluate(self):
        return {**self.found, embeddings.AGREEMENT: super().evaluate()["ndcg@10"]}


def loop(
    folder,
    training=None,
    model=None,
    rows=10,
    devices=("CPU:0",),
    evaluate=Sound,
    loss=None,
    strategy=None,
):
    settings = config.TrainerSettings.from_values(
        {
            "model": {**test_byb.STILL, "blocks": 1, "momentum": 0.75, "collapse_epochs": 1, **(model or {})},
            "loss": loss or {"name": "future_ce"},
            "training": {
                "epochs": 1,
                "batch_size": 4,
                "learning_rate": 0.01,
                "length_buckets": 1,
                **(training or {}),
            },
        }
    )

    def build():
        built = byb.BYB(settings.model, test_byb.KNOWN, seed=3)
        built.training_loss = losses.build(settings.loss)
        return built

    return teacher.TeacherFit(
        build,
        settings.training,
        strategy or tf.distribute.MirroredStrategy(list(devices)),
        tf.data.Dataset.from_tensor_slices(test_byb.batch(1, rows)).batch(32),
        evaluate,
        str(folder / "checkpoints"),
        str(folder / "tensorboard"),
    )


def teachers(one):
    return [variable.numpy() for variable, _ in one.model.teacher_pairs]


def students(one):
    return [variable.numpy() for _, variable in one.model.teacher_pairs]


@pytest.mark.parametrize("schedule, momenta", [("constant", [0.75] * 3), ("cosine", [0.8125, 0.9375, 1.0])])
def test_the_teacher_is_the_moving_average_of_the_student(tmp_path, monkeypatch, schedule, momenta):
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 1)
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(RATE))
    one = loop(tmp_path, model={"momentum_schedule": schedule})
    expected, align = [students(one)], one._replicas.align

    def remember(generator):
        align(generator)
        momentum = momenta[len(expected) - 1]
        expected.append(
            [momentum * a + (1 - momentum) * b for a, b in zip(expected[-1], students(one), strict=True)]
        )

    monkeypatch.setattr(one._replicas, "align", remember)
    record = one.run()["epochs"][0]
    # Ten windows in batches of four.
    assert len(expected) == 4 and record["spread"] == 1.0
    for found, value in zip(teachers(one), expected[-1], strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-7)
    assert max(np.abs(value - first).max() for value, first in zip(expected[-1], expected[0])) > 1e-5
    assert max(np.abs(value - student).max() for value, student in zip(expected[-1], students(one))) > 1e-5


def test_without_momentum_the_teacher_is_the_student(tmp_path):
    one = loop(tmp_path, model={"momentum": 0.0})
    one.run()
    for found, student in zip(teachers(one), students(one)):
        np.testing.assert_array_equal(found, student)


def test_a_killed_pretraining_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 2)
    settings, model = {"epochs": 2, "checkpoint_seconds": 1e-9}, {"dropout": 0.1}
    whole = loop(tmp_path / "whole", settings, model)
    expected, _ = test_fit.train_and_remember(whole, (1, 2), tmp_path / "killed")
    resumed = loop(tmp_path / "killed", settings, model)
    found = resumed.run()
    assert found["resumed_from_epoch"] == 1
    test_fit.assert_equal(resumed, whole)
    for one, two in zip(teachers(resumed), teachers(whole), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [e["loss"] for e in found["epochs"]] == [e["loss"] for e in expected["epochs"]]


def test_what_it_starts_from_is_measured_and_training_that_teaches_nothing_is_warned_of(tmp_path, caplog):
    """Also of a pretraining that goes on: it starts from the same weights."""

    class Told(Sound):
        """Says what it is told to, the value before training first."""

        def evaluate(self):
            return {**self.found, embeddings.AGREEMENT: float(values.pop(0))}

    for values, warned in (([0.2, 0.1, 0.2], True), ([0.2, 0.1, 0.3], False), ([0.2], None)):
        caplog.clear()
        epochs = len(values) - 1
        history = loop(tmp_path / str(epochs) / str(warned), {"epochs": epochs}, evaluate=Told).run()
        assert not values and history.get("at_start") == (None if warned is None else 0.2)
        said = "neighbor_agreement is 0.2000 before training and 0.2000 at best" in caplog.text
        assert said == bool(warned)


def test_two_replicas_train_as_one_does(tmp_path, monkeypatch):
    """Nine windows in batches of four: of the last, one replica has the only one, and the other none."""
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(RATE))
    found = []
    for number in (1, 2):
        one = loop(tmp_path / str(number), {}, rows=9, devices=[f"CPU:{n}" for n in range(number)])
        record = one.run()["epochs"][0]
        found.append((record["loss"], test_fit.weights(one), one))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    both = found[1][2]
    for expected, (variable, _) in zip(teachers(found[0][2]), both.model.teacher_pairs, strict=True):
        for replica in both._strategy.experimental_local_results(variable):
            np.testing.assert_allclose(replica.numpy(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"effective_rank": 1.25}, r"epoch 1: the embeddings of users have collapsed: effective_rank 1.25"),
        ({"target_spread": 0.01}, r"what is to be predicted have collapsed: spread 0.01.*model.min_spread"),
    ],
)
def test_a_collapse_stops_the_training_after_it_was_told(tmp_path, changes, message):
    class Collapsed(Sound):
        found = {**Sound.found, **changes}

    for _ in range(2):
        # Started again, it stops again.
        with pytest.raises(loop_lib.TrainingError, match=message):
            test_fit.take_no_steps(loop(tmp_path, {"epochs": 3}, evaluate=Collapsed)).run()
    assert list((tmp_path / "tensorboard").iterdir())
    one = loop(tmp_path / "allowed", {}, {"min_rank": 1.0, "min_spread": 0.0}, evaluate=Collapsed)
    assert test_fit.take_no_steps(one).run()["stopped"] == "epochs"


def test_an_epoch_that_is_sound_between_two_is_no_collapse(tmp_path):
    class Wavering(Sound):
        def evaluate(self):
            self.found = {**self.found, "spread": next(found)}
            return super().evaluate()

    at_start = 0.01
    found = iter([at_start, 0.01, 0.5, 0.01, 0.01])
    model = {"collapse_epochs": 2}
    one = test_fit.take_no_steps(loop(tmp_path / "a", {"epochs": 3}, model, evaluate=Wavering))
    history = one.run()
    # No other one is fit to be the best, whatever the objective says.
    assert history["stopped"] == "epochs" and history["best_epoch"] == 2
    found = iter([at_start, 0.01, 0.5, 0.01, 0.01])
    one = test_fit.take_no_steps(loop(tmp_path / "b", {"epochs": 5}, model, evaluate=Wavering))
    with pytest.raises(loop_lib.TrainingError, match=r"epoch 4: .* in one of 2 epoch\(s\)"):
        one.run()


def test_a_training_that_ends_before_a_collapse_is_certain_leaves_no_model_of_it(tmp_path):
    class Collapsed(Sound):
        found = {**Sound.found, "spread": 0.01}

    one = loop(tmp_path, {"epochs": 2}, {"collapse_epochs": 3}, evaluate=Collapsed)
    with pytest.raises(
        loop_lib.TrainingError,
        match=r"ended after epoch 2 \(epochs\), and no epoch .* spread 0.01.* at least 0.05 \(model.min_spread\)",
    ):
        test_fit.take_no_steps(one).run()


class Rising(Sound):
    """Says that embeddings of users are near each other in the first two epochs; the spread before them is the first."""

    spreads = (0.5, 0.01, 0.02, 0.5, 0.6)

    def __init__(self, model, done=0):
        super().__init__(model)
        self._spreads = iter(self.spreads[done:])

    def evaluate(self):
        return {**self.found, "spread": next(self._spreads), embeddings.AGREEMENT: 0.1}


def test_patience_is_of_epochs_after_one_that_is_fit(tmp_path):
    one = loop(tmp_path, {"epochs": 6, "patience": 1}, {"collapse_epochs": 3}, evaluate=Rising)
    history = test_fit.take_no_steps(one).run()
    assert history["best_epoch"] == 3 and history["stopped"] == "patience"


def test_a_training_that_is_killed_before_any_epoch_is_fit_goes_on(tmp_path, caplog):
    """There are no weights of a best epoch then, and nothing is damaged."""
    model = {"collapse_epochs": 3}
    later = functools.partial(Rising, done=1)
    killed = test_fit.take_no_steps(loop(tmp_path, {"epochs": 3}, model, evaluate=later))
    killed._train_epoch()
    resumed = test_fit.take_no_steps(loop(tmp_path, {"epochs": 3}, model, evaluate=later))
    history = resumed.run()
    assert history["resumed_from_epoch"] == 1 and history["best_epoch"] == 3
    assert "cannot be read" not in caplog.text


def test_a_warm_start_is_the_teachers_too(tmp_path):
    one = loop(tmp_path, {"epochs": 1})
    for _, student in one.model.teacher_pairs:
        student.assign(tf.ones_like(student))
    one._restore()
    assert all((value == 1).all() for value in teachers(one))
