"""A model of exposures: what is served equals what is computed offline, for any way to ask."""

import base64
import io
import json
import sys
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.transform import fields
from pipeline import cli
from schemas import names
from serving import client as client_lib
from serving import conversion, requests, vocabularies
from tests import exposure_fixtures

ROWS = exposure_fixtures.generate(40, seed=8)
# A user, an item, texts and a behaviour that no vocabulary has, and nothing at all.
ROWS[3] |= {names.USER_ID: "new", names.ITEM_ID: "new", "item_tags": ["odd", "sale"], "context_device": "tv"}
ROWS[4] |= {"item_price": None, "user_age": None, "context_place": None, "item_color": "", "item_tags": []}
ROWS[5] |= {name: [] for name in names.HISTORY}
SERIALIZED = tf.constant([exposure_fixtures.serialize(values) for values in ROWS])
STEPS = exposure_fixtures.STEPS


@pytest.fixture(scope="module")
def output(shop):
    return tft.TFTransformOutput(str(shop / "transform"))


@pytest.fixture(scope="module")
def served(shop):
    return tf.saved_model.load(str(shop / "model"))


@pytest.fixture(scope="module")
def features(output):
    """By the transform graph, outside of any export."""
    parsed = tf.io.parse_example(SERIALIZED, output.raw_feature_spec())
    return output.transform_features_layer()(parsed)


@pytest.fixture(scope="module")
def offline(output, features):
    known = fields.load_fields(
        output, exposure_fixtures.WINDOW, exposure_fixtures.FEATURES, exposure_fixtures.COLUMNS
    )
    return exposure_fixtures.LinearModel(known).probabilities(features).numpy()


@pytest.fixture(scope="module")
def client(shop_server):
    with client_lib.Client(f"127.0.0.1:{shop_server.grpc_port}", "shop", timeout_s=60.0) as connected:
        yield connected


def plain(values):
    """An exposure as a client writes it."""
    left_out = {*names.SLICES, *names.HISTORY, *(names.LABEL_PREFIX + step for step in STEPS)}
    row = {name: value for name, value in values.items() if name not in left_out}
    events = zip(*(values[name] for name in names.HISTORY))
    return {
        **row,
        "history": [dict(zip(("item_id", "behavior", "scene", "timestamp"), event)) for event in events],
    }


def split(row):
    """The user's part of a row, the history, and the candidate."""
    user = {name: value for name, value in row.items() if not requests.is_of_item(name) and name != "history"}
    return user, row["history"], {name: value for name, value in row.items() if requests.is_of_item(name)}


def table(answers):
    return np.array([[answer[step] for step in STEPS] for answer in answers])


def raw(client, rows, signature=requests.PREDICT):
    return requests.of_exposures(client.metadata()[signature].inputs, [plain(values) for values in rows])


def rest(server, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.rest_port}/v1/models/shop:predict", json.dumps(body).encode()
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_examples_are_answered_as_offline(served, offline):
    for signature in ("serving_default", "evaluate"):
        found = served.signatures[signature](examples=SERIALIZED)
        assert sorted(found) == sorted(STEPS)
        for place, step in enumerate(STEPS):
            np.testing.assert_allclose(found[step], offline[:, place], rtol=1e-5)


def test_raw_values_make_the_features_of_training(output, client, features):
    """Row by row, from what a client sends to what the model reads."""
    known = fields.load_fields(
        output, exposure_fixtures.WINDOW, exposure_fixtures.FEATURES, exposure_fixtures.COLUMNS
    )
    module = conversion.ConversionModule(exposure_fixtures.LinearModel(known), output)
    inputs = {name: tf.constant(value) for name, value in raw(client, ROWS).items()}
    inputs = {n: tf.cast(v, tf.float32) if v.dtype == tf.float64 else v for n, v in inputs.items()}
    found = module.features(inputs)
    for field in known:
        np.testing.assert_array_equal(found[field.key], features[field.key], field.key)


def test_the_client_gets_what_is_computed_offline(client, offline):
    np.testing.assert_allclose(
        table(client.predict_exposures([plain(values) for values in ROWS])), offline, rtol=1e-5
    )


def test_what_is_not_before_the_exposure_does_not_count(client, offline):
    """The view itself, which a backend has logged by then, and what has followed an old one."""
    asked = [plain(values) for values in ROWS]
    for row in asked:
        seen = {"item_id": row["item_id"], "behavior": "view", "scene": "home"}
        row["history"] = [
            *row["history"],
            {**seen, "timestamp": row["timestamp"]},
            {**seen, "behavior": "buy", "timestamp": row["timestamp"] + 60_000},
        ]
    np.testing.assert_allclose(table(client.predict_exposures(asked)), offline, rtol=1e-5)
    user, history, item = split(asked[0])
    (found,) = client.predict_candidates(user, history, [item])
    np.testing.assert_allclose(table([found])[0], offline[0], rtol=1e-5)


def test_order_batches_and_padding_do_not_matter(shop_server, client, offline):
    order = np.random.default_rng(1).permutation(len(ROWS))
    shuffled = client.predict_exposures([plain(ROWS[row]) for row in order])
    np.testing.assert_allclose(table(shuffled), offline[order], rtol=1e-5)
    with client_lib.Client(
        f"127.0.0.1:{shop_server.grpc_port}", "shop", timeout_s=60.0, max_batch=7
    ) as small:
        answers = small.predict_exposures([plain(values) for values in ROWS])
    np.testing.assert_allclose(table(answers), offline, rtol=1e-5)
    padded = raw(client, ROWS)
    for name, value in padded.items():
        if value.ndim == 2:
            blank = 0 if name == names.HISTORY_TIMESTAMP else ""
            padded[name] = np.pad(value, [(0, 0), (2, 3)], constant_values=blank)
    found = client.predict(requests.PREDICT, padded)
    np.testing.assert_allclose(found["buy"], offline[:, 1], rtol=1e-5)
    assert client.predict_exposures([]) == []


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_candidates_are_exposures_with_one_user(client, count):
    user, history, _ = split(plain(ROWS[0]))
    shown = exposure_fixtures.generate(count, seed=count, items=40)
    candidates = [split(plain(values))[2] for values in shown]
    candidates[-1]["item_tags"] = ["new", "sale", "eco", "rare"]
    together = client.predict_candidates(user, history, candidates)
    one_by_one = client.predict_exposures([{**user, "history": history, **item} for item in candidates])
    assert len(together) == count
    np.testing.assert_allclose(table(together), table(one_by_one), rtol=1e-5)
    assert client.predict_candidates(user, history, []) == []


def test_candidates_of_several_users(client, offline):
    """`[B, C]`: the own item of each user is on the diagonal."""
    inputs = raw(client, ROWS[:9])
    for name, value in inputs.items():
        if requests.is_of_item(name):
            inputs[name] = np.repeat(value[np.newaxis], 9, axis=0)
    found = client.predict(requests.PREDICT_CANDIDATES, inputs)
    for place, step in enumerate(STEPS):
        assert found[step].shape == (9, 9)
        np.testing.assert_allclose(np.diagonal(found[step]), offline[:9, place], rtol=1e-5)


def test_what_is_left_out_is_missing(client):
    """In rows and in examples."""
    short = {name: ROWS[0][name] for name in (names.ITEM_ID, names.TIMESTAMP)}
    blank = {
        **ROWS[0],
        **dict.fromkeys(("user_id", "scene", "item_color", "user_country", "context_device"), ""),
        **dict.fromkeys(("item_price", "user_age", "context_place")),
        **{name: [] for name in ("item_tags", *names.HISTORY)},
    }
    (expected,) = client.predict_exposures([plain(blank)])
    assert client.predict_exposures([short]) == [expected]
    example = np.array([exposure_fixtures.serialize(short)], object)
    parsed = client.predict("serving_default", {"examples": example})
    assert {step: float(value[0]) for step, value in parsed.items()} == pytest.approx(expected)
    assert client.predict_candidates(
        {"timestamp": short["timestamp"]}, [], [{"item_id": short["item_id"]}]
    ) == [pytest.approx(expected)]


@pytest.mark.parametrize("name", [names.HISTORY_BEHAVIOR, names.HISTORY_TIMESTAMP])
def test_an_example_whose_events_lack_a_value_is_refused(served, name):
    """What follows would be taken for other events'. Of what no event has, all are missing."""
    row = next(values for values in ROWS if len(values[names.HISTORY_ITEM_ID]) > 2)
    for values, refused in (
        (row[name][:-1], True),
        ([*row[name], row[name][0]], True),
        ([], False),
        (row[name], False),
    ):
        examples = tf.constant([SERIALIZED[0].numpy(), exposure_fixtures.serialize({**row, name: values})])
        for signature in ("serving_default", "evaluate", "transform_features"):
            if refused:
                message = f"{name} has more or fewer values than history_item_id: write an empty text, or NaN"
                with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                    served.signatures[signature](examples=examples)
            else:
                served.signatures[signature](examples=examples)


def test_raw_tensors_are_all_there(client):
    """What the client completes, other senders write: TensorFlow Serving refuses a request without them."""
    short = {"timestamp": np.array([1]), "item_id": np.array(["i1"], object)}
    with pytest.raises(grpc.RpcError, match="input 'context_device' is missing"):
        client.predict(requests.PREDICT, short)


@pytest.mark.parametrize(
    "change,words",
    [
        ({"item_colour": "red"}, "exposure 1: unknown 'item_colour'; the model takes context_device, "),
        ({"item_id": None}, "exposure 1: item_id is missing"),
        ({"timestamp": "now"}, "exposure 1: timestamp is a whole number, found 'now'"),
        ({"item_price": "3"}, "exposure 1: item_price is a number, found '3'"),
        ({"user_id": 7.5}, "exposure 1: user_id is a text, found 7.5"),
        ({"item_tags": "new"}, "exposure 1: item_tags is a list, found 'new'"),
        ({"item_tags": [None]}, "exposure 1: item_tags is a text, found None"),
        (
            {"history": [{"item_id": "i1", "timestamp": ROWS[0]["timestamp"]}]},
            "exposure 1: history, event 0: behavior is missing; found item_id, timestamp",
        ),
        (
            {"history": ["i1"]},
            "exposure 1: history, event 0 is an object with item_id and timestamp, found 'i1'",
        ),
        ({"history": 5}, "exposure 1: history is a list of events, found 5"),
        ({"history": {"item_id": "i1"}}, "exposure 1: history is a list of events, found {'item_id': 'i1'}"),
    ],
)
def test_rows_that_do_not_fit(client, change, words):
    with pytest.raises(ValueError, match="^" + words):
        client.predict_exposures([plain(ROWS[0]), {**plain(ROWS[1]), **change}])


@pytest.mark.parametrize(
    "signature,change,words",
    [
        ("predict", {"item_id": None}, "'item_id' is missing"),
        ("predict", {"timestamp": None}, "'timestamp' is missing"),
        ("predict", {"user_age": np.array([["x"]])}, "'user_age' wants float32"),
        ("predict", {"history_behavior": np.array([["view"] * 9] * 2)}, "history_behavior has another shape"),
        ("predict_candidates", {}, "'item_color' wants shape"),
    ],
)
def test_requests_that_do_not_fit(client, signature, change, words):
    inputs = {**raw(client, ROWS[:2]), **change}
    with pytest.raises(grpc.RpcError) as caught:
        client.predict(signature, {name: value for name, value in inputs.items() if value is not None})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and words in caught.value.details()


def test_a_model_of_no_attributes_of_events_takes_events_with_more(client):
    row = plain(ROWS[0])
    more = {**row, "history": [{**event, "item_color": "red"} for event in row["history"]]}
    assert more["history"] and client.predict_exposures([more]) == client.predict_exposures([row])


def test_numbers_stand_for_ids(client):
    row = {**plain(ROWS[0]), "user_id": 7}
    assert client.predict_exposures([row]) == client.predict_exposures([{**row, "user_id": "7"}])


def test_rest(shop_server, client, offline):
    # JSON has no missing number but NaN; TensorFlow Serving reads it, too.
    inputs = {name: value.tolist() for name, value in raw(client, ROWS[:3]).items()}
    rows = [{name: values[row] for name, values in inputs.items()} for row in range(3)]
    status, found = rest(shop_server, {"signature_name": "predict", "instances": rows})
    assert status == 200
    np.testing.assert_allclose(table(found["predictions"]), offline[:3], rtol=1e-5)
    status, found = rest(shop_server, {"signature_name": "predict", "inputs": inputs})
    assert status == 200
    np.testing.assert_allclose(found["outputs"]["cart"], offline[:3, 0], rtol=1e-5)
    serialized = base64.b64encode(SERIALIZED[0].numpy()).decode()
    status, found = rest(shop_server, {"instances": [{"b64": serialized}]})
    assert status == 200 and found["predictions"][0] == pytest.approx(dict(zip(STEPS, offline[0])), rel=1e-5)
    takes = client.metadata()[requests.PREDICT_CANDIDATES].inputs
    items = [{"item_id": "i1", "item_tags": ["new"]}, {"item_id": "i2", "item_tags": ["eco", "sale"]}]
    asked = requests.of_candidates(takes, {"timestamp": 1}, [], items)
    body = {name: value.tolist() for name, value in asked.items()}
    status, found = rest(shop_server, {"signature_name": "predict_candidates", "inputs": body})
    assert status == 200 and np.shape(found["outputs"]["buy"]) == (1, 2)
    status, found = rest(
        shop_server, {"signature_name": "predict", "instances": [{**rows[0], "timestamp": 1.5}]}
    )
    assert status == 400 and "'timestamp' wants int64, found 1.5" in found["error"]
    del rows[0]["timestamp"]
    status, found = rest(shop_server, {"signature_name": "predict", "instances": rows[:1]})
    assert status == 400 and "'timestamp' is missing" in found["error"]


def test_a_model_that_reads_little_asks_for_little(output, tmp_path):
    known = fields.load_fields(
        output, exposure_fixtures.WINDOW, exposure_fixtures.FEATURES, exposure_fixtures.COLUMNS
    )
    of_users = [field for field in known if field.name in ("user_age", "user_country")]
    found = conversion.ConversionModule(exposure_fixtures.LinearModel(of_users), output).signatures()
    # Nothing of the item: it has no candidates.
    assert set(found) == {"predict", "serving_default", "evaluate", "transform_features", "training_times"}
    assert set(found["predict"].structured_input_signature[1]) == {"user_age", "user_country"}
    answer = found["predict"](user_age=tf.constant([20.0]), user_country=tf.constant(["c1"]))
    assert answer["cart"].shape == (1,)


def test_metadata(client):
    known = client.metadata()
    assert set(known) == {
        "predict",
        "predict_candidates",
        "serving_default",
        "evaluate",
        "transform_features",
        "training_times",
    }
    assert set(known["predict"].outputs) == set(STEPS)
    inputs = known["predict"].inputs
    assert not {name for name in inputs if name in names.SLICES or name.startswith(names.LABEL_PREFIX)}
    ranks = {name: len(info.tensor_shape.dim) for name, info in known["predict_candidates"].inputs.items()}
    assert (ranks["user_id"], ranks["item_id"], ranks["item_tags"], ranks["history_item_id"]) == (1, 2, 3, 2)


def test_only_core_operations(shop):
    model = saved_model_pb2.SavedModel.FromString((shop / "model" / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    used = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    functions = {f.signature.name for f in graph.library.function}
    assert not {op for op in used - functions if op not in set(dir(tf.raw_ops))}


def test_warmup_requests_are_answered(shop, served):
    path = shop / "model" / "assets.extra" / "tf_serving_warmup_requests"
    asked = set()
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        outputs = served.signatures[request.model_spec.signature_name](**inputs)
        assert all(np.isfinite(value).all() for value in outputs.values() if value.dtype.is_floating)
        asked.add(request.model_spec.signature_name)
    assert asked == set(served.signatures)


def predict(shop_server, *arguments):
    address = f"127.0.0.1:{shop_server.grpc_port}"
    return cli.execute(["predict", address, "--name", "shop", *arguments])


def test_the_command_finds_out_what_it_asks(shop_server, offline, monkeypatch, capsys):
    lines = "".join(json.dumps(plain(values)) + "\n" for values in ROWS[:3])
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    assert predict(shop_server, "--exposures", "-", "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(table(found), offline[:3], rtol=1e-5)
    assert predict(shop_server, "--items", "i1,i2") == 2
    assert "a model of labels, ask it with --exposure" in capsys.readouterr().err


def test_what_the_model_has_never_met_is_named(shop_server, client, monkeypatch, capsys):
    row = plain(ROWS[0]) | {"item_id": "ghost", "item_tags": ["sale", "odd", "eco"], "context_device": "tv"}
    row["history"] = [{"item_id": "gone", "behavior": "stared", "timestamp": ROWS[0]["timestamp"] - 1}]
    takes = client.metadata()[requests.PREDICT].inputs
    found = client.unknown(vocabularies.of_exposures(takes, [row, plain(ROWS[1])]))
    assert found == {
        "item_id": ["ghost"],
        "item_tags": ["odd"],
        "context_device": ["tv"],
        "history_item_id": ["gone"],
        "history_behavior": ["stared"],
    }
    assert predict(shop_server, "--exposure", json.dumps(row)) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("buy ") or captured.out.startswith("cart ")
    assert "footfall: warning: item_tags 'odd': not known to the model" in captured.err
    assert predict(shop_server, "--exposure", json.dumps({**row, "timestamp": row["timestamp"] // 1000})) == 2
    assert "these look like seconds" in capsys.readouterr().err


def test_dates_far_from_training_are_named_for_exposures_candidates_and_histories(client, monkeypatch):
    texts, row = [], plain(ROWS[0])
    monkeypatch.setattr(client, "_odd_times", texts.append)
    far = row["timestamp"] + 300 * 86_400_000
    client.predict_exposures([row, {**row, "timestamp": far}])
    user, history, candidate = split(row)
    client.predict_candidates({**user, "timestamp": far}, history, [candidate])
    assert all(" is " in text and "far from the times" in text for text in texts)
    assert [text.split(" ", 3)[:3] for text in texts] == [
        ["exposure", "1:", "timestamp"],
        ["user", "0:", "timestamp"],
    ]
    event = {"item_id": "i1", "behavior": "view"}
    with pytest.raises(
        ValueError, match="^exposure 0: history, event 0: timestamp .* these look like seconds"
    ):
        client.predict_exposures([{**row, "history": [{**event, "timestamp": far // 1000}]}])
    with pytest.raises(ValueError, match="^user 0: history, event 0: timestamp .* these look like seconds"):
        client.predict_candidates(user, [{**event, "timestamp": far // 1000}], [candidate])
