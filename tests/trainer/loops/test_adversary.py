"""A model with an adversary in the loop: its group, its optimiser, and what the history says of it."""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.loops import test_fit
from tests.trainer.models import scene_harness, test_dspnet
from trainer import config, optimizers, registry
from trainer.layers import augmentation
from trainer.loops import fit
from trainer.loops import loop as loop_lib
from trainer.losses import adversary
from trainer.losses import ranking as losses

RATE = 0.1
# One that nothing is drawn for, with the fixtures below.
STILL = {**test_dspnet.STILL, "apr": 1e-3, "ccr": 0.1, "encoders": "single", "mlp_layers": 1}


def loop(folder, training, rows=10, devices=("CPU:0",), model=None, strategy=None):
    settings = config.TrainerSettings.from_values(
        {
            "model": model or STILL,
            "training": {"epochs": 1, "batch_size": 4, "learning_rate": 0.01, **training},
        }
    )

    def build():
        built = registry.load("dspnet")(settings.model, scene_harness.catalogue(), seed=3)
        built.training_loss = losses.build(settings.loss)
        return built

    return fit.Fit(
        build,
        settings.training,
        strategy or tf.distribute.MirroredStrategy(list(devices)),
        tf.data.Dataset.from_tensor_slices(scene_harness.batch(1, rows)).batch(32),
        test_fit.Size,
        str(folder / "checkpoints"),
        str(folder / "tensorboard"),
    )


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(augmentation, "draw", test_dspnet.fixed_view)
    monkeypatch.setattr(adversary, "PRIORS", {"normal": test_dspnet.fixed_prior})


def test_a_step_moves_the_model_down_and_its_adversary_up_at_full_rate(tmp_path, undrawn, monkeypatch):
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(RATE))
    one = loop(tmp_path, {"batch_size": 10})
    first, second = one._groups
    assert (first.name, second.name) == ("optimizer", "adversary_optimizer")
    assert (first.direction, second.direction) == (1.0, -1.0)
    together = [variable.ref() for group in one._groups for variable in group.variables]
    assert sorted(map(id, together)) == sorted(map(id, set(together))) and len(together) == len(
        test_fit.weights(one)
    )
    _, found = scene_harness.loss_and_gradients(one.model, scene_harness.batch(1, 10), training=True)
    gradients = dict(zip([v.ref() for v in one.model.trainable_variables], found))
    before = {ref: ref.deref().numpy() for ref in together}
    record = one.run()["epochs"][0]
    for group, sign in ((first, -1.0), (second, 1.0)):
        for variable in group.variables:
            # Of the mean over 10 windows; what the tape gives of the adversary is without alpha.
            moved = sign * RATE * gradients[variable.ref()].numpy() / 10
            np.testing.assert_allclose(
                variable.numpy() - before[variable.ref()], moved, rtol=1e-3, atol=1e-6, err_msg=variable.name
            )
    assert max(np.abs(gradients[v.ref()]).max() for v in second.variables) > 0.1
    # What the history says is of before the step.
    for name in one.model.monitors:
        assert np.isfinite(record[name])
    assert 0 < record["item_chance_of_prior"] < 1 and record["item_mean_square_z"] > 0
    assert one.sums == ("loss", "targets", *one.model.monitors)


def test_a_killed_run_goes_on_with_both_optimisers(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 2)
    settings, model = {"epochs": 2, "checkpoint_seconds": 1e-9}, {**STILL, "dropout": 0.1}
    whole = loop(tmp_path / "whole", settings, model=model)
    expected, _ = test_fit.train_and_remember(whole, (1, 2), tmp_path / "killed")
    resumed = loop(tmp_path / "killed", settings, model=model)
    found = resumed.run()
    assert found["resumed_from_epoch"] == 1
    test_fit.assert_equal(resumed, whole)
    for one, two in zip(resumed._groups, whole._groups, strict=True):
        assert int(two.optimizer.iterations.numpy()) == 6
        for a, b in zip(one.optimizer.variables, two.optimizer.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    for name in ("loss", *whole.model.monitors):
        assert [e[name] for e in found["epochs"]] == [e[name] for e in expected["epochs"]]
    assert whole.model.monitors[0] in expected["epochs"][0]


def test_two_replicas_train_as_one_does(tmp_path, undrawn, monkeypatch):
    """Nine windows in batches of four: of the last, one replica has the only one, and the other none."""
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(RATE))
    found = []
    for replicas in (1, 2):
        # XLA is left out of several replicas: what gathers cannot be compiled by itself.
        settings = {"xla": replicas > 1}
        one = loop(tmp_path / str(replicas), settings, 9, [f"CPU:{n}" for n in range(replicas)])
        assert one._epoch_steps() == 3
        record = one.run()["epochs"][0]
        found.append(([record[name] for name in ("loss", *one.model.monitors)], test_fit.weights(one)))
    scene_harness.assert_close(*(values[0:1] for values in found), rtol=1e-3)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
