"""What a compiled spec has that a cluster needs."""

import copy
import json
import pathlib

import pytest
import yaml

from pipeline import code, config
from pipeline.runners import kubeflow, kubeflow_step
from tests.pipeline import test_config


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spec")
    experiment = config.load(config.find("ml100k-sasrec"), ["log.path=gs://bucket/day-{SPAN}/*.csv"])
    written, _ = kubeflow.compile_pipeline(experiment, str(folder / "spec.yaml"), "gs://bucket/root", "x")
    with open(written, encoding="utf-8") as stream:
        return yaml.safe_load(stream)


def test_every_producer_is_a_task_before(spec):
    """Kubeflow looks producers up by their tasks' names, and waits for `dependentTasks`."""
    tasks = spec["root"]["dag"]["tasks"]
    found = set()
    for name, task in tasks.items():
        inputs = task.get("inputs", {})
        sources = [value.get("taskOutputParameter") for value in inputs.get("parameters", {}).values()]
        sources += [value.get("taskOutputArtifact") for value in inputs.get("artifacts", {}).values()]
        for source in filter(None, sources):
            assert source["producerTask"] in tasks
            assert source["producerTask"] in task["dependentTasks"]
            found.add((source["producerTask"], name))
    assert {("LogState", "BehaviorExampleGen"), ("LiveModel", "Evaluator"), ("Trainer", "Pusher")} <= found


def test_a_training_that_starts_from_the_live_model_asks_for_it(tmp_path):
    overrides = ["log.path=gs://bucket/*.csv", "training.warm_start=last_blessed"]
    experiment = config.load(config.find("ml100k-sasrec"), overrides)
    written, _ = kubeflow.compile_pipeline(experiment, str(tmp_path / "spec.yaml"), "gs://bucket/root", "x")
    with open(written, encoding="utf-8") as stream:
        task = yaml.safe_load(stream)["root"]["dag"]["tasks"]["Trainer"]
    source = task["inputs"]["parameters"]["live_model"]["taskOutputParameter"]
    assert source == {"producerTask": "LiveModel", "outputParameterKey": "live"}
    assert "LiveModel" in task["dependentTasks"]


def test_a_training_that_starts_anew_does_not_wait_for_the_live_model(spec):
    task = spec["root"]["dag"]["tasks"]["Trainer"]
    assert "live_model" not in task["inputs"]["parameters"] and "LiveModel" not in task["dependentTasks"]


@pytest.fixture(scope="module")
def spec_with_job(tmp_path_factory):
    job = "{workers: 3, machine_type: n1-standard-8, accelerator: NVIDIA_TESLA_T4}"
    overrides = ["log.path=gs://bucket/day-{SPAN}/*.csv", f"cluster.trainer_job={job}"]
    experiment = config.load(config.find("ml100k-sasrec"), overrides)
    output = str(tmp_path_factory.mktemp("spec") / "spec.yaml")
    written, _ = kubeflow.compile_pipeline(experiment, output, "gs://bucket/root", "x", "vertex")
    with open(written, encoding="utf-8") as stream:
        return yaml.safe_load(stream)


def test_a_custom_job_is_the_trainers_alone(spec, spec_with_job):
    made = copy.deepcopy(spec_with_job)
    asked = json.loads(
        made["root"]["dag"]["tasks"]["Trainer"]["inputs"]["parameters"].pop("custom_job")["runtimeValue"][
            "constant"
        ]
    )
    # What Vertex AI Pipelines fills in.
    assert asked["parent"] == (
        "projects/{{$.pipeline_google_cloud_project_id}}/locations/{{$.pipeline_google_cloud_location}}"
    )
    spec_of_job = asked["customJob"]["jobSpec"]
    assert spec_of_job["serviceAccount"] == "{{$.pipeline_service_account}}"
    assert [pool["replicaCount"] for pool in spec_of_job["workerPoolSpecs"]] == ["1", "2"]
    assert {pool["containerSpec"]["imageUri"] for pool in spec_of_job["workerPoolSpecs"]} == {"x"}
    # All else is as without it.
    del made["components"]["Trainer"]["inputDefinitions"]["parameters"]["custom_job"]
    args = made["deploymentSpec"]["executors"]["Trainer_executor"]["container"]["args"]
    theirs = spec["deploymentSpec"]["executors"]["Trainer_executor"]["container"]["args"]
    at = args.index("--executor_class_path") + 1
    assert (args[at], theirs[at]) == (
        "components.trainer.custom_job.Executor",
        "components.trainer.executor.Executor",
    )
    told = args.index("--json_serialized_inputs_spec_args") + 1
    parameters = json.loads(args[told])
    del parameters["parameters"]["custom_job"]
    assert parameters == json.loads(theirs[told])
    args[at], args[told] = theirs[at], theirs[told]
    assert made == spec


def test_the_step_that_is_compiled_starts_the_job(spec_with_job, tmp_path, monkeypatch):
    """By its own command, given what Vertex AI gives to a step."""
    pytest.importorskip("google.cloud.aiplatform_v1")
    from components.trainer import custom_job, handover, job_service
    from tests.components.trainer import vertex_jobs

    container = spec_with_job["deploymentSpec"]["executors"]["Trainer_executor"]["container"]
    execution = _on_vertex(spec_with_job, "Trainer", tmp_path / "run-1" / "Trainer")
    argv = [part.replace("{{$}}", json.dumps(execution)) for part in container["args"]]
    service = vertex_jobs.Service()
    monkeypatch.setattr(job_service, "connect", service.connect)
    ends = []
    monkeypatch.setattr(kubeflow_step.os, "_exit", ends.append)
    try:
        service.looked = vertex_jobs.ends(vertex_jobs.State.JOB_STATE_SUCCEEDED)
        kubeflow_step.main(kubeflow_step._parse(argv))
        (sent,) = service.created
        # An input that does not fit is told as by any other step.
        folder = sent.custom_job.job_spec.worker_pool_specs[0].container_spec.args[1]
        handover.fail(folder, handover.Failure(0, "loss: no", True))
        service.looked = vertex_jobs.ends(vertex_jobs.State.JOB_STATE_FAILED)
        service.jobs.clear()
        monkeypatch.setattr(handover, "write", lambda *_: None)
        kubeflow_step.main(kubeflow_step._parse(argv))
    finally:
        service.close()
    assert ends == [0, 2]
    assert sent.parent == "projects/our-project/locations/europe-west4"
    assert sent.custom_job.job_spec.service_account == "pipelines@our-project.iam.gserviceaccount.com"
    given = handover.read(folder)
    assert set(given.inputs) == {"examples", "transform_graph"}
    assert given.outputs["model"][0].uri == execution["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"]
    assert custom_job.JOB not in given.properties
    assert given.properties["run_fn"] == "trainer.task.run_fn" and given.properties["epochs"] == 60
    # The step tells Vertex AI of the outputs as ever.
    told = json.loads((tmp_path / "run-1" / "Trainer" / "executor_output.json").read_text())
    assert set(told["artifacts"]) == {"model", "model_run"}


def test_an_image_with_other_code_makes_nothing(spec, tmp_path, monkeypatch, capsys):
    """The cluster would keep it as made by the code that compiled the pipeline. A spec that does not tell its code runs."""
    execution = _on_vertex(spec, "ImportSchemaGen", tmp_path / "run-1" / "ImportSchemaGen")
    source = tmp_path / "schema.pbtxt"
    source.write_text('feature { name: "a" }')
    execution["inputs"]["parameterValues"]["schema_file"] = str(source)
    container = spec["deploymentSpec"]["executors"]["ImportSchemaGen_executor"]["container"]
    argv = [part.replace("{{$}}", json.dumps(execution)) for part in container["args"]]
    command = container["command"][len(kubeflow_step.COMMAND) :]
    (output,) = execution["outputs"]["artifacts"]["schema"]["artifacts"]
    ends = []
    monkeypatch.setattr(kubeflow_step.os, "_exit", ends.append)
    with monkeypatch.context() as other:
        other.setattr(code, "of_all", lambda: "0123")
        kubeflow_step.main(kubeflow_step._parse([*command, *argv]))
        assert ends == [2] and not pathlib.Path(output["uri"]).exists()
        assert (
            "has other code of Footfall (0123) than the pipeline was compiled by" in capsys.readouterr().err
        )
        kubeflow_step.main(kubeflow_step._parse(argv))
    kubeflow_step.main(kubeflow_step._parse([*command, *argv]))
    assert ends == [2, 0, 0] and pathlib.Path(output["uri"], "schema.pbtxt").exists()


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"eval_from": "2024-05-01", "test_from": "2024-06-01"}, ["split.eval_from, split.test_from"]),
        ({"eval_from": 0.8, "test_from": 0.9}, []),
    ],
)
def test_a_schedule_of_days_that_stay_the_same_is_warned_of(tmp_path, caplog, changes, said):
    split = {"by": ["time"], **changes}
    for schedule, lines in (("30 4 * * *", said), (None, [])):
        values = test_config.with_values(split=split, cluster={"schedule": schedule})
        experiment = test_config.load(tmp_path, values)
        caplog.clear()
        with caplog.at_level("WARNING", "footfall.progress"):
            kubeflow._warn_of_fixed_moments(experiment)
        assert [one.getMessage().split(": ")[1] for one in caplog.records] == lines


def test_a_compile_tells_of_moments_that_name_no_zone(tmp_path, caplog):
    split = "{by: [time], eval_from: 2024-05-01, test_from: 2024-06-01Z}"
    overrides = ["log.path=gs://bucket/log.csv", "log.timestamp_unit=iso8601", f"split={split}"]
    for zone, said in (("Asia/Tokyo", ["split.eval_from"]), ("UTC", [])):
        experiment = config.load(config.find("ml100k-sasrec"), [*overrides, f"log.timezone={zone}"])
        caplog.clear()
        with caplog.at_level("WARNING", "footfall.progress"):
            kubeflow.compile_pipeline(experiment, str(tmp_path / "spec.yaml"), "gs://bucket/root", "x")
        found = [one.getMessage() for one in caplog.records if "names no zone" in one.getMessage()]
        assert [sentence.split()[0] for sentence in found] == said


def test_what_an_attempt_has_left_is_no_part_of_the_next_ones_output(spec, tmp_path, monkeypatch):
    """Retries write to one place, and Beam's files are called as the number of shards is."""
    execution = _on_vertex(spec, "ImportSchemaGen", tmp_path / "run-1" / "ImportSchemaGen")
    source = tmp_path / "schema.pbtxt"
    source.write_text('feature { name: "a" }')
    execution["inputs"]["parameterValues"]["schema_file"] = str(source)
    args = spec["deploymentSpec"]["executors"]["ImportSchemaGen_executor"]["container"]["args"]
    argv = [part.replace("{{$}}", json.dumps(execution)) for part in args]
    (output,) = execution["outputs"]["artifacts"]["schema"]["artifacts"]
    ends = []
    monkeypatch.setattr(kubeflow_step.os, "_exit", ends.append)
    for _ in range(2):
        kubeflow_step.main(kubeflow_step._parse(argv))
        assert [path.name for path in pathlib.Path(output["uri"]).rglob("*")] == ["schema.pbtxt"]
        left = pathlib.Path(output["uri"], "Split-train", "part-00000-of-00002.gz")
        left.parent.mkdir()
        left.write_bytes(b"half")
    assert ends == [0, 0]


def test_what_goes_on_to_be_used_is_left(spec, spec_with_job, tmp_path, monkeypatch):
    deployed = _with_endpoint(tmp_path, "vertex")
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    cases = [
        (spec, "Trainer", {}, "model", False),
        # Another process, the chief, is at work there.
        (spec, "Trainer", cluster, "model", True),
        (spec_with_job, "Trainer", {}, "model", True),
        (deployed, "VertexDeployer", {}, "deployed_model", True),
        (deployed, "Pusher", {}, "pushed_model", False),
    ]
    for number, (of, name, tf_config, output, stays) in enumerate(cases):
        monkeypatch.setenv("TF_CONFIG", json.dumps(tf_config))
        execution = _on_vertex(of, name, tmp_path / str(number))
        left = tmp_path / str(number) / output / "saved_model.pb"
        left.parent.mkdir(parents=True)
        left.touch()
        args = of["deploymentSpec"]["executors"][f"{name}_executor"]["container"]["args"]
        executor = args[args.index("--executor_class_path") + 1]
        kubeflow_step.clear_outputs(executor, json.dumps(execution))
        assert left.exists() == stays, (name, tf_config)


def _on_vertex(spec, name, folder):
    """An `ExecutorInput` of Vertex AI, with its own values in place of its placeholders."""
    own = {
        "project_id": "our-project",
        "location": "europe-west4",
        "service_account": "pipelines@our-project.iam.gserviceaccount.com",
    }
    component = spec["components"][name]
    values = {}
    for key, source in spec["root"]["dag"]["tasks"][name]["inputs"]["parameters"].items():
        if "componentInputParameter" in source:
            source = spec["root"]["inputDefinitions"]["parameters"][source["componentInputParameter"]]
            values[key] = source["defaultValue"]
            continue
        values[key] = source["runtimeValue"]["constant"]
        for placeholder, value in own.items():
            for words in ("google_cloud_", ""):
                if isinstance(values[key], str):
                    values[key] = values[key].replace(f"{{{{$.pipeline_{words}{placeholder}}}}}", value)

    def artifacts(defined, uri):
        return {
            key: {"artifacts": [{"name": f"n/{key}", "uri": f"{uri}/{key}", "type": of["artifactType"]}]}
            for key, of in defined.get("artifacts", {}).items()
        }

    return {
        "inputs": {
            "artifacts": artifacts(component.get("inputDefinitions", {}), "gs://bucket/before"),
            "parameterValues": values,
        },
        "outputs": {
            "artifacts": artifacts(component["outputDefinitions"], folder),
            "outputFile": str(folder / "executor_output.json"),
        },
    }


def test_what_looks_at_the_world_is_in_no_cache_and_all_else_is(spec):
    tasks = spec["root"]["dag"]["tasks"]
    uncached = {name for name, task in tasks.items() if not task.get("cachingOptions", {}).get("enableCache")}
    assert uncached == {"LogState", "LiveModel", "Pusher"}


def test_a_run_may_have_another_log_span_and_number_of_epochs_and_push_nothing(spec):
    assert spec["root"]["inputDefinitions"]["parameters"] == {
        "log_path": {
            "parameterType": "STRING",
            "defaultValue": "gs://bucket/day-{SPAN}/*.csv",
            "isOptional": True,
            "description": "what is read in place of log.path",
        },
        "span": {
            "parameterType": "STRING",
            "defaultValue": "newest",
            "isOptional": True,
            "description": "the last span to read: its number, its date as 2024-05-31, or newest",
        },
        "push": {
            "parameterType": "STRING",
            "defaultValue": "yes",
            "isOptional": True,
            "description": "no measures and tries a model, and pushes it nowhere: for a run on another log or an old span",
        },
        "epochs": {
            "parameterType": "NUMBER_INTEGER",
            "defaultValue": 60,
            "isOptional": True,
            "description": "in place of training.epochs",
        },
    }
    tasks = spec["root"]["dag"]["tasks"]
    read = {
        (task, name): value["componentInputParameter"]
        for task, of in tasks.items()
        for name, value in of.get("inputs", {}).get("parameters", {}).items()
        if "componentInputParameter" in value
    }
    assert read == {
        ("LogState", "path"): "log_path",
        ("LogState", "span"): "span",
        ("AnomalyGate", "log_path"): "log_path",
        ("Trainer", "epochs"): "epochs",
        ("Pusher", "push"): "push",
    }


def test_whoever_uploads_the_spec_keeps_its_root(spec):
    """Kubeflow's own is at minio://, which TensorFlow does not read."""
    assert spec["defaultPipelineRoot"] == "gs://bucket/root/ml100k-sasrec/pipeline_root"


def test_no_task_needs_what_kubeflow_does_not_implement(spec):
    executors = spec["deploymentSpec"]["executors"]
    assert len(executors) == len(spec["root"]["dag"]["tasks"])
    for executor in executors.values():
        assert set(executor) == {"container"} and "lifecycle" not in executor["container"]
        assert executor["container"]["command"] == [*kubeflow_step.COMMAND, "--code", code.of_all()]


def test_a_step_takes_the_types_of_its_inputs_from_its_own_specification():
    """As open-source Kubeflow gives an artifact: without a type."""
    told = {"name": "7", "uri": "gs://b/other", "type": {"schemaTitle": "tfx.Model"}}
    execution = {
        "inputs": {
            "artifacts": {
                "examples": {"artifacts": [{"name": "3", "uri": "gs://b/examples", "metadata": {"span": 2}}]},
                "model": {"artifacts": [told]},
            },
            "parameterValues": {"state": "{}"},
        },
        "outputs": {"outputFile": "/tmp/kfp_outputs/output_metadata.json"},
    }
    specification = {
        "artifacts": {
            "examples": {"artifactType": {"instanceSchema": "title: tfx.Examples\n"}},
            "model": {"artifactType": {"instanceSchema": "title: tfx.Other\n"}},
        }
    }
    found = json.loads(kubeflow_step.with_types(json.dumps(execution), json.dumps(specification)))
    (examples,) = found["inputs"]["artifacts"]["examples"]["artifacts"]
    assert examples["type"] == {"instanceSchema": "title: tfx.Examples\n"} and examples["name"] == "3"
    assert found["inputs"]["artifacts"]["model"]["artifacts"] == [told]
    assert found["outputs"] == execution["outputs"]
    assert found["inputs"]["parameterValues"] == {"state": "{}"}
    del execution["inputs"]["artifacts"]
    assert json.loads(kubeflow_step.with_types(json.dumps(execution), None)) == execution


_ENDPOINT = {
    "project": "p",
    "region": "europe-west4",
    "name": "clicks",
    "repository": "europe-west4-docker.pkg.dev/p/mirror",
    "traffic": 10,
}


def _with_endpoint(folder, target):
    """The spec of an experiment whose model is deployed."""
    overrides = ["log.path=gs://bucket/day-{SPAN}/*.csv", f"push.endpoint={json.dumps(_ENDPOINT)}"]
    experiment = config.load(config.find("ml100k-sasrec"), overrides)
    path = str(folder / f"{target}.yaml")
    kubeflow.compile_pipeline(experiment, path, "gs://bucket/root", "x", target)
    with open(path, encoding="utf-8") as stream:
        return yaml.safe_load(stream)


def test_what_is_pushed_is_deployed_where_the_experiment_has_an_endpoint(spec, tmp_path):
    found = [_with_endpoint(tmp_path, target) for target in ("vertex", "kubeflow")]
    # Google Cloud is asked with the credentials of the step: any backend will do.
    assert found[0] == found[1]
    tasks = found[0]["root"]["dag"]["tasks"]
    deployer = tasks.pop("VertexDeployer")
    assert deployer["dependentTasks"] == ["Pusher"]
    assert deployer["inputs"]["artifacts"]["pushed_model"]["taskOutputArtifact"] == {
        "producerTask": "Pusher",
        "outputArtifactKey": "pushed_model",
    }
    told = deployer["inputs"]["parameters"]["endpoint"]["runtimeValue"]["constant"]
    assert {name: json.loads(told)[name] for name in _ENDPOINT} == _ENDPOINT and '"traffic": 10' in told
    executor = found[0]["deploymentSpec"]["executors"]["VertexDeployer_executor"]["container"]
    assert executor["command"][: len(kubeflow_step.COMMAND)] == list(kubeflow_step.COMMAND)
    # All else is as without it.
    assert tasks == spec["root"]["dag"]["tasks"]
