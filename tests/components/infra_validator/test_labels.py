"""A candidate that gives probabilities of labels, in a real server, and answers that are wrong on purpose."""

import numpy as np
import pytest
import tensorflow as tf

from components.infra_validator import executor, spec
from schemas import names
from serving import metadata
from serving.objectives import labels
from tests import exposure_fixtures
from tests.components.infra_validator import in_this_process

ROWS = exposure_fixtures.generate(8, seed=2)
ROWS[1] |= {name: [] for name in names.HISTORY} | {"item_tags": [], "item_price": None}
EXAMPLES = [exposure_fixtures.serialize(values) for values in ROWS]
PROBABILITIES = {"predict", "predict_candidates", "serving_default", "evaluate"}
NAMES = PROBABILITIES | {"transform_features", "training_times"}


@pytest.fixture(scope="module")
def shop(shop):
    return str(shop / "model")


def test_a_good_model_is_blessed(shop, monkeypatch):
    in_this_process.use(monkeypatch)
    result = executor.validate(shop, EXAMPLES, spec.InfraSpec(server="embedded", requests=5, max_p50_ms=5000))
    assert result["reasons"] == [] and result["blessed"]
    assert result["signatures"] == dict.fromkeys(NAMES, "ok")
    assert result["timed"] == "predict" and 0 < result["p50_ms"] <= result["p99_ms"]


@pytest.fixture(scope="module")
def answers(shop):
    """Requests and the answers of the model, in this process."""
    served = tf.saved_model.load(shop)
    functions = served.signatures
    known = {name: metadata.definition_of(function) for name, function in functions.items()}
    asked = labels.make_requests(known, EXAMPLES)
    found = {}
    for name, request in asked.items():
        specs = functions[name].structured_input_signature[1]
        outputs = functions[name](**{key: tf.constant(v, specs[key].dtype) for key, v in request.items()})
        found[name] = {key: value.numpy() for key, value in outputs.items()}
    return asked, found


def test_requests_are_made_of_examples(answers):
    asked, found = answers
    assert set(asked) == NAMES and labels.compare(found) == {}
    count = len(ROWS)
    assert asked["predict"]["item_id"].tolist() == [values["item_id"].encode() for values in ROWS]
    assert np.isnan(asked["predict"]["item_price"][1])
    candidates = asked["predict_candidates"]
    assert candidates["item_tags"].shape[:2] == candidates["item_id"].shape == (count, count)
    longest = max(len(values["history_item_id"]) for values in ROWS)
    assert candidates["history_item_id"].shape == (count, longest)
    assert all(labels.check(name, asked[name], found[name]) == "ok" for name in NAMES)


def test_a_training_that_ends_before_it_begins(answers):
    asked, found = answers
    wrong = {"first": found["training_times"]["last"], "last": found["training_times"]["first"]}
    said = labels.check("training_times", asked["training_times"], wrong)
    assert said.startswith("training ends at 1599955200000, before it begins at ")


@pytest.mark.parametrize(
    "value,words",
    [
        (np.nan, "cart has values that are not finite"),
        (1.5, "cart is no probability: it goes from "),
        (-0.1, "cart is no probability: it goes from -0.1"),
    ],
)
def test_what_is_no_probability(answers, value, words):
    asked, found = answers
    for name in PROBABILITIES:
        wrong = {**found[name], "cart": found[name]["cart"].copy()}
        wrong["cart"].flat[-1] = value
        assert words in labels.check(name, asked[name], wrong)


def test_a_wrong_shape(answers):
    asked, found = answers
    short = {"cart": found["predict"]["cart"][:-1]}
    assert labels.check("predict", asked["predict"], short) == "cart has shape [7], not [8]"
    row = {"cart": found["predict"]["cart"]}
    square = labels.check("predict_candidates", asked["predict_candidates"], row)
    assert square == "cart has shape [8], not [8, 8]"


@pytest.mark.parametrize("name", sorted(PROBABILITIES - {"predict"}))
def test_a_signature_that_says_otherwise(answers, name):
    _, found = answers
    buy = found[name]["buy"].copy()
    buy[(3, 3) if buy.ndim == 2 else 3] += 0.01
    (said,) = labels.compare({**found, name: {**found[name], "buy": buy}}).items()
    assert said[0] == name and said[1].startswith("buy of row 3 is ")
    assert labels.compare({**found, name: {"cart": found[name]["cart"]}}) == {
        name: "no buy, which predict has"
    }
