"""gRPC: answers, what tells of the model, and what is refused."""

import concurrent.futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from serving import published
from tests.conformance import servers

RANKING = (
    "embed",
    "evaluate",
    "rank",
    "recommend",
    "serving_default",
    "training_times",
    "transform_features",
)
_AT_A_MOMENT = ("embed", "rank", "recommend", "recommend_scenes")
PERIODS = (*RANKING, "recommend_scenes")
LABELS = (
    "evaluate",
    "predict",
    "predict_candidates",
    "serving_default",
    "training_times",
    "transform_features",
)


def refusal(endpoint, request, method="Predict", timeout=60.0):
    with pytest.raises(grpc.RpcError) as caught:
        endpoint.call(method, request, timeout)
    assert caught.value.details()
    return caught.value.code().name


def equal(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_array_equal(found[name], value, name)


@pytest.mark.parametrize("signature", RANKING)
def test_ranking(endpoint, model, signature):
    asked = model.requests()[signature]
    equal(endpoint.predict(signature, asked), model.answer(signature, asked))


@pytest.mark.parametrize("signature", LABELS)
def test_labels(labels_endpoint, labels_model, signature):
    asked = labels_model.requests()[signature]
    equal(labels_endpoint.predict(signature, asked), labels_model.answer(signature, asked))


@pytest.mark.parametrize("signature", PERIODS)
def test_periods(periods_endpoint, periods_model, signature):
    asked = periods_model.requests()[signature]
    assert ("moment" in asked) == (signature in _AT_A_MOMENT)
    equal(periods_endpoint.predict(signature, asked), periods_model.answer(signature, asked))


def test_metadata(endpoint, model):
    found = endpoint.metadata()
    # TensorFlow adds a signature of its own to some files.
    assert set(found) - {"__saved_model_init_op"} == set(model.known)
    for name, expected in model.known.items():
        assert found[name].method_name == "tensorflow/serving/predict"
        for given, wanted in ((found[name].inputs, expected.inputs), (found[name].outputs, expected.outputs)):
            assert {key: (info.dtype, len(info.tensor_shape.dim)) for key, info in given.items()} == {
                key: (info.dtype, len(info.tensor_shape.dim)) for key, info in wanted.items()
            }


def test_status(endpoint):
    assert endpoint.states() == endpoint.states(servers.VERSION) == {servers.VERSION: "AVAILABLE"}
    with pytest.raises(grpc.RpcError) as caught:
        endpoint.states(servers.VERSION + 1)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_answer_says_what_answered(endpoint, model):
    asked = model.requests()["serving_default"]
    for signature, more in (("", {}), ("serving_default", {"version": servers.VERSION})):
        spec = endpoint.call("Predict", servers.request_of(signature, asked, **more)).model_spec
        assert (spec.name, spec.version.value) == (published.NAME, servers.VERSION)
        assert spec.signature_name == "serving_default"


def test_outputs_can_be_chosen(endpoint, model):
    request = servers.request_of("recommend", model.requests()["recommend"])
    request.output_filter.append("score")
    assert list(endpoint.call("Predict", request).outputs) == ["score"]
    request.output_filter.append("nothing")
    assert refusal(endpoint, request) == "INVALID_ARGUMENT"
    request.output_filter[:] = ["score", "score"]
    assert refusal(endpoint, request) == "INVALID_ARGUMENT"


@pytest.mark.parametrize("signature", RANKING)
def test_every_input_is_wanted_and_no_other(endpoint, model, signature):
    asked = model.requests(2)[signature]
    for name in asked:
        rest = {key: value for key, value in asked.items() if key != name}
        assert refusal(endpoint, servers.request_of(signature, rest)) == "INVALID_ARGUMENT", name
    more = {**asked, "more": np.zeros(2, np.float32)}
    assert refusal(endpoint, servers.request_of(signature, more)) == "INVALID_ARGUMENT"


def test_every_input_of_exposures_is_wanted(labels_endpoint, labels_model):
    for signature in ("predict", "predict_candidates"):
        asked = labels_model.requests(2)[signature]
        for name in asked:
            rest = {key: value for key, value in asked.items() if key != name}
            assert refusal(labels_endpoint, servers.request_of(signature, rest)) == "INVALID_ARGUMENT", name


def test_every_input_of_periods_is_wanted(periods_endpoint, periods_model):
    for signature in _AT_A_MOMENT:
        asked = periods_model.requests(2)[signature]
        for name, value in (
            ("moment", None),
            ("moment", np.zeros([2, 1], np.int64)),
            ("moment", np.zeros(2)),
        ):
            rest = {key: given for key, given in asked.items() if key != name}
            given = rest if value is None else {**rest, name: value}
            assert refusal(periods_endpoint, servers.request_of(signature, given)) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "name, value",
    [
        ("k", np.array([5, 5], np.int64)),
        ("k", np.array([5.0, 5.0], np.float32)),
        ("k", np.array([np.nan, 5.0])),
        ("k", np.array([True, True])),
        ("k", np.array(["5", "5"], object)),
        ("k", np.array([[5, 5]], np.int32)),
        ("k", np.array(5, np.int32)),
        ("history_item_id", np.zeros([2, 1], np.int64)),
        ("history_item_id", np.array(["a", "b"], object)),
        ("history_timestamp", np.zeros([2, 1], np.float64)),
        ("history_timestamp", np.zeros([2, 9], np.int64)),
        ("k", servers.tensor(tf.int32.as_datatype_enum, 2, tensor_content=b"123")),
        ("k", servers.tensor(77, 2)),
        ("k", servers.tensor(0, 2)),
        ("k", servers.tensor(tf.int32.as_datatype_enum, -2)),
        ("k", servers.tensor(tf.int32.as_datatype_enum, 1 << 60, 1 << 60, int_val=[1])),
    ],
    ids=str,
)
def test_an_input_of_another_type_or_shape(endpoint, model, name, value):
    asked = {**model.requests(2)["recommend"], name: value}
    assert refusal(endpoint, servers.request_of("recommend", asked)) == "INVALID_ARGUMENT"


def test_an_example_that_is_none(endpoint):
    asked = {"examples": np.array([b"\x01broken"], object)}
    assert refusal(endpoint, servers.request_of("serving_default", asked)) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "signature, spec, code",
    [
        ("nothing", {}, "FAILED_PRECONDITION"),
        ("recommend", {"name": "nothing"}, "NOT_FOUND"),
        ("recommend", {"version": servers.VERSION + 1}, "NOT_FOUND"),
        ("recommend", {"label": "nothing"}, "INVALID_ARGUMENT"),
    ],
    ids=str,
)
def test_what_is_not_there(endpoint, model, signature, spec, code):
    asked = model.requests(2)["recommend"]
    assert refusal(endpoint, servers.request_of(signature, asked, **spec)) == code


@pytest.mark.parametrize(
    "method, request_type",
    [
        ("Predict", predict_pb2.PredictRequest),
        ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest),
        ("GetModelStatus", get_model_status_pb2.GetModelStatusRequest),
    ],
)
def test_a_request_without_a_model(endpoint, method, request_type):
    assert refusal(endpoint, request_type(), method) == "INVALID_ARGUMENT"


def test_metadata_of_what_is_none(endpoint):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["nothing"])
    request.model_spec.name = published.NAME
    assert refusal(endpoint, request, "GetModelMetadata") == "INVALID_ARGUMENT"


def test_a_deadline_that_has_passed(endpoint, model):
    request = servers.request_of("recommend", model.requests()["recommend"])
    # gRPC rounds a deadline up to whole milliseconds, in which a fast server answers: only one of the past is sure.
    assert refusal(endpoint, request, timeout=-1.0) == "DEADLINE_EXCEEDED"


def test_ragged_requests_at_once_are_answered_as_alone(endpoint, model):
    """Each with histories of its own length, and its own k."""
    requests = []
    for row in range(24):
        asked = model.requests(1, row)["recommend"]
        requests.append({**asked, "k": np.array([1 + row % 7], np.int32)})
    alone = [model.answer("recommend", asked) for asked in requests]

    def ask(number):
        for row in range(number, number + len(requests)):
            place = row % len(requests)
            equal(endpoint.predict("recommend", requests[place]), alone[place])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(0, 24, 3)))
