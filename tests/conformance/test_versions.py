"""Versions that come while a server answers, and labels."""

import concurrent.futures
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving import published
from tests import reweighted
from tests.conformance import servers

OLD, BROKEN, NEW = servers.VERSION, servers.VERSION + 1, servers.VERSION + 2


@pytest.fixture(scope="module")
def second(toy, tmp_path_factory):
    """Another model with the same signatures, and the same transform graph."""
    return reweighted.copy(toy / "model", tmp_path_factory.mktemp("second") / "model")


@pytest.fixture
def versions(start, toy, tmp_path):
    if start is None:
        pytest.skip("the versions of a server elsewhere are not changed")
    (tmp_path / "versions").mkdir()
    servers.push(toy / "model", tmp_path / "versions", OLD, warm=False)
    return tmp_path / "versions"


@pytest.fixture(scope="module")
def asked(model):
    return model.requests(4)["recommend"]


@pytest.fixture(scope="module")
def expected(model, second, asked):
    """What each version answers."""
    function = tf.saved_model.load(str(second)).signatures["recommend"]
    given = {name: tf.constant(value) for name, value in asked.items()}
    found = {OLD: model.answer("recommend", asked)["item_id"], NEW: function(**given)["item_id"].numpy()}
    return {version: items.tolist() for version, items in found.items()}


def test_a_new_version_replaces_the_old_one_without_a_wrong_answer(
    start, versions, second, asked, expected, tmp_path
):
    assert expected[OLD] != expected[NEW]
    stop, seen = threading.Event(), []
    with start(versions) as endpoint:

        def ask():
            order = []
            while not stop.is_set():
                answer = endpoint.call("Predict", servers.request_of("recommend", asked))
                version = answer.model_spec.version.value
                assert tf.make_ndarray(answer.outputs["item_id"]).tolist() == expected[version]
                order.append(version)
                seen.append(version)
            # Once the new one has answered, the old one does not.
            assert order == sorted(order)

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asking = [pool.submit(ask) for _ in range(3)]
            try:
                # One that is broken comes first, and changes nothing.
                (tmp_path / "broken").mkdir()
                (tmp_path / "broken" / "saved_model.pb").write_bytes(b"broken")
                servers.push(tmp_path / "broken", versions, BROKEN)
                time.sleep(1)
                servers.push(second, versions, NEW, warm=False)
                endpoint.wait(NEW)
                endpoint.wait(OLD, "END")
                before = len(seen)
                while len(seen) < before + 10 and not any(one.done() for one in asking):
                    time.sleep(0.01)
            finally:
                stop.set()
            for one in asking:
                one.result(60)
        assert set(seen) == {OLD, NEW}
        with pytest.raises(grpc.RpcError) as caught:
            endpoint.predict("recommend", asked, version=OLD)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert endpoint.states(OLD) == {OLD: "END"}


def test_labels(start, versions, second, asked, expected):
    servers.push(second, versions, NEW, warm=False)
    published.write(str(versions), published.Published((OLD, NEW), {"stable": OLD, "canary": NEW}))
    with start(versions) as endpoint:
        endpoint.wait(OLD), endpoint.wait(NEW)

        def answered(**spec):
            return endpoint.predict("recommend", asked, **spec)["item_id"].tolist()

        assert answered() == answered(version=NEW) == answered(label="canary") == expected[NEW]
        assert answered(version=OLD) == answered(label="stable") == expected[OLD]
        path = f"/v1/models/{published.NAME}/labels/stable:predict"
        body = {name: np.vectorize(_text, otypes=[object])(v).tolist() for name, v in asked.items() if v.size}
        body["exclude"] = [[_text(item) for item in row] for row in asked["exclude"]]
        status, answer = endpoint.ask_rest("POST", path, {"signature_name": "recommend", "inputs": body})
        assert status == 200
        assert answer["outputs"]["item_id"] == [[item.decode() for item in row] for row in expected[OLD]]
        published.write(str(versions), published.Published((OLD, NEW), {"stable": NEW}))
        _until(lambda: answered(label="stable") == expected[NEW])
        published.write(str(versions), published.Published((OLD,), {"stable": OLD}))
        endpoint.wait(NEW, "END")
        assert answered() == answered(label="stable") == expected[OLD]


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _until(true):
    deadline = time.monotonic() + servers.LOAD_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
