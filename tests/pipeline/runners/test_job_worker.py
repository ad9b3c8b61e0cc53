"""A process of a custom job does what the step was to do, and leaves word of a failure."""

import json

import pytest
from tfx.types import standard_artifacts

from components.trainer import executor, handover, workers
from pipeline.runners import job_worker
from schemas import errors


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of a handover, to the second of two workers."""
    told = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv(workers.VARIABLE, json.dumps(told))
    model = standard_artifacts.Model()
    model.uri = "gs://bucket/model"
    place = str(tmp_path / "custom_job")
    handover.write(place, handover.Execution({}, {"model": [model]}, {"epochs": 3}))
    return place


def test_the_executor_is_given_what_the_step_was_given(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(executor.Executor, "Do", lambda self, *given: seen.append(given))
    job_worker.run(folder)
    ((inputs, outputs, properties),) = seen
    assert inputs == {} and outputs["model"][0].uri == "gs://bucket/model" and properties == {"epochs": 3}
    assert not handover.failures(folder)


@pytest.mark.parametrize(
    "error, failure",
    [
        (errors.InputError("loss: no"), handover.Failure(1, "loss: no", True)),
        (RuntimeError("boom\nand more"), handover.Failure(1, "RuntimeError: boom", False)),
    ],
)
def test_a_failure_is_left_for_the_step(folder, monkeypatch, error, failure):
    def fail(*_):
        raise error

    monkeypatch.setattr(executor.Executor, "Do", fail)
    with pytest.raises(type(error)):
        job_worker.run(folder)
    assert handover.failures(folder) == [failure]
    # As a process it says so by how it ends.
    ended = []
    monkeypatch.setattr(job_worker.os, "_exit", ended.append)
    job_worker.main(["--handover", folder])
    assert ended == [1]
