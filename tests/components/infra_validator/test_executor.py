"""A candidate in a server: good, slow, mixing; and binaries that do not serve. `test_embedded` has real processes."""

import time

import pytest

from components.infra_validator import executor, spec
from serving import flags, loaded_model
from tests import fixtures
from tests.components.infra_validator import in_this_process


@pytest.fixture(scope="module")
def toy(toy):
    return str(toy / "model")


EXAMPLES = [fixtures.serialize(w) for w in fixtures.random_windows(8, 20, seed=2, behaviors=True)]


def test_a_good_model_is_blessed(toy, monkeypatch):
    in_this_process.use(monkeypatch)
    result = executor.validate(toy, EXAMPLES, spec.InfraSpec(server="embedded", requests=20, max_p50_ms=1000))
    assert result["blessed"] and result["reasons"] == []
    assert set(result["signatures"]) == {
        "serving_default",
        "recommend",
        "rank",
        "embed",
        "transform_features",
        "evaluate",
        "training_times",
    }
    assert set(result["signatures"].values()) == {"ok"}
    assert 0 < result["p50_ms"] <= result["p99_ms"]


def test_a_slow_model_is_not(toy, monkeypatch):
    in_this_process.use(monkeypatch)
    result = executor.validate(toy, EXAMPLES, spec.InfraSpec(server="embedded", requests=5, max_p50_ms=0.001))
    assert not result["blessed"]
    assert "infra.max_p50_ms allows 0.001" in result["reasons"][0]


def test_a_binary_gets_the_flags_that_are_deployed_and_no_port(toy, tmp_path, monkeypatch):
    """It tells how it was called, and is not silenced."""
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text('#!/bin/sh\necho "$@" level=$TF_CPP_MIN_LOG_LEVEL. >&2\nexit 3\n')
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    (reason,) = executor.validate(toy, EXAMPLES, spec.InfraSpec(server="binary"))["reasons"]
    given = {**flags.FLAGS, "max_num_load_retries": "0", "port": "0"}
    assert all(f"--{name}={value} " in reason for name, value in given.items())
    assert "--grpc_socket_path=/tmp/" in reason and "level=." in reason


def test_a_server_that_mixes_requests_up_is_found(toy, monkeypatch):
    """As batching does with padding: an answer depends on what else is asked."""
    in_this_process.use(monkeypatch)
    predict, at_work = loaded_model.LoadedModel.predict, []

    def mixing(self, name, inputs):
        at_work.append(name)
        time.sleep(0.01)
        try:
            found = predict(self, name, inputs)
            return (
                {key: value[:, :-1] for key, value in found.items()} if at_work.count("rank") > 1 else found
            )
        finally:
            at_work.remove(name)

    monkeypatch.setattr(loaded_model.LoadedModel, "predict", mixing)
    result = executor.validate(toy, EXAMPLES, spec.InfraSpec(server="embedded", requests=1, max_p50_ms=1e6))
    assert not result["blessed"] and "beside other requests than alone" in result["signatures"]["rank"]


@pytest.mark.parametrize("after", [10, 60])
def test_a_server_that_does_not_answer_any_more_is_reported(toy, monkeypatch, after):
    """While it is asked one by one, and while it is timed."""
    in_this_process.use(monkeypatch)
    predict, asked = loaded_model.LoadedModel.predict, []

    def ends(self, name, inputs):
        asked.append(name)
        if len(asked) > after:
            raise loaded_model.RequestError("UNAVAILABLE", "out of memory")
        return predict(self, name, inputs)

    monkeypatch.setattr(loaded_model.LoadedModel, "predict", ends)
    result = executor.validate(toy, EXAMPLES, spec.InfraSpec(server="embedded", requests=50, max_p50_ms=1e6))
    (reason,) = [one for one in result["reasons"] if "not answer any more" in one]
    # Of a machine that is busy the client's deadline may come first.
    assert not result["blessed"] and "; the server said: " in reason


def test_a_binary_that_ends_is_reported(toy, tmp_path, monkeypatch):
    """`auto` takes the binary of TensorFlow Serving where it is; this one cannot run."""
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    result = executor.validate(toy, EXAMPLES, spec.InfraSpec())
    assert result["server"] == "binary" and not result["blessed"]
    assert "the server ended with code 3; the server said: no such flag" in result["reasons"][0]


@pytest.mark.parametrize("server", ["docker", "binary"])
def test_a_model_newer_than_the_server_is_not_tried(toy, tmp_path, monkeypatch, server):
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\n[ $1 = --version ] || exit 3\necho TensorFlow ModelServer: 2.5.1-rc1+dev\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    infra = spec.InfraSpec(server=server, image="registry/serving:2.5.1")
    result = executor.validate(toy, EXAMPLES, infra)
    (reason,) = result["reasons"]
    assert not result["blessed"] and "the server is of 2.5.1" in reason and "which is older" in reason
