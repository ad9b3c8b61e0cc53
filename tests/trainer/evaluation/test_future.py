"""Evaluation of embeddings of users: metrics against their functions, and an encoder that really collapses."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import embeddings, errors, names
from tests.trainer.loops import test_teacher
from tests.trainer.models import test_byb
from trainer.evaluation import future
from trainer.loops import loop as loop_lib


def windows(rows=30, users=15):
    features = {**test_byb.batch(1, rows), names.USER_HASH: tf.range(rows, dtype=tf.int64) % users}
    return tf.data.Dataset.from_tensor_slices(features).batch(7)


def test_metrics_are_of_all_windows():
    model, features = test_byb.build(), test_byb.batch(1, 30)
    found = future.FutureMetrics(model, windows(), batch_size=8).evaluate()
    embedding, target = model.encode(features).numpy(), model.supervision(features).numpy()
    predicted = model.predict_future(model.encode(features)).numpy()
    sets = [row[row >= names.FIRST_INDEX] for row in features[names.FUTURE_ITEM_INDEX].numpy()]
    nearest, of_all = embeddings.agreements(embedding, np.arange(30) % 15, sets)
    assert found["neighbor_agreement"] == pytest.approx(nearest.mean(), rel=1e-4)
    assert found["random_agreement"] == pytest.approx(of_all.mean(), rel=1e-6)
    for prefix, vectors in (("", embedding), ("target_", target)):
        assert found[f"{prefix}spread"] == pytest.approx(embeddings.spread(vectors), rel=1e-4)
        assert found[f"{prefix}effective_rank"] == pytest.approx(embeddings.effective_rank(vectors), rel=1e-4)
    correlations = [np.corrcoef(one, two)[0, 1] for one, two in zip(predicted, target)]
    assert found["cosine"] == pytest.approx(np.mean(correlations), rel=1e-3)
    assert found["eval_loss"] == pytest.approx(float(model.compute_loss(features)), rel=1e-4)
    assert found["windows"] == 30


def test_of_many_windows_some_are_drawn(monkeypatch):
    monkeypatch.setattr(embeddings, "MOST", 20)
    model = test_byb.build()
    one, two = (future.FutureMetrics(model, windows()).evaluate() for _ in range(2))
    assert one == two and one["windows"] == 20


def test_one_user_is_none_to_compare():
    with pytest.raises(errors.InputError, match="eval needs at least two, found 1"):
        future.FutureMetrics(test_byb.build(), windows(users=1))


def test_an_encoder_whose_target_has_a_gradient_collapses_and_is_stopped(tmp_path):
    """Nothing holds targets apart: they and what is predicted become one vector."""
    model = {"momentum": 0.0, "stop_gradient": False, "predictor": False, "min_spread": 0.1}
    training = {"epochs": 60, "learning_rate": 0.02, "batch_size": 30, "patience": 60}
    one = test_teacher.loop(
        tmp_path,
        training,
        model,
        rows=30,
        evaluate=lambda model: future.FutureMetrics(model, windows()),
        loss={"name": "future_mse", "standardize": False},
    )
    first = one.evaluation.evaluate()
    assert first["target_spread"] > 0.5 and first["spread"] > 0.2
    with pytest.raises(
        loop_lib.TrainingError, match=r"have collapsed: spread 0.0\d+ on eval, asked: at least 0.1"
    ):
        one.run()
