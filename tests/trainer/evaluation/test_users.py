"""Evaluation of embeddings of users: metrics against their functions, and an encoder that really collapses."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from sklearn import linear_model, preprocessing

from schemas import embeddings, errors, names
from tests.trainer.loops import test_teacher
from tests.trainer.models import test_byb
from trainer.evaluation import probe
from trainer.evaluation import users as evaluation
from trainer.loops import loop as loop_lib


def windows(rows=30, users=15):
    features = {**test_byb.batch(1, rows), names.USER_HASH: tf.range(rows, dtype=tf.int64) % users}
    return tf.data.Dataset.from_tensor_slices(features).batch(7)


def test_metrics_are_of_all_windows():
    model, features = test_byb.build(), test_byb.batch(1, 30)
    found = evaluation.UserMetrics(model, windows(), batch_size=8).evaluate()
    embedding, target = model.encode(features).numpy(), model.supervision(features).numpy()
    predicted = model.predict_future(model.encode(features)).numpy()
    # Each unknown item is one of its own.
    own = itertools.count(1000)
    futures = features[names.FUTURE_ITEM_INDEX].numpy().tolist()
    sets = [np.array([next(own) if item == 1 else item for item in row if item]) for row in futures]
    agreements = embeddings.Agreements(embedding, np.arange(30) % 15, sets)
    assert found["neighbor_agreement"] == pytest.approx(agreements.nearest.mean(), rel=1e-4)
    assert found["random_agreement"] == pytest.approx(agreements.of_all.mean(), rel=1e-6)
    for prefix, vectors in (("", embedding), ("target_", target)):
        assert found[f"{prefix}spread"] == pytest.approx(embeddings.spread(vectors), rel=1e-4)
        assert found[f"{prefix}effective_rank"] == pytest.approx(embeddings.effective_rank(vectors), rel=1e-4)
    correlations = [np.corrcoef(one, two)[0, 1] for one, two in zip(predicted, target)]
    assert found["cosine"] == pytest.approx(np.mean(correlations), rel=1e-3)
    assert found["eval_loss"] == pytest.approx(float(model.compute_loss(features)), rel=1e-4)
    assert found["windows"] == 30


@pytest.mark.parametrize(
    "future, alike", [([0, 0], 1), ([1, 0], 0), ([1, 1], 0), ([5, 1], 1 / 3), ([5, 5], 1)]
)
def test_items_that_are_unknown_are_something_to_follow_and_none_in_common(future, alike):
    """All windows have the same future; an item that the vocabulary lacks (1) is another one in each."""
    features = {**test_byb.batch(1, 30), names.USER_HASH: tf.range(30, dtype=tf.int64)}
    following = np.zeros(features[names.FUTURE_ITEM_INDEX].shape, np.int64)
    following[:, : len(future)] = future
    features[names.FUTURE_ITEM_INDEX] = tf.constant(following)
    side = tf.data.Dataset.from_tensor_slices(features).batch(7)
    found = evaluation.UserMetrics(test_byb.build(), side).evaluate()
    assert found["neighbor_agreement"] == found["random_agreement"] == pytest.approx(alike)


def test_of_many_windows_some_are_drawn(monkeypatch):
    monkeypatch.setattr(embeddings, "MOST", 20)
    model = test_byb.build()
    one, two = (evaluation.UserMetrics(model, windows()).evaluate() for _ in range(2))
    assert one == two and one["windows"] == 20


def test_a_rare_label_is_drawn_for_the_probe_too(monkeypatch):
    """Three positives of 400 windows, of which twenty are drawn for what is measured without labels."""
    monkeypatch.setattr(embeddings, "MOST", 20)
    monkeypatch.setattr(probe, "_LEAST", 3)
    values = np.zeros(400, np.int64)
    values[[40, 90, 321]] = 1
    sides = [{**labelled(400, seed), names.LABEL_PREFIX + "rare": tf.constant(values)} for seed in (1, 2)]
    blocks = [tf.data.Dataset.from_tensor_slices(side).batch(64) for side in sides]
    found = evaluation.UserMetrics(test_byb.build(), blocks[1], 64, ["rare"], blocks[0]).evaluate()
    assert found["windows"] == 20 and 0 <= found["probe_auc/rare"] <= 1


def test_windows_that_nothing_follows_are_none_of_what_is_predicted():
    """Of a target that has collapsed the spread would be that of how many users do nothing."""
    model, features = test_byb.build(), test_byb.batch(1, 30)
    nothing = np.arange(30) % 3 > 0
    for name in model.loss_inputs_read:
        if name.startswith("future"):
            mask = nothing.reshape(-1, *[1] * (features[name].ndim - 1))
            features[name] = tf.where(mask, tf.zeros_like(features[name]), features[name])
    features[names.USER_HASH] = tf.range(30, dtype=tf.int64)
    side = tf.data.Dataset.from_tensor_slices(features).batch(7)
    found = evaluation.UserMetrics(model, side).evaluate()
    followed = {name: tf.boolean_mask(value, ~nothing) for name, value in features.items()}
    target = model.supervision(followed).numpy()
    assert found["target_spread"] == pytest.approx(embeddings.spread(target), rel=1e-4)
    predicted = model.predict_future(model.encode(followed)).numpy()
    correlations = [np.corrcoef(one, two)[0, 1] for one, two in zip(predicted, target)]
    assert found["cosine"] == pytest.approx(np.mean(correlations), rel=1e-3)


def test_one_user_is_none_to_compare():
    with pytest.raises(errors.InputError, match="eval needs at least two, found 1"):
        evaluation.UserMetrics(test_byb.build(), windows(users=1))


def test_an_encoder_whose_target_has_a_gradient_collapses_and_is_stopped(tmp_path):
    """Nothing holds targets apart: they and what is predicted become one vector, which the default bounds tell."""
    model = {"momentum": 0.0, "stop_gradient": False, "collapse_epochs": 3}
    training = {"epochs": 60, "learning_rate": 0.02, "batch_size": 30, "patience": 60}
    one = test_teacher.loop(
        tmp_path,
        training,
        model,
        rows=30,
        evaluate=lambda model: evaluation.UserMetrics(model, windows()),
        loss={"name": "future_mse", "standardize": False},
    )
    first = one.evaluation.evaluate()
    assert first["target_spread"] > 0.5 and first["spread"] > 0.2
    with pytest.raises(
        loop_lib.TrainingError, match=r"have collapsed: spread 0.0[0-4]\d+ on eval, asked: at least 0.05"
    ):
        one.run()


LABELS = ("busy", "nobody", "rare")


def labelled(rows, seed):
    """Windows with a label that the item of the last event tells, one that is always 0, and one at random, often unknown."""
    features = test_byb.batch(seed, rows)
    rng = np.random.default_rng(seed)
    values = {
        "busy": features[names.HISTORY_ITEM_INDEX][:, -1].numpy() % 2,
        "nobody": np.zeros(rows, np.int64),
        "rare": rng.choice([names.UNKNOWN_LABEL, 0, 1], rows),
    }
    features |= {names.LABEL_PREFIX + name: tf.constant(value, tf.int64) for name, value in values.items()}
    return {**features, names.USER_HASH: tf.range(rows, dtype=tf.int64)}


def test_with_labels_the_objective_is_a_linear_probe():
    model = test_byb.build()
    train, evaluated = labelled(90, 1), labelled(70, 2)
    blocks = [tf.data.Dataset.from_tensor_slices(side).batch(16) for side in (train, evaluated)]
    measured = evaluation.UserMetrics(model, blocks[1], 8, LABELS, blocks[0])
    found = measured.evaluate()
    assert measured.objective == "probe_auc" and "probe_auc/nobody" not in found
    assert found["probe_auc"] == pytest.approx((found["probe_auc/busy"] + found["probe_auc/rare"]) / 2)
    # By hand: scikit-learn's regression on what the model encodes, pairs counted one by one.
    vectors = [model.encode(side).numpy().astype(np.float64) for side in (train, evaluated)]
    for label in ("busy", "rare"):
        known = [side[names.LABEL_PREFIX + label].numpy() for side in (train, evaluated)]
        rows = [values >= 0 for values in known]
        scaler = preprocessing.StandardScaler().fit(vectors[0][rows[0]])
        regression = linear_model.LogisticRegression(max_iter=1000)
        regression.fit(scaler.transform(vectors[0][rows[0]]), known[0][rows[0]])
        scores = regression.predict_proba(scaler.transform(vectors[1][rows[1]]))[:, 1]
        values = known[1][rows[1]]
        one, other = scores[values == 1][:, None], scores[values == 0][None]
        by_hand = ((one > other) + 0.5 * (one == other)).mean()
        assert found[f"probe_auc/{label}"] == pytest.approx(by_hand, abs=1e-4)


def test_a_probe_of_embeddings_that_have_collapsed_knows_nothing():
    train, evaluated = labelled(90, 1), labelled(70, 2)
    one = probe.LinearProbe(train, evaluated, LABELS)
    assert one.names == ["probe_auc", "probe_auc/busy", "probe_auc/rare"]
    found = one.evaluate(lambda side: np.ones([len(side[names.USER_HASH]), 4], np.float32))
    assert set(found.values()) == {0.5}
    # And one of the label itself everything.
    found = one.evaluate(lambda side: side["label_busy"].numpy()[:, None].astype(np.float32))
    assert found["probe_auc/busy"] == 1.0


def test_a_rare_label_is_drawn_too(monkeypatch):
    """Of 3 positives of 5,000 windows, 200 drawn ones would have none."""
    monkeypatch.setattr(probe.embeddings, "MOST", 200)
    values = np.zeros(5000, np.int64)
    values[[40, 900, 4321]] = 1
    side = {names.LABEL_PREFIX + "rare": tf.constant(values), "number": tf.range(5000)}
    chosen = probe.drawn(side, ["rare"])
    assert set(chosen["number"].numpy()) > {40, 900, 4321} and 200 <= len(chosen["number"]) <= 203
    assert probe.LinearProbe(side, side, ["rare"]).names == ["probe_auc", "probe_auc/rare"]


def test_labels_of_which_none_can_be_measured_are_told():
    with pytest.raises(errors.InputError, match="window.labels: of nobody none is both 0 and 1"):
        probe.LinearProbe(labelled(9, 1), labelled(9, 2), ["nobody"])


def test_attention_by_age_is_one_where_all_buckets_have_the_same(monkeypatch):
    monkeypatch.setattr(evaluation, "_FEW", 5)
    model, features = test_byb.build(), test_byb.batch(1, 30)
    measured = evaluation.UserMetrics(model, windows(), batch_size=8)
    found = measured.attention_by_age()
    weights, ages, present = (value.numpy() for value in model.users.attention(features))
    # Each user has two windows, and counts once, by the mean of what theirs have.
    by_age = {}
    for row in range(30):
        whole = weights[row][present[row]].sum() / present[row].sum()
        for weight, age in zip(weights[row][present[row]], ages[row][present[row]]):
            by_age.setdefault(int(age), {}).setdefault(measured._users[row], []).append(weight / whole)
    told = {age: of for age, of in sorted(by_age.items()) if len(of) >= 5}
    assert len(set(measured._users)) == 15
    assert found["ages"] == list(told) and found["users"] == [len(of) for of in told.values()]
    wanted = [np.mean([np.mean(shares) for shares in of.values()]) for of in told.values()]
    np.testing.assert_allclose(found["attention"], wanted, rtol=1e-3)
    assert found["bucket"] == "day" and len(found["ages"]) > 2
    for block in model.users.blocks._blocks:
        block._attention._project.kernel.assign(tf.zeros_like(block._attention._project.kernel))
    np.testing.assert_allclose(measured.attention_by_age()["attention"], 1.0, rtol=1e-5)
