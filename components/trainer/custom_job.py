"""The Trainer's step where it trains in a custom job of Vertex AI: starts the job, waits for it, and tells how it ended.

At most one job of a run's Trainer trains at a time:

- A step that ends before its job, by a signal or an error, has the job cancelled.
- A step that was killed outright cannot. So every job carries a label of its run, and one of what exactly it was given.
  The next attempt goes on to wait for a job that was given the same, and has any other cancelled, and waits for its
  end, before it starts its own.
"""

import contextlib
import copy
import hashlib
import json
import logging
import posixpath
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs

from components.trainer import handover, job_service
from schemas import errors

# The execution property with the `CreateCustomJobRequest`, which the job itself does not get.
JOB = "custom_job"
RUN, EXECUTION = "footfall_run", "footfall_execution"
_PLACEHOLDER = re.compile(r"\{\{\$\.\w+\}\}")
# Beside the outputs of the step.
_FOLDER = "custom_job"
# Of a label's 63 characters.
_DIGEST = 40
# How a process ends that a signal has ended.
_SIGNALLED = 128


class JobFailed(RuntimeError):
    """A custom job did not train a model; the message says why, its name, and where its log is."""


class Executor(base_executor.BaseExecutor):
    """Has a custom job do what `executor.Executor` does, with the same outputs at the same places."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains in a custom job.

        Raises:
          errors.InputError: if the user's input is why the job failed, or the backend does not tell what it should.
          JobFailed: if it failed otherwise, was cancelled, or took too long.
        """
        properties = dict(exec_properties)
        asked = _filled(properties.pop(JOB))
        execution = handover.Execution(input_dict, output_dict, properties)
        model = artifact_utils.get_single_uri(output_dict[standard_component_specs.MODEL_KEY])
        task = posixpath.dirname(model)
        folder = posixpath.join(task, _FOLDER)
        job = _job(asked["customJob"], folder, posixpath.dirname(task), execution)
        service = job_service.connect(asked["parent"])
        with _ended_by_signal():
            name = _running(service, job["labels"], model)
            if name is None:
                handover.write(folder, execution)
            done = _train(service, job, name)
        if job_service.state(done) != job_service.SUCCEEDED:
            raise _failure(done, folder)


def _filled(request: str) -> dict[str, Any]:
    """A `CreateCustomJobRequest`, in which nothing is left for the backend to fill in."""
    left = _PLACEHOLDER.search(request)
    if left:
        raise errors.InputError(
            f"cluster.trainer_job: the backend has put nothing in place of {left.group()}: set "
            "cluster.trainer_job.project, cluster.trainer_job.region and cluster.service_account"
        )
    return json.loads(request)


def _job(described: dict[str, Any], folder: str, run: str, execution: handover.Execution) -> dict[str, Any]:
    """A `CustomJob` with what only a run knows: where it finds its execution, and labels that tell it from others."""
    job = copy.deepcopy(described)
    for pool in job["jobSpec"]["workerPoolSpecs"]:
        pool["containerSpec"]["args"] = ["--handover", folder]
    given = {
        "job": job,
        # Not the artifacts themselves: another attempt may know them by other numbers.
        "inputs": _places(execution.inputs),
        "outputs": _places(execution.outputs),
        "properties": execution.properties,
    }
    job["labels"] = {
        **job["labels"],
        RUN: _digest(run),
        EXECUTION: _digest(json.dumps(given, sort_keys=True, default=str)),
    }
    return job


def _places(artifacts: dict[str, list[Any]]) -> dict[str, list[str]]:
    return {key: [artifact.uri for artifact in listed] for key, listed in artifacts.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]


def _running(service: job_service.JobService, labels: dict[str, str], model: str) -> str | None:
    """The job of an earlier attempt that does, or has done, the same; all others of the run are ended."""
    adopted = None
    for found in service.find(RUN, labels[RUN]):
        state = job_service.state(found)
        same = adopted is None and found.labels.get(EXECUTION) == labels[EXECUTION]
        if state == job_service.SUCCEEDED:
            if same and fileio.exists(model):
                adopted = found.name
        elif same and not job_service.ending(found):
            adopted = found.name
        elif not job_service.ended(found):
            service.cancel(found.name)
            service.wait(found.name)
    return adopted


def _train(service: job_service.JobService, job: dict[str, Any], name: str | None) -> Any:
    """The job when it has ended. Whatever ends the waiting before has it cancelled.

    Args:
      name: of the job that runs; None starts one.
    """
    try:
        if name is None:
            name = service.create(job).name
        return service.wait(name)
    except BaseException:
        try:
            # Without a name the answer may have got lost, and the job started all the same.
            label = job["labels"][EXECUTION]
            for started in [name] if name else [found.name for found in service.find(EXECUTION, label)]:
                service.cancel(started)
        except Exception:
            logging.getLogger("footfall").exception("the custom job may still run: see %s", job["labels"])
        raise


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Has SIGTERM, by which a cluster ends a step, raise `SystemExit` within."""

    def end(number: int, _: Any) -> None:
        raise SystemExit(_SIGNALLED + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _failure(job: Any, folder: str) -> Exception:
    """What to raise for a job that has not succeeded."""
    told = handover.failures(folder)
    place = f"custom job {job.name}, {job_service.console(job.name)}"
    for failure in told:
        if failure.is_input:
            return errors.InputError(f"{failure.message} ({place})")
    causes = [f"worker {failure.worker}: {failure.message}" for failure in told]
    if job.error.message:
        causes.insert(0, " ".join(job.error.message.split()))
    end = f"{place}: {job_service.state(job).lower()}"
    logging.getLogger("footfall").error("%s: %s", end, "; ".join(causes))
    return JobFailed(": ".join([end, "; ".join(causes)]) if causes else end)
