"""What a served model of users' embeddings answers: the same by all signatures, at the moment where it is told."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from serving import export, moments, objectives
from serving.objectives import user_embedding
from tests import period_fixtures
from trainer import config
from trainer.models import byb, users


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An untrained model with its transform graph, and some of its windows."""
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    windows = []
    for _ in range(40):
        items, future = ([f"i{v}" for v in rng.integers(0, 12, rng.integers(1, 8))] for _ in range(2))
        made = period_fixtures.window(items, future, len(items) + len(future) - 1)
        windows.append(period_fixtures.with_attributes(made, len(windows)))
    output = period_fixtures.analysed(str(folder), windows, attributes=True)
    values = {"name": "byb", "dim": 8, "blocks": 1, "heads": 2, "bucket": "hour"}
    model = byb.BYB(
        config.TrainerSettings.from_values({"model": values}).model,
        users.Behaviors.load(output, period_fixtures.settings_of(attributes=True)),
    )
    raw = tf.io.parse_example([period_fixtures.serialize(windows[0])], output.raw_feature_spec())
    model(output.transform_features_layer()(raw))
    path = str(folder / "model")
    export.export_model(model, output, path, objective="user_embedding")
    return path, windows, model, output


def test_its_signatures_tell_what_it_is(served):
    path, *_ = served
    assert objectives.of_saved_model(path) == "user_embedding"
    found = objectives.signatures_of(path)
    asked = {"serving_default", "embed", "evaluate", "transform_features", "training_times"}
    assert {name for name in found if not name.startswith("__")} == asked
    attributes = {"history_item_brand", "history_context_price"}
    of_events = {*names.HISTORY, *attributes} - {names.HISTORY_BEHAVIOR}
    assert set(found["embed"].inputs) == {*of_events, names.MOMENT}


def test_all_signatures_answer_alike_and_windows_at_their_moments(served):
    path, windows, model, output = served
    late = [{**each, names.MOMENT: each[names.MOMENT] + 7_200_000} for each in windows[:6]]
    examples = [period_fixtures.serialize(each) for each in late]
    loaded = tf.saved_model.load(path)
    known = objectives.signatures_of(path)
    requests = user_embedding.make_requests(known, examples)
    assert set(requests) == {name for name in known if not name.startswith("__")}
    answers = {}
    for name, request in requests.items():
        given = {key: tf.constant(value) for key, value in request.items()}
        answers[name] = {key: value.numpy() for key, value in loaded.signatures[name](**given).items()}
        assert user_embedding.check(name, request, answers[name]) == "ok"
    assert user_embedding.compare(answers) == {}
    raw = tf.io.parse_example(examples, output.raw_feature_spec())
    features = output.transform_features_layer()(raw)
    evaluated = answers["evaluate"][names.EMBEDDING]
    np.testing.assert_allclose(evaluated, model.encode(features), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answers["embed"][names.EMBEDDING], evaluated, rtol=1e-4, atol=1e-5)
    # Without a moment a request is as of the last event, and the window is hours later.
    untold = {key: tf.constant(value) for key, value in requests["embed"].items()}
    untold[names.MOMENT] = tf.fill([len(late)], tf.constant(moments.NOT_TOLD, tf.int64))
    found = loaded.signatures["embed"](**untold)[names.EMBEDDING].numpy()
    del features[names.SECONDS_SINCE_LAST]
    np.testing.assert_allclose(found, model.encode(features), rtol=1e-4, atol=1e-5)
    assert np.abs(evaluated - found).max() > 1e-3
    # Equal ids have equal hashes.
    following = answers["evaluate"][names.FOLLOWING]
    of_ids = {}
    for row, each in zip(following, late):
        ids = each[names.FUTURE_ITEM_ID]
        assert (row != names.NOTHING_FOLLOWS).sum() == len(ids)
        for one, found in zip(ids, row):
            assert of_ids.setdefault(one, found) == found
    assert len(set(of_ids.values())) == len(of_ids)


def test_answers_that_are_wrong_are_told():
    request = {"examples": np.array([b"", b""], object)}
    broken = {names.EMBEDDING: np.array([[1.0, np.nan], [0.0, 0.0]])}
    assert "not finite" in user_embedding.check("embed", request, broken)
    short = {names.EMBEDDING: np.zeros([1, 2])}
    assert "has shape [1, 2] for 2 rows" in user_embedding.check("embed", request, short)
    answers = {
        "embed": {names.EMBEDDING: np.zeros([2, 2])},
        "serving_default": {names.EMBEDDING: np.ones([2, 2])},
    }
    assert "differs from that of embed by 1" in user_embedding.compare(answers)["serving_default"]
