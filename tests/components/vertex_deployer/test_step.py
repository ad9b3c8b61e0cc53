"""The step as a cluster starts it: the arguments of the compiled specification, and what Kubeflow tells and keeps."""

import json

import pytest
import yaml

pytest.importorskip("google.cloud.aiplatform_v1")

from components.pusher import executor as pusher
from components.vertex_deployer import executor, services
from pipeline import config
from pipeline.runners import kubeflow, kubeflow_step
from tests.components.vertex_deployer import vertex as vertex_lib

_ENDPOINT = {
    "project": "p",
    "region": "europe-west4",
    "name": "clicks",
    "repository": "europe-west4-docker.pkg.dev/p/mirror",
}


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """Of the compiled step, and its settings."""
    overrides = ["log.path=gs://bucket/*.csv", f"push.endpoint={json.dumps(_ENDPOINT)}"]
    experiment = config.load(config.find("ml100k-sasrec"), overrides)
    path = str(tmp_path_factory.mktemp("spec") / "spec.yaml")
    kubeflow.compile_pipeline(experiment, path, "gs://bucket/root", "x", "vertex")
    with open(path, encoding="utf-8") as stream:
        spec = yaml.safe_load(stream)
    task = spec["root"]["dag"]["tasks"]["VertexDeployer"]
    container = spec["deploymentSpec"]["executors"]["VertexDeployer_executor"]["container"]
    return container["args"], task["inputs"]["parameters"]["endpoint"]["runtimeValue"]["constant"]


@pytest.mark.parametrize("was_pushed", [True, False])
def test_the_compiled_step_deploys_what_the_pusher_tells(arguments, tmp_path, monkeypatch, was_pushed):
    vertex = vertex_lib.Vertex()
    connected = vertex.services()
    monkeypatch.setattr(services, "connect", lambda region: connected)
    monkeypatch.setattr(executor, "_BUCKET", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    version = pusher.push(str(tmp_path / "model"), str(tmp_path / "serving"))
    told = {
        "pushed": 1.0,
        "pushed_version": str(version),
        "pushed_destination": f"{tmp_path}/serving/{version}",
    }
    invocation = {
        "inputs": {
            # As open-source Kubeflow: no type, and numbers as floating point.
            "artifacts": {
                executor.PUSHED: {
                    "artifacts": [
                        {
                            "name": "3",
                            "uri": f"{tmp_path}/pushed",
                            "metadata": told if was_pushed else {"pushed": 0.0},
                        }
                    ]
                }
            },
            "parameterValues": {"endpoint": arguments[1]},
        },
        "outputs": {
            "artifacts": {
                executor.DEPLOYED: {
                    "artifacts": [
                        {
                            "uri": f"{tmp_path}/deployed",
                            "type": {"instanceSchema": "title: components.DeployedModel\ntype: object\n"},
                        }
                    ]
                }
            },
            "outputFile": f"{tmp_path}/outputs/output_metadata.json",
        },
    }
    given = [json.dumps(invocation) if one == "{{$}}" else one for one in arguments[0]]
    kubeflow_step.entrypoint.main(kubeflow_step._parse(["step", *given]))
    vertex.close()
    kept = json.loads((tmp_path / "outputs" / "output_metadata.json").read_text())
    assert kept["artifacts"][executor.DEPLOYED]["artifacts"][0]["uri"] == f"{tmp_path}/deployed"
    if was_pushed:
        assert vertex.answers("clicks") == {f"clicks-{version}": 100}
        assert (tmp_path / "deployed" / str(version) / "saved_model.pb").read_bytes() == b"graph"
    else:
        assert not vertex.calls
