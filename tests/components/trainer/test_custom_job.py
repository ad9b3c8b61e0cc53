"""The Trainer's step starts a custom job of Vertex AI, and ends as that does."""

import json
import os
import pathlib
import signal
import sys
import time

import grpc
import pytest
from google.protobuf import json_format
from tfx.types import standard_artifacts
from tfx.utils import json_utils

pytest.importorskip("google.cloud.aiplatform_v1")

from components.trainer import custom_job, handover, job_service
from pipeline import config
from pipeline.runners import custom_job as described
from schemas import errors
from tests.components.trainer import stub_training, vertex_jobs
from tests.components.trainer.vertex_jobs import State, ends

_ROOT = pathlib.Path(__file__).parents[3]
_JOB = {
    "workers": 2,
    "machine_type": "n1-standard-8",
    "accelerator": "NVIDIA_TESLA_T4",
    "accelerators": 2,
    "disk_gb": 200,
    "timeout": "12h",
    "project": "our-project",
    "region": "europe-west4",
}
_CLUSTER = {
    "service_account": "trainer@p.iam.gserviceaccount.com",
    "network": "projects/12/global/networks/ours",
    "labels": {"team": "search"},
    "env": {"TF_CPP_MIN_LOG_LEVEL": "2"},
}


def request(**job):
    settings = {**_CLUSTER, "trainer_job": {**_JOB, **job}}
    experiment = config.load(config.find("ml100k-sasrec"), [f"cluster={json.dumps(settings)}"])
    return described.request(experiment, "registry/footfall:1")


@pytest.fixture
def vertex(monkeypatch):
    service = vertex_jobs.Service()
    monkeypatch.setattr(job_service, "connect", service.connect)
    yield service
    service.close()


class Step:
    """A Trainer's step of a run whose root is a folder."""

    def __init__(self, folder, asked=None):
        self.task = folder / "run-1" / "Trainer"
        examples, graph, self.model, self.model_run = (
            kind()
            for kind in (
                standard_artifacts.Examples,
                standard_artifacts.TransformGraph,
                standard_artifacts.Model,
                standard_artifacts.ModelRun,
            )
        )
        examples.uri, graph.uri = str(folder / "examples"), str(folder / "graph")
        examples.split_names = json.dumps(["train", "eval"])
        self.model.uri, self.model_run.uri = str(self.task / "model"), str(self.task / "model_run")
        self.inputs = {"examples": [examples], "transform_graph": [graph]}
        self.outputs = {"model": [self.model], "model_run": [self.model_run]}
        self.properties = {
            "train_args": json.dumps({"splits": ["train"]}),
            "eval_args": json.dumps({"splits": ["eval"]}),
            "custom_config": json_utils.dumps({"code": "x"}),
            "run_fn": stub_training.RUN_FN,
            "epochs": 7,
            custom_job.JOB: asked or request(),
        }
        self.folder = self.task / "custom_job"

    def run(self):
        custom_job.Executor().Do(self.inputs, self.outputs, self.properties)


def test_the_request_is_one_of_the_clients_types_and_arrives_whole(vertex, tmp_path):
    vertex.looked = ends(State.JOB_STATE_SUCCEEDED)
    step = Step(tmp_path)
    step.run()
    (sent,) = vertex.created
    machine = {"machineType": "n1-standard-8", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 2}
    pool = {
        "machineSpec": machine,
        "replicaCount": "1",
        "diskSpec": {"bootDiskSizeGb": 200},
        "containerSpec": {
            "imageUri": "registry/footfall:1",
            "command": ["python", "-m", "pipeline.runners.job_worker"],
            "args": ["--handover", str(step.folder)],
            "env": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"}],
        },
    }
    found = json_format.MessageToDict(sent._pb)
    labels = found["customJob"].pop("labels")
    assert found == {
        "parent": vertex_jobs.PARENT,
        "customJob": {
            "displayName": "ml100k-sasrec Trainer",
            "jobSpec": {
                "workerPoolSpecs": [pool, pool],
                "scheduling": {"timeout": "43200s", "restartJobOnWorkerRestart": True},
                "serviceAccount": _CLUSTER["service_account"],
                "network": _CLUSTER["network"],
            },
        },
    }
    assert labels.pop("team") == "search" and set(labels) == {custom_job.RUN, custom_job.EXECUTION}
    execution = handover.read(str(step.folder))
    assert execution.properties == {k: v for k, v in step.properties.items() if k != custom_job.JOB}
    assert execution.inputs["examples"][0].split_names == step.inputs["examples"][0].split_names
    assert isinstance(execution.outputs["model"][0], standard_artifacts.Model)
    assert execution.outputs["model"][0].uri == step.model.uri


@pytest.mark.parametrize("workers, counts", [(1, [1]), (2, [1, 1]), (5, [1, 4])])
def test_the_first_pool_is_the_chief(workers, counts):
    spec = json.loads(request(workers=workers))["customJob"]["jobSpec"]
    assert [int(pool["replicaCount"]) for pool in spec["workerPoolSpecs"]] == counts
    assert spec["scheduling"].get("restartJobOnWorkerRestart", False) == (workers > 1)


def test_a_job_is_waited_for_until_it_ends(vertex, tmp_path):
    states = iter([State.JOB_STATE_PENDING, State.JOB_STATE_RUNNING, State.JOB_STATE_RUNNING])

    def look(job):
        job.state = next(states, State.JOB_STATE_SUCCEEDED)

    vertex.looked = look
    Step(tmp_path).run()
    assert next(states, None) is None and not vertex.cancelled


def test_a_look_that_takes_too_long_is_made_again(vertex, tmp_path):
    looks = []

    def look(job):
        looks.append(job.name)
        if len(looks) == 1:
            time.sleep(1)
        job.state = State.JOB_STATE_SUCCEEDED

    vertex.looked, vertex.patient = look, {"each": 0.3}
    Step(tmp_path).run()
    assert len(vertex.created) == 1 and not vertex.cancelled


@pytest.mark.parametrize(
    "state, message, words",
    [
        (State.JOB_STATE_FAILED, "out of\nquota", "failed: out of quota"),
        (State.JOB_STATE_CANCELLED, "", "cancelled"),
        (State.JOB_STATE_EXPIRED, "too slow", "expired: too slow"),
    ],
)
def test_how_a_job_fails_is_told_with_its_name_and_page(vertex, tmp_path, state, message, words):
    vertex.looked = ends(state, message)
    with pytest.raises(custom_job.JobFailed) as failed:
        Step(tmp_path).run()
    page = "https://console.cloud.google.com/agent-platform/locations/europe-west4/training/1?project=our-project"
    assert str(failed.value) == f"custom job {vertex_jobs.PARENT}/customJobs/1, {page}: {words}"


def test_what_the_processes_say_of_their_failure_is_told(vertex, tmp_path):
    step = Step(tmp_path)
    told = [handover.Failure(1, "RuntimeError: boom", False), handover.Failure(0, "Aborted: peer", False)]

    def look(job):
        for failure in told:
            handover.fail(str(step.folder), failure)
        ends(State.JOB_STATE_FAILED, "exited with 1")(job)

    vertex.looked = look
    with pytest.raises(custom_job.JobFailed, match="exited with 1; worker 0: Aborted: peer; worker 1: Runt"):
        step.run()
    told = [handover.Failure(1, "training.max_seconds: leave it out", True)]
    with pytest.raises(errors.InputError, match="^training.max_seconds: leave it out .custom job projects/"):
        step.run()
    # Of an earlier job nothing is told.
    told = []
    with pytest.raises(custom_job.JobFailed, match="exited with 1$"):
        step.run()


def test_a_step_that_is_ended_has_its_job_cancelled(vertex, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    vertex.looked = lambda job: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        Step(tmp_path).run()
    assert ended.value.code == 128 + signal.SIGTERM
    assert vertex.cancelled == list(vertex.jobs)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_job_whose_name_got_lost_is_cancelled(vertex, tmp_path):
    vertex.answer = lambda job, context: context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
    with pytest.raises(Exception, match="gone"):
        Step(tmp_path).run()
    assert len(vertex.created) == 1 and vertex.cancelled == list(vertex.jobs)


def test_an_attempt_goes_on_with_the_job_of_one_that_was_killed(vertex, tmp_path):
    vertex.looked = ends(State.JOB_STATE_SUCCEEDED)
    Step(tmp_path).run()
    (left,) = vertex.jobs.values()
    left.state = State.JOB_STATE_RUNNING
    Step(tmp_path).run()
    assert len(vertex.created) == 1 and not vertex.cancelled
    # It has succeeded, but nothing is there: it is done again.
    Step(tmp_path).run()
    assert len(vertex.created) == 2
    os.makedirs(Step(tmp_path).model.uri)
    Step(tmp_path).run()
    assert len(vertex.created) == 2


def test_an_attempt_of_other_settings_ends_the_job_before_it_starts_its_own(vertex, tmp_path):
    vertex.looked = ends(State.JOB_STATE_SUCCEEDED)
    Step(tmp_path).run()
    (left,) = vertex.jobs.values()
    left.state = State.JOB_STATE_RUNNING
    states = []

    def look(job):
        states.append(left.state)
        job.state = State.JOB_STATE_SUCCEEDED

    vertex.looked = look
    Step(tmp_path, request(machine_type="n1-standard-16")).run()
    assert vertex.cancelled == [left.name] and states == [State.JOB_STATE_CANCELLED]
    assert len(vertex.created) == 2
    # Jobs of other runs are left alone.
    vertex.put(type(left)(left, state=State.JOB_STATE_RUNNING))
    Step(tmp_path / "other").run()
    assert len(vertex.cancelled) == 1


def test_what_the_backend_has_not_filled_in_is_told(vertex, tmp_path):
    with pytest.raises(errors.InputError, match=r"in place of \{\{\$\.pipeline_google_cloud_location\}\}"):
        Step(tmp_path, request(region=None)).run()
    assert not vertex.created


def test_the_processes_of_a_job_train_together_and_the_chief_writes_the_outputs(vertex, tmp_path):
    vertex.answer = lambda job, _: vertex_jobs.run(job, sys.executable, _ROOT, tmp_path)
    step = Step(tmp_path)
    step.run()
    printed = "".join(path.read_text() for path in tmp_path.glob("printed-*.txt"))
    wrote = sorted(str(path.relative_to(step.task)) for path in step.task.rglob("*") if path.is_file())
    assert wrote == [
        "custom_job/execution.json",
        "model/Format-Serving/worker-0.json",
        "model_run/worker-0.json",
    ], printed
    # What a log of the job has.
    assert "added up by 0" in printed and "added up by 1" in printed
    told = json.loads((step.task / "model_run" / "worker-0.json").read_text())
    # 1 of the chief and 2 of the other.
    assert told["total"] == 3
    assert told["files"] == [str(tmp_path / "examples" / "Split-train" / "*")]
    assert len(told["config"].pop("owner")) == 16
    assert told["config"] == {"code": "x", "epochs": "7"}
