"""The embedded server and the client, over real sockets."""

import base64
import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc

from schemas import errors, names
from serving import client as client_lib
from serving import server as server_lib
from tests import fixtures
from tests.serving import test_signatures

HISTORY = [
    {"item_id": "i1", "behavior": "view", "timestamp": 1_600_000_000_000},
    {"item_id": "i2", "behavior": "buy", "timestamp": 1_600_003_600_000},
]


@pytest.fixture
def base(toy, tmp_path):
    """A folder with version 1."""
    shutil.copytree(toy / "model", tmp_path / "models" / "1")
    return tmp_path / "models"


@pytest.fixture(scope="module")
def client(toy_server):
    with client_lib.Client(f"127.0.0.1:{toy_server.grpc_port}", "toy") as connected:
        yield connected


def rest(server, path, body=None):
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.rest_port}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_answers_are_those_of_the_saved_model(client, toy):
    served = tf.saved_model.load(str(toy / "model"))
    for window in test_signatures.WINDOWS[:4]:
        history = [
            {"item_id": i, "behavior": b, "timestamp": t}
            for i, b, t in zip(
                window[names.HISTORY_ITEM_ID], window[names.HISTORY_BEHAVIOR], window[names.HISTORY_TIMESTAMP]
            )
        ]
        (answer,) = client.recommend([history], k=4, exclude=["i3"])
        direct = test_signatures.recommend(
            served, k=4, exclude=[["i3"]], **test_signatures.histories([window])
        )
        assert answer.item_ids == [i.decode() for i in direct[names.ITEM_ID][0].numpy()]
        np.testing.assert_allclose(answer.scores, direct["score"][0], rtol=1e-6)


def test_batches_of_different_lengths(toy_server):
    histories = [HISTORY * n for n in (1, 3, 2, 1, 1)]
    with client_lib.Client(f"127.0.0.1:{toy_server.grpc_port}", "toy", max_batch=2) as small:
        answers = small.recommend(histories, k=3)
        alone = [small.recommend([history], k=3)[0] for history in histories]
    assert [a.item_ids for a in answers] == [a.item_ids for a in alone]
    assert len(answers) == 5


def test_rank_embed_metadata_and_status(client):
    (scores,) = client.rank([HISTORY], ["i5", "i6", "unknown"])
    assert scores["unknown"] == np.finfo(np.float32).min < min(scores["i5"], scores["i6"])
    assert client.embed([HISTORY, HISTORY[:1]]).shape == (2, 4)
    definition = client.metadata()["recommend"]
    assert set(definition.inputs) == {
        "history_item_id",
        "history_behavior",
        "history_timestamp",
        "exclude",
        "k",
    }
    assert definition.inputs["history_timestamp"].dtype == tf.int64.as_datatype_enum
    assert client.versions() == {7: "AVAILABLE"}


@pytest.mark.parametrize(
    "name,signature,inputs,code,words",
    [
        ("other", "recommend", {}, "NOT_FOUND", "no model 'other'; this server has 'toy'"),
        ("toy", "nonsense", {}, "FAILED_PRECONDITION", "no signature 'nonsense'"),
        (
            "toy",
            "embed",
            {"history_item_id": np.array([["a"]], object)},
            "INVALID_ARGUMENT",
            "'history_behavior' is missing",
        ),
        (
            "toy",
            "recommend",
            {"item_id": np.array([["a"]], object)},
            "INVALID_ARGUMENT",
            "unknown input 'item_id'; the history's is history_item_id; recommend takes exclude, history_behavior,",
        ),
        ("toy", "serving_default", {"wrong": np.zeros(1)}, "INVALID_ARGUMENT", "unknown input 'wrong'"),
        ("toy", "serving_default", {"examples": np.zeros(1)}, "INVALID_ARGUMENT", "'examples' wants string"),
        (
            "toy",
            "serving_default",
            {"examples": np.array([["a"]], object)},
            "INVALID_ARGUMENT",
            "wants shape (None,), found (1, 1)",
        ),
        (
            "toy",
            "serving_default",
            {"examples": np.array(["\x01broken"], object)},
            "INVALID_ARGUMENT",
            "Could not parse example",
        ),
    ],
)
def test_errors_name_what_was_wrong(toy_server, name, signature, inputs, code, words):
    with client_lib.Client(f"127.0.0.1:{toy_server.grpc_port}", name) as other:
        with pytest.raises(grpc.RpcError) as caught:
            other.predict(signature, inputs)
    assert caught.value.code().name == code and words in caught.value.details()


def test_history_without_a_feature_is_named(client):
    with pytest.raises(ValueError, match="history 1, event 0: behavior is missing"):
        client.recommend([HISTORY, [{"item_id": "i1", "timestamp": 1}]])


def test_a_port_that_is_taken_is_named(base, toy_server):
    for ports, option in (
        ((toy_server.grpc_port, 0), "--grpc-port"),
        ((0, toy_server.rest_port), "--rest-port"),
    ):
        with pytest.raises(errors.InputError, match=f"127.0.0.1:{max(ports)} is not to be had.*{option}"):
            server_lib.Server(str(base), "toy", *ports)


def test_whole_numbers_may_stand_for_ids(client):
    whole, text = ([[{**HISTORY[0], "item_id": item}]] for item in (5, "5"))
    assert client.recommend(whole, k=3)[0].item_ids == client.recommend(text, k=3)[0].item_ids
    with pytest.raises(ValueError, match="history 0, event 0: item_id is a text, found None"):
        client.recommend([[{**HISTORY[0], "item_id": None}]], k=3)


def test_health(toy_server):
    with grpc.insecure_channel(f"127.0.0.1:{toy_server.grpc_port}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert rest(toy_server, "/healthz") == (200, {"status": "ok"})


def test_a_server_without_a_model_is_not_healthy_until_it_has_one(base, tmp_path):
    with server_lib.Server(str(tmp_path), "toy", 0, 0, poll_seconds=0.05) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:

            def status():
                stub = health_pb2_grpc.HealthStub(channel)
                return stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status

            assert (
                status() == health_pb2.HealthCheckResponse.NOT_SERVING and rest(server, "/healthz")[0] == 503
            )
            shutil.copytree(base, tmp_path, dirs_exist_ok=True)
            for _ in range(600):
                if status() == health_pb2.HealthCheckResponse.SERVING:
                    break
                time.sleep(0.1)
            assert status() == health_pb2.HealthCheckResponse.SERVING and rest(server, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "path,body,status,words",
    [
        ("/v1/models/toy:predict", b"{", 400, "not JSON"),
        ("/v1/models/toy:predict", {}, 400, "either 'instances' or 'inputs'"),
        ("/v1/models/toy:predict", {"instances": []}, 400, "at least one row"),
        ("/v1/models/other:predict", {"instances": ["x"]}, 404, "no model 'other'"),
        ("/v1/models/toy/versions/9:predict", {"instances": ["x"]}, 404, "version 9 is not loaded"),
        ("/v1/models/toy:predict", {"signature_name": "x", "instances": ["x"]}, 400, "no signature"),
        (
            "/v1/models/toy:predict",
            {"signature_name": [1], "instances": ["x"]},
            400,
            "'signature_name' is a text",
        ),
        ("/v1/models/toy:predict", {"instances": [{"b64": 5}]}, 400, "'b64' is not base64"),
        ("/v1/models/toy:predict", {"instances": [{"b64": "9PX2"}]}, 400, "cannot be read"),
        ("/v1/models/toy:classify", {}, 400, "nothing at"),
        ("/v1/models/toy:predict", b" " * (1 << 21), 413, "at most 1048576 bytes"),
    ],
)
def test_rest_errors(toy_server, path, body, status, words):
    found, answer = rest(toy_server, path, body)
    assert found == status and words in answer["error"]


def test_bytes_keep_the_zeros_at_their_end(toy_server, client):
    """As a serialized example has that ends with a number; here, with a part that is empty."""
    example = fixtures.serialize(test_signatures.WINDOWS[0]) + b"\x0a\0"
    assert tf.train.Example.FromString(example).features.feature
    expected = client.predict("serving_default", {"examples": np.array([example], object)})
    given = client.predict("serving_default", {"examples": [example]})
    np.testing.assert_array_equal(given["item_id"], expected["item_id"])
    encoded = base64.b64encode(example).decode()
    status, answer = rest(toy_server, "/v1/models/toy:predict", {"instances": [{"b64": encoded}]})
    assert status == 200 and len(answer["predictions"]) == 1


@pytest.mark.parametrize("length", ["-1", "many"])
def test_a_length_that_is_none_is_answered(toy_server, length):
    connection = http.client.HTTPConnection("127.0.0.1", toy_server.rest_port, timeout=20)
    connection.putrequest("POST", "/v1/models/toy:predict")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 400 and "Content-Length is a number" in json.loads(answer.read())["error"]
    connection.close()


def test_a_request_over_the_size_is_refused(toy_server):
    with client_lib.Client(f"127.0.0.1:{toy_server.grpc_port}", "toy") as big:
        with pytest.raises(grpc.RpcError) as caught:
            big.predict("serving_default", {"examples": np.array(["x" * (2 << 20)], object)})
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_batch_has_as_many_rows_as_a_server_takes(toy_server):
    """Rows and candidates, items to recommend, bytes of a request."""
    address = f"127.0.0.1:{toy_server.grpc_port}"
    histories, items = [HISTORY] * 101, [f"i{number}" for number in range(100)]
    with client_lib.Client(address, "toy", timeout_s=60) as asking:
        found = asking.rank(histories, items)
        assert len(found) == 101 and list(found[-1]) == items and found == found[:1] * 101
        assert len(asking.recommend(histories[:5], k=1 << 20)) == 5
    # The server of these tests takes 1 MB, and so much is said by the client, too.
    many = [f"left out {number}" for number in range(2000)]
    for most in (1 << 20, 16 << 20):
        with client_lib.Client(address, "toy", timeout_s=60, max_message_bytes=most) as asking:
            found = asking.recommend(histories, k=3, exclude=many)
            assert len(found) == 101 and found == asking.recommend(histories[:1], k=3) * 101
            with pytest.raises(grpc.RpcError, match="larger than max"):
                asking.recommend(histories, k=3, exclude=many * 40)


def test_a_full_queue_refuses_at_once_and_the_client_comes_back(base):
    with server_lib.Server(str(base), "toy", workers=1, max_pending=2) as server:
        model = server.store.model
        release, entered = threading.Event(), threading.Event()

        class Slow:
            version, functions = model.version, model.functions

            def predict(self, name, inputs):
                entered.set()
                release.wait(60)
                return model.predict(name, inputs)

        server.store._loaded = {model.version: Slow()}
        address = f"127.0.0.1:{server.grpc_port}"
        example = {"examples": np.array([fixtures.serialize(test_signatures.WINDOWS[0])], object)}
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            with client_lib.Client(address, "toy", timeout_s=60) as patient:
                waiting = [pool.submit(patient.predict, "serving_default", example) for _ in range(2)]
                assert entered.wait(10)
                # The second one may still be on its way; then this one waits in its place.
                codes, deadline = [], time.monotonic() + 20
                while grpc.StatusCode.RESOURCE_EXHAUSTED not in codes and time.monotonic() < deadline:
                    with client_lib.Client(address, "toy", timeout_s=0.3) as hasty:
                        with pytest.raises(grpc.RpcError) as caught:
                            hasty.predict("serving_default", example)
                    codes.append(caught.value.code())
                assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
                retried = pool.submit(patient.predict, "serving_default", example)
                time.sleep(0.3)
                release.set()
                assert all("score" in f.result(20) for f in (*waiting, retried))


def test_no_version_is_unavailable_until_one_comes(toy, tmp_path):
    (tmp_path / "empty").mkdir()
    with server_lib.Server(str(tmp_path / "empty"), "toy", poll_seconds=0.05) as server:
        assert rest(server, "/healthz")[0] == 503
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", "toy", timeout_s=0.3) as one:
            with pytest.raises(grpc.RpcError) as caught:
                one.versions()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        # A version of which half has come is tried, and tried again when there is more of it.
        graph, coming = (toy / "model" / "saved_model.pb").read_bytes(), tmp_path / "empty" / "5"
        coming.mkdir()
        (coming / "saved_model.pb").write_bytes(graph[: len(graph) // 2])
        server.store.refresh()
        assert rest(server, "/healthz")[0] == 503
        shutil.copytree(toy / "model", coming, dirs_exist_ok=True)
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", "toy", timeout_s=90) as one:
            deadline = time.monotonic() + 90
            while one.versions() != {5: "AVAILABLE"}:
                assert one.versions()[5] in ("END", "AVAILABLE") and time.monotonic() < deadline
                time.sleep(0.05)


def test_a_process_of_its_own_stops_when_asked(base):
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.server", str(base), "--grpc-port", "0", "--rest-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(server_lib.__file__))),
        },
    )
    try:
        line = process.stdout.readline()
        ready = json.loads(line.removeprefix(server_lib.READY))
        assert ready["version"] == 1
        with client_lib.Client(f"127.0.0.1:{ready['grpc_port']}") as one:
            assert one.recommend([HISTORY], k=2)[0].item_ids
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
