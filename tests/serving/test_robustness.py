"""A server that is asked anything goes on answering: seeded mutations of good requests, and malformed ones."""

import json
import random
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.conformance import servers

MUTATIONS = 250
# What a caller may be told: its own fault, or a limit. UNKNOWN and INTERNAL are the server's (but INTERNAL
# for bytes that are no message, which gRPC itself answers).
BLAMED = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"}
INPUTS = {
    "history_item_id": np.array([["i1", "i2"]], object),
    "history_behavior": np.array([["view", "buy"]], object),
    "history_timestamp": np.array([[1, 2]], np.int64),
    "exclude": np.array([["i3"]], object),
    "k": np.array([3], np.int32),
}


@pytest.fixture(scope="module")
def channel(toy_server):
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.grpc_port}") as opened:
        yield opened


@pytest.fixture(scope="module")
def ask(channel):
    """A function from a request to OK or the code of its error, and its details."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def call(request):
        try:
            stub.Predict(request, timeout=60)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""

    return call


def good(**changes):
    inputs = {name: value for name, value in {**INPUTS, **changes}.items() if value is not None}
    return servers.request_of("recommend", inputs, name="toy")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"k": np.array([np.nan])}, "'k' wants int32, found float64"),
        ({"k": np.array([np.inf], np.float32)}, "'k' wants int32, found float32"),
        ({"k": np.array([2**40])}, "'k' wants int32, found int64"),
        ({"k": np.array([True])}, "'k' wants int32, found bool"),
        ({"k": np.array([-1], np.int32)}, "0 or more; found -1"),
        ({"k": np.array([1, 2], np.int32)}, "same rows"),
        ({"k": servers.tensor(3, *[1] * 40, int_val=[1])}, "wants shape"),
        ({"k": servers.tensor(3, -1, int_val=[1])}, "negative dimension"),
        ({"k": servers.tensor(3, 2**60, int_val=[1])}, "holds 1152921504606846976"),
        ({"k": servers.tensor(77, 1)}, "an unknown type (77)"),
        ({"history_item_id": servers.tensor(7, 1, 2, tensor_content=b"i1i2")}, "texts in tensor_content"),
        ({"history_timestamp": servers.tensor(9, 1, 2, tensor_content=b"123")}, "3 bytes of content"),
        ({"history_timestamp": servers.tensor(9, 1, 2, int64_val=[1, 2, 3])}, "has 3 values"),
        (
            {"history_timestamp": np.array([[1, 2, 3]])},
            "history_timestamp has another shape than history_item_id",
        ),
        ({"history_timestamp": None}, "'history_timestamp' is missing"),
        pytest.param({"x" * 100_000: np.array([1])}, "unknown input 'xxx", id="a long name"),
    ],
)
def test_a_request_that_does_not_fit_is_told_so_in_a_sentence(ask, changes, words):
    code, said = ask(good(**changes))
    assert code == "INVALID_ARGUMENT" and words in said
    assert "\n" not in said and "Exception" not in said and len(said) < 700
    assert ask(good()) == ("OK", "")


def test_names_of_outputs_are_looked_at_before_the_model_works(ask):
    request = good()
    request.output_filter.extend(f"x{n}" for n in range(100_000))
    assert ask(request) == ("INVALID_ARGUMENT", "unknown output 'x0' in output_filter")
    request = good()
    request.output_filter.extend(["score"] * 100_000)
    assert ask(request) == ("INVALID_ARGUMENT", "twice the output 'score' in output_filter")


def test_a_request_that_would_take_all_memory_is_refused(ask):
    rows = 20_000
    many = {name: np.repeat(value, rows, axis=0) for name, value in INPUTS.items()}
    many |= {name: np.full([rows, 1], "", object) for name in ("history_item_id", "history_behavior")}
    many |= {"history_timestamp": np.zeros([rows, 1], np.int64), "exclude": np.empty([rows, 0], object)}
    assert "at most 10,000 rows" in ask(good(**many))[1]
    # However many items are asked for, no more come than there are.
    two = {name: np.repeat(value, 2, axis=0) for name, value in INPUTS.items()}
    assert ask(good(**two | {"k": np.array([2**31 - 1, 1], np.int32)})) == ("OK", "")


def mutated(rng, data):
    """Some bytes of a message changed, taken away or put in."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data))
        kind = rng.randrange(3)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1:
            del data[place : place + rng.randint(1, 8)]
        else:
            data[place:place] = rng.randbytes(rng.randint(1, 8))
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def test_mutated_messages_are_survived(channel, ask):
    rng, message = random.Random(7), good().SerializeToString()
    send = channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=bytes,
        response_deserializer=predict_pb2.PredictResponse.FromString,
    )
    codes = set()
    for _ in range(MUTATIONS):
        data = mutated(rng, message)
        try:
            send(data, timeout=60)
        except grpc.RpcError as error:
            codes.add(error.code().name)
            assert error.code().name in BLAMED, (data, error.code(), error.details())
    assert "INVALID_ARGUMENT" in codes and ask(good()) == ("OK", "")


def test_mutated_json_is_survived(toy_server):
    rng = random.Random(8)
    columns = {name: value.tolist() for name, value in INPUTS.items()}
    text = json.dumps({"signature_name": "recommend", "inputs": columns}).encode()
    address = f"http://127.0.0.1:{toy_server.rest_port}/v1/models/toy:predict"
    found = set()
    for data in [text] + [mutated(rng, text) for _ in range(MUTATIONS)] + [text]:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data), timeout=60) as response:
                found.add(response.status)
                json.loads(response.read())
        except urllib.error.HTTPError as error:
            found.add(error.code)
            assert error.code in (400, 404) and json.loads(error.read())["error"], data
    assert found >= {200, 400}
