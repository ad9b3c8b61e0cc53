"""Versions that come while a server answers, and labels."""

import concurrent.futures
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from pipeline import publishing
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


def test_a_rollback_moves_a_label_to_a_version_that_is_not_loaded(
    start, versions, second, asked, expected, monkeypatch
):
    servers.push(second, versions, NEW, warm=False)
    published.write(str(versions), published.Published((OLD, NEW)))
    # Servers of these tests look every second.
    monkeypatch.setattr(published, "READ_SECONDS", 4.0)
    with start(versions) as endpoint:
        endpoint.wait(OLD), endpoint.wait(NEW)
        published.write(str(versions), published.Published((NEW,), {"stable": NEW}))
        endpoint.wait(OLD, "END")

        def answered(**spec):
            return endpoint.predict("recommend", asked, **spec)["item_id"].tolist()

        # In one step it is refused, with all else of the file.
        published.write(str(versions), published.Published((OLD,), {"stable": OLD}))
        time.sleep(4)
        assert endpoint.states() == {NEW: "AVAILABLE", OLD: "END"}
        assert answered() == answered(label="stable") == expected[NEW]
        published.write(str(versions), published.Published((NEW,), {"stable": NEW}))
        time.sleep(2)
        publishing.rollback(str(versions))
        endpoint.wait(NEW, "END")
        _until(lambda: _answer(lambda: answered(label="stable")) == expected[OLD])
        assert answered() == expected[OLD]
        # Nor is a later push refused, or another move of the label.
        published.write(str(versions), published.Published((OLD, NEW), {"stable": OLD}))
        endpoint.wait(NEW)
        publishing.promote(str(versions), None, "stable")
        _until(lambda: _answer(lambda: answered(label="stable")) == expected[NEW])


def _answer(ask):
    """What comes, if there is an answer: a label is of no version for a while."""
    try:
        return ask()
    except grpc.RpcError:
        return None


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _until(true):
    deadline = time.monotonic() + servers.LOAD_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
