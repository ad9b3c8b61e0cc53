"""Heads that are fitted to their optimum on embeddings that stay as they are."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import auc, names
from tests.trainer.models import labels_harness, test_byb, test_byb_labels
from trainer import config, registry
from trainer.evaluation import labels as evaluation
from trainer.loops import logistic
from trainer.losses import labels as losses
from trainer.models import labels

STEPS = test_byb_labels.LABELS
FROZEN = {**test_byb_labels.SMALL, "base_model": "somewhere", "frozen": True, "tower": []}


def settings(model=None, loop=None, training=None):
    return config.TrainerSettings.from_values(
        {
            "model": {**FROZEN, **(model or {})},
            "loop": {"name": "logistic_regression", **(loop or {})},
            "training": training or {},
        }
    )


def windows(rows, seed):
    parts = [test_byb_labels.batch(seed + n, 5) for n in range(rows // 5)]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Training windows and those of eval, whose labels a line in the embedding tells, more or less."""
    sides = windows(400, 0), windows(200, 1000)
    model = fit(tmp_path_factory.mktemp("drawn"), sides).model
    rng = np.random.default_rng(0)
    line = rng.normal(size=8)
    for side in sides:
        signal = embedded(model, side) @ line
        for step, noise in zip(STEPS, (0.3, 2.0)):
            blurred = signal + noise * signal.std() * rng.normal(size=len(signal))
            side[names.LABEL_PREFIX + step] = (blurred > np.median(signal)).astype(np.int64)
    return sides


def fit(folder, data, chosen=None, devices=("CPU:0",)):
    chosen = chosen or settings()
    known = labels.Exposures(labels_harness.FIELDS, STEPS, (0.4, 0.1), behaviors=test_byb.KNOWN)

    def build():
        model = registry.load(chosen.model.name)(chosen.model, known, seed=chosen.training.seed)
        model.training_loss = losses.build(chosen.loss, STEPS)
        return model

    train, evaluated = (tf.data.Dataset.from_tensor_slices(side).batch(64) for side in data)
    return logistic.LogisticFit.of(chosen.loop)(
        build,
        chosen.training,
        tf.distribute.MirroredStrategy(list(devices)),
        train,
        lambda model: evaluation.StepMetrics(model, evaluated),
        str(folder / "checkpoints"),
    )


def embedded(model, side):
    return model.embed({name: tf.constant(value) for name, value in side.items()}).numpy().astype(np.float64)


def slope(model, side, place, penalty):
    """The gradient of what is minimised, by the weights of standardised embeddings and the bias, `[D + 1]`."""
    vectors, labelled = embedded(model, side), side[names.LABEL_PREFIX + STEPS[place]]
    known = labelled >= 0
    vectors, labelled = vectors[known], labelled[known]
    deviation = vectors.std(axis=0)
    head = model._heads[place]._logit
    weights = head.kernel.numpy()[:, 0] * deviation
    standardised = (vectors - vectors.mean(axis=0)) / deviation
    logits = vectors @ head.kernel.numpy()[:, 0] + head.bias.numpy()[0]
    miss = 1 / (1 + np.exp(-logits)) - labelled
    return np.append(standardised.T @ miss + penalty * weights, miss.sum())


@pytest.mark.parametrize("penalty", [0.1, 30.0])
def test_the_heads_are_where_the_penalised_loss_has_no_slope(tmp_path, data, penalty):
    train = dict(data[0])
    # Unknown ones do not count, and what they would say is wrong.
    name = names.LABEL_PREFIX + STEPS[1]
    train[name] = np.where(np.arange(400) % 4 == 0, names.UNKNOWN_LABEL, train[name])
    one = fit(tmp_path, (train, data[1]), settings(loop={"penalties": [penalty]}))
    before = [variable.numpy() for variable in one.model.users.variables]
    history = one.run()
    assert history["penalties"] == dict.fromkeys(STEPS, penalty) and history["stopped"] == "fitted"
    for place in range(2):
        # Of sums over hundreds of windows.
        np.testing.assert_allclose(slope(one.model, train, place, penalty), 0, atol=2e-2)
    for variable, value in zip(one.model.users.variables, before):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_the_penalty_that_is_best_on_eval_is_kept_for_each_label(tmp_path, data):
    penalties = [0.01, 3.0, 1000.0, 100_000.0]
    areas = []
    for penalty in penalties:
        one = fit(tmp_path, data, settings(loop={"penalties": [penalty]}))
        one.run()
        logits = one.model.logits({name: tf.constant(value) for name, value in data[1].items()}).numpy()
        areas.append(
            [auc.of_scores(logits[:, n], data[1][names.LABEL_PREFIX + step]) for n, step in enumerate(STEPS)]
        )
    best = np.max(areas, axis=0)
    history = fit(tmp_path, data, settings(loop={"penalties": penalties})).run()
    (measured,) = history["epochs"]
    assert history["objective"] == "auc" and measured["epoch"] == history["best_epoch"] == 0
    for place, step in enumerate(STEPS):
        assert areas[penalties.index(history["penalties"][step])][place] == pytest.approx(best[place])
        assert measured[f"auc/{step}"] == pytest.approx(best[place], abs=1e-6)
    assert measured[f"auc/{STEPS[0]}"] > 0.8
    # They differ, or nothing was chosen.
    assert np.ptp(areas, axis=0).max() > 0.01


def test_a_label_of_one_value_is_told_by_its_rate(tmp_path, data):
    train = {**data[0], names.LABEL_PREFIX + STEPS[1]: np.zeros(400, np.int64)}
    one = fit(tmp_path, (train, data[1]))
    history = one.run()
    assert history["penalties"][STEPS[1]] is None
    features = {name: tf.constant(value) for name, value in data[1].items()}
    np.testing.assert_allclose(one.model.probabilities(features).numpy()[:, 1], 0.1, rtol=1e-5)


def test_of_a_label_that_eval_has_one_value_of_the_log_loss_decides(tmp_path, data):
    held = {**data[1], names.LABEL_PREFIX + STEPS[1]: np.ones(200, np.int64)}
    history = fit(tmp_path, (data[0], held)).run()
    (measured,) = history["epochs"]
    assert f"auc/{STEPS[1]}" not in measured
    found = [
        fit(tmp_path, (data[0], held), settings(loop={"penalties": [penalty]})).run()["epochs"][0]
        for penalty in settings().loop.penalties
    ]
    assert measured[f"log_loss/{STEPS[1]}"] == pytest.approx(min(e[f"log_loss/{STEPS[1]}"] for e in found))


def test_two_replicas_fit_as_one(tmp_path, data):
    one, two = (fit(tmp_path, data, devices=devices) for devices in (["CPU:0"], ["CPU:0", "CPU:1"]))
    assert one.run()["penalties"] == two.run()["penalties"]
    for single, several in zip(one.model._heads, two.model._heads):
        np.testing.assert_allclose(single._logit.kernel, several._logit.kernel, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "model, said",
    [
        ({"frozen": False}, "found {'name': 'byb_labels', 'frozen': False, 'tower': []}"),
        ({"tower": [8]}, "found {'name': 'byb_labels', 'frozen': True, 'tower': [8]}"),
        ({"name": "mlp"}, "found {'name': 'mlp', 'tower': ["),
    ],
)
def test_it_needs_a_frozen_network_and_no_tower(model, said):
    values = {**FROZEN, **model} if "name" not in model else model
    with pytest.raises(ValueError, match="logistic_regression") as refused:
        config.TrainerSettings.from_values({"model": values, "loop": {"name": "logistic_regression"}})
    assert "frozen: true, tower: []" in str(refused.value) and said in str(refused.value)


def test_heads_above_a_tower_are_not_assigned():
    model = test_byb_labels.build()
    with pytest.raises(ValueError, match=r"tower: \[\], found \[6\]"):
        model.assign_heads(np.zeros([2, 8]), [0.0, 0.0])
