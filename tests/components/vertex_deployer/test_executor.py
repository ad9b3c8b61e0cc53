"""What the step reads of a push and what it leaves."""

import json
import os

import pytest
from tfx.types import standard_artifacts

pytest.importorskip("google.cloud.aiplatform_v1")

import components
from components.pusher import executor as pusher
from components.vertex_deployer import artifacts, executor, services, spec
from schemas import errors
from tests.components.vertex_deployer import vertex as vertex_lib

_SETTINGS = spec.EndpointSpec(
    project="p", region="europe-west4", name="clicks", repository="europe-docker.pkg.dev/p/r"
)


@pytest.fixture
def vertex(monkeypatch):
    found = vertex_lib.Vertex()
    connected = found.services()
    monkeypatch.setattr(services, "connect", lambda region: connected)
    yield found
    found.close()


@pytest.fixture
def pushed(tmp_path):
    """A model that the Pusher has pushed."""
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "v").write_bytes(b"weights")
    base = str(tmp_path / "serving")
    version = pusher.push(str(model), base)
    artifact = standard_artifacts.PushedModel()
    artifact.uri = str(tmp_path / "pushed")
    pusher.Executor()._MarkPushed(artifact, os.path.join(base, str(version)), str(version))
    return artifact


def run(pushed, folder):
    deployed = artifacts.DeployedModel()
    deployed.uri = str(folder / "deployed")
    executor.Executor().Do(
        {executor.PUSHED: [pushed]}, {executor.DEPLOYED: [deployed]}, {"endpoint": _SETTINGS.to_json()}
    )
    return deployed.uri


def test_what_was_pushed_is_uploaded_from_a_folder_of_its_own(pushed, vertex, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "_BUCKET", str(tmp_path))
    place = run(pushed, tmp_path)
    version = pushed.get_string_custom_property("pushed_version")
    # The server looks for folders with numbers below what Vertex AI is given.
    (model,) = vertex.versions
    assert model.artifact_uri == place and sorted(os.listdir(place)) == [version, executor.REPORT]
    with open(os.path.join(place, version, "variables", "v"), "rb") as stream:
        assert stream.read() == b"weights"
    with open(os.path.join(place, executor.REPORT), encoding="utf-8") as stream:
        report = json.load(stream)
    assert report["traffic"] == {f"clicks-{version}": 100} and report["model"].endswith("/models/clicks@1")
    assert pushed.uri in model.version_description
    # Run again, it copies nothing.
    run(pushed, tmp_path / "again")
    assert os.listdir(tmp_path / "again" / "deployed") == [executor.REPORT]


def test_what_was_not_pushed_is_not_deployed(pushed, vertex, tmp_path):
    pusher.Executor()._MarkNotPushed(pushed)
    assert not os.path.exists(run(pushed, tmp_path)) and not vertex.calls


def test_what_vertex_ai_could_not_read_or_is_damaged_is_refused(pushed, vertex, tmp_path, monkeypatch):
    with pytest.raises(
        errors.InputError, match="reads models from gs:// alone, found .*choose such a --root"
    ):
        run(pushed, tmp_path)
    monkeypatch.setattr(executor, "_BUCKET", str(tmp_path))
    place = pushed.get_string_custom_property("pushed_destination")
    os.truncate(os.path.join(place, "variables", "v"), 1)
    with pytest.raises(errors.InputError, match=f"{place} is not what was pushed: variables/v has 1 bytes"):
        run(pushed, tmp_path)
    assert not vertex.versions


def test_kubeflows_steps_find_the_type_of_the_artifact():
    module, _, name = artifacts.DeployedModel.TYPE_NAME.partition(".")
    assert module == "components" and getattr(components, name) is artifacts.DeployedModel
