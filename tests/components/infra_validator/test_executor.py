"""A candidate in a real server process: good, broken, slow."""

import shutil
import tempfile
import time

import pytest

from components.infra_validator import executor, spec
from tests import fixtures
from tests.components.infra_validator import in_this_process


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    fixtures.export_toy_model(str(folder), 20, behaviors=True)
    return str(folder / "model")


EXAMPLES = [fixtures.serialize(w) for w in fixtures.random_windows(8, 20, seed=2, behaviors=True)]


def test_a_good_model_is_blessed(toy):
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


def test_a_model_that_does_not_load_is_not(toy, tmp_path, monkeypatch):
    """What the server says of it is in the reason; the time that it has begins once it has said it."""
    wait, folder = executor._wait, tmp_path / "served"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def until_it_is_said(*arguments):
        deadline = time.monotonic() + 120
        while not any("does not load" in log.read_text() for log in folder.glob("*/server.log")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        wait(*arguments)

    monkeypatch.setattr(executor, "_wait", until_it_is_said)
    shutil.copytree(toy, tmp_path / "broken")
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"no graph")
    result = executor.validate(
        str(tmp_path / "broken"), EXAMPLES, spec.InfraSpec(server="embedded", load_seconds=1)
    )
    assert not result["blessed"] and result["p50_ms"] is None
    (reason,) = result["reasons"]
    assert "was not loaded within 1 s" in reason and "version 1 does not load" in reason


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
