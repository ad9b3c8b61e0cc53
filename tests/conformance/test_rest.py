"""REST: the same answers, in JSON."""

import base64
import gzip
import json
import math

import numpy as np
import pytest

from serving import published
from tests.conformance import servers

PREDICT = f"/v1/models/{published.NAME}:predict"
VERSION = f"/v1/models/{published.NAME}/versions/{servers.VERSION}"


def encoded(value):
    """A tensor as nested lists, its bytes as base64."""
    if isinstance(value, list):
        return [encoded(part) for part in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def columns(asked):
    return {name: encoded(np.asarray(value).tolist()) for name, value in asked.items()}


def by_rows(asked):
    given = columns(asked)
    return [dict(zip(given, row)) for row in zip(*given.values())]


def close(found, expected):
    for name, value in expected.items():
        if value.dtype == object:
            assert found[name] == [[item.decode() for item in row] for row in value], name
        else:
            np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("path", [PREDICT, f"{VERSION}:predict"])
def test_columns_and_rows(endpoint, model, path):
    asked = model.requests(4)["recommend"]
    expected = model.answer("recommend", asked)
    status, answer = endpoint.ask_rest(
        "POST", path, {"signature_name": "recommend", "inputs": columns(asked)}
    )
    assert status == 200
    close(answer["outputs"], expected)
    status, answer = endpoint.ask_rest(
        "POST", path, {"signature_name": "recommend", "instances": by_rows(asked)}
    )
    assert status == 200
    close({name: [row[name] for row in answer["predictions"]] for name in expected}, expected)


def test_one_input_and_one_output_need_no_name(endpoint, model):
    asked = model.requests(3)
    serialized = [encoded(example) for example in asked["serving_default"]["examples"]]
    status, answer = endpoint.ask_rest("POST", PREDICT, {"instances": serialized})
    assert status == 200 and len(answer["predictions"]) == 3
    status, answer = endpoint.ask_rest(
        "POST", PREDICT, {"signature_name": "embed", "instances": by_rows(asked["embed"])}
    )
    assert status == 200
    np.testing.assert_allclose(
        answer["predictions"], model.answer("embed", asked["embed"])["embedding"], rtol=1e-6
    )


def test_a_missing_number_is_nan(labels_endpoint, labels_model):
    asked = labels_model.requests()["predict"]
    assert any(value.dtype.kind == "f" and np.isnan(value).any() for value in asked.values())
    body = {"signature_name": "predict", "inputs": columns(asked)}
    status, answer = labels_endpoint.ask_rest("POST", PREDICT, body)
    assert status == 200
    expected = labels_model.answer("predict", asked)
    for name, value in expected.items():
        np.testing.assert_allclose(answer["outputs"][name], value, rtol=1e-6)


def body_of(model):
    asked = model.requests(2)["recommend"]
    return json.dumps({"signature_name": "recommend", "inputs": columns(asked)}).encode()


def test_gzip_and_chunks(endpoint, model):
    plain = body_of(model)
    packed = gzip.compress(plain)
    expected = endpoint.ask_rest("POST", PREDICT, plain)
    assert expected[0] == 200
    zipped = {"Content-Encoding": "gzip"}
    assert endpoint.ask_rest("POST", PREDICT, packed, zipped) == expected
    parts = (plain[at : at + 50] for at in range(0, len(plain), 50))
    chunked = {"Transfer-Encoding": "chunked"}
    assert endpoint.ask_rest("POST", PREDICT, parts, chunked, encode_chunked=True) == expected


def test_a_connection_stays(endpoint, model):
    connection, body = endpoint.connection(), body_of(model)
    first = endpoint.ask_rest("POST", PREDICT, body, connection=connection)
    assert endpoint.ask_rest("POST", PREDICT, b"{", connection=connection)[0] == 400
    assert endpoint.ask_rest("POST", PREDICT, body, connection=connection) == first
    assert first[0] == 200
    connection.close()


def test_status_and_metadata(endpoint, model):
    for path in (f"/v1/models/{published.NAME}", VERSION):
        status, answer = endpoint.ask_rest("GET", path)
        (found,) = answer["model_version_status"]
        assert status == 200 and (found["version"], found["state"]) == (str(servers.VERSION), "AVAILABLE")
        assert found["status"] == {"error_code": "OK", "error_message": ""}
        status, answer = endpoint.ask_rest("GET", f"{path}/metadata")
        assert status == 200 and answer["model_spec"]["version"] == str(servers.VERSION)
        known = answer["metadata"]["signature_def"]["signature_def"]
        assert set(known) - {"__saved_model_init_op"} == set(model.known)
        assert known["recommend"]["inputs"]["k"]["dtype"] == "DT_INT32"


@pytest.mark.parametrize(
    "method, path, code",
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/nothing", 400),
        ("GET", "/v1/models/nothing", 404),
        ("GET", "/v1/models/nothing/metadata", 404),
        ("GET", f"/v1/models/{published.NAME}/versions/8", 404),
        ("GET", f"/v1/models/{published.NAME}/versions/99999999999999999999", 400),
        ("GET", PREDICT, 400),
        ("POST", "/v1/models/nothing:predict", 404),
        ("POST", f"/v1/models/{published.NAME}/versions/8:predict", 404),
        ("POST", f"/v1/models/{published.NAME}/labels/nothing:predict", 400),
        ("POST", f"/v1/models/{published.NAME}", 400),
        ("POST", f"/v1/models/{published.NAME}:nothing", 400),
    ],
)
def test_what_is_not_there(endpoint, model, method, path, code):
    body = body_of(model) if method == "POST" else None
    assert endpoint.ask_rest(method, path, body)[0] == code


def changed(**values):
    def change(asked):
        given = columns(asked)
        given.update(values)
        return {"signature_name": "recommend", "inputs": {k: v for k, v in given.items() if v is not None}}

    return change


@pytest.mark.parametrize(
    "make",
    [
        lambda asked: {"signature_name": "nothing", "inputs": columns(asked)},
        lambda asked: {"signature_name": 5, "inputs": columns(asked)},
        lambda asked: {"signature_name": "recommend"},
        lambda asked: {"signature_name": "recommend", "instances": []},
        lambda asked: {"signature_name": "recommend", "instances": [{"history_item_id": ["i1"]}]},
        lambda asked: {"signature_name": "recommend", "instances": by_rows(asked), "inputs": columns(asked)},
        lambda asked: [],
        changed(k=None),
        changed(exclude=None),
        changed(more=[1, 2]),
        changed(k=[5.5, 5.5]),
        changed(k=[5.0, 5.0]),
        changed(k=["5", "5"]),
        changed(k=[True, True]),
        changed(k=[1 << 31, 5]),
        changed(k=[math.nan, 5]),
        changed(k=[5]),
        changed(k=[[5], [5]]),
        changed(exclude=[["a"], ["b", "c"]]),
        changed(exclude=[[1], [2]]),
        changed(exclude=[[{"b64": "?"}], [{"b64": "?"}]]),
    ],
)
def test_a_body_that_does_not_fit(endpoint, model, make):
    status, answer = endpoint.ask_rest("POST", PREDICT, make(model.requests(2)["recommend"]))
    assert status == 400 and answer["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"\xff\xfe", b'"text"'])
def test_a_body_that_is_no_object(endpoint, body):
    assert endpoint.ask_rest("POST", PREDICT, body)[0] == 400


@pytest.mark.parametrize(
    "value, code", [(20_000_000, 400), (20_000_000.0, 200), (5, 200), (1e39, 400), ("5", 400)]
)
def test_numbers_that_float32_does_not_hold(labels_endpoint, labels_model, value, code):
    given = columns(labels_model.requests(1)["predict"])
    given["item_price"] = [value]
    assert (
        labels_endpoint.ask_rest("POST", PREDICT, {"signature_name": "predict", "inputs": given})[0] == code
    )


def test_metrics(endpoint, model):
    assert endpoint.ask_rest("POST", PREDICT, body_of(model))[0] == 200
    status, text = endpoint.ask_rest("GET", "/monitoring/prometheus/metrics")
    assert status == 200
    counted = [line for line in text.splitlines() if line.startswith(":tensorflow:serving:request_count{")]
    assert any(f'model_name="{published.NAME}"' in line and 'status="OK"' in line for line in counted)
