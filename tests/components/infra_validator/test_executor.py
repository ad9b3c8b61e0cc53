"""A candidate in a real server process: good, broken, slow."""

import shutil

import pytest

from components.infra_validator import executor, spec
from tests import fixtures


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
    }
    assert set(result["signatures"].values()) == {"ok"}
    assert 0 < result["p50_ms"] <= result["p99_ms"]


def test_a_slow_model_is_not(toy):
    result = executor.validate(toy, EXAMPLES, spec.InfraSpec(server="embedded", requests=5, max_p50_ms=0.001))
    assert not result["blessed"]
    assert "infra.max_p50_ms allows 0.001" in result["reasons"][0]


def test_a_model_that_does_not_load_is_not(toy, tmp_path):
    shutil.copytree(toy, tmp_path / "broken")
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"no graph")
    result = executor.validate(
        str(tmp_path / "broken"), EXAMPLES, spec.InfraSpec(server="embedded", load_seconds=15)
    )
    assert not result["blessed"] and result["p50_ms"] is None
    (reason,) = result["reasons"]
    assert "was not loaded within 15 s" in reason and "version 1 does not load" in reason


def test_a_binary_that_ends_is_reported(toy, tmp_path, monkeypatch):
    """`auto` takes the binary of TensorFlow Serving where it is; this one cannot run."""
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    result = executor.validate(toy, EXAMPLES, spec.InfraSpec())
    assert result["server"] == "binary" and not result["blessed"]
    assert "the server ended with code 3; the server said: no such flag" in result["reasons"][0]
