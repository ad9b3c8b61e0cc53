"""Vertex AI's JobService on loopback: keeps custom jobs, and lets a test say how they go on."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
from google.cloud import aiplatform_v1 as api
from google.protobuf import empty_pb2

from components.trainer import job_service

PARENT = "projects/our-project/locations/europe-west4"
State = api.JobState
_ENDED = (State.JOB_STATE_SUCCEEDED, State.JOB_STATE_FAILED, State.JOB_STATE_CANCELLED)
_FILTER = re.compile(r'labels\.(\w+)="(\w+)"')


def ends(state: State, message: str = "") -> Callable[[api.CustomJob], None]:
    """What a look at a job makes of one that ends so."""

    def look(job: api.CustomJob) -> None:
        job.state = state
        job.error = {"code": 13, "message": message} if message else None

    return look


class Service:
    """The service; to be closed.

    Attributes:
      jobs: by name, in the order in which they were made.
      cancelled: the names that cancelling was asked for.
      created: the requests.
      patient: how long those who connect from now on wait, see `components.patience`.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, api.CustomJob] = {}
        self.cancelled: list[str] = []
        self.created: list[api.CreateCustomJobRequest] = []
        # What each look at a job makes of it; a job that is being cancelled has ended at the next one.
        self.looked: Callable[[api.CustomJob], None] = lambda job: None
        self.patient: dict[str, float] = {}
        self.answer: Callable[[api.CustomJob, Any], None] = lambda job, context: None
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        methods = {
            "CreateCustomJob": (self._create, api.CreateCustomJobRequest, api.CustomJob.serialize),
            "GetCustomJob": (self._get, api.GetCustomJobRequest, api.CustomJob.serialize),
            "ListCustomJobs": (
                self._list,
                api.ListCustomJobsRequest,
                api.ListCustomJobsResponse.serialize,
            ),
            "CancelCustomJob": (
                self._cancel,
                api.CancelCustomJobRequest,
                empty_pb2.Empty.SerializeToString,
            ),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(handle, kind.deserialize, serialize)
            for name, (handle, kind, serialize) in methods.items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("google.cloud.aiplatform.v1.JobService", handlers),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        transport = api.JobServiceClient.get_transport_class("grpc")(channel=self._channel)
        self.client = api.JobServiceClient(transport=transport)

    def connect(self, parent: str) -> job_service.JobService:
        """In place of `job_service.connect`."""
        return job_service.JobService(parent, self.client, 0.01, 0.05, self.patient)

    def put(self, job: api.CustomJob) -> api.CustomJob:
        """Adds a job, which is queued unless it has a state."""
        number = len(self.jobs) + 1
        job.name = f"{PARENT}/customJobs/{number}"
        job.create_time = {"seconds": number}
        job.state = job.state or State.JOB_STATE_QUEUED
        self.jobs[job.name] = job
        return job

    def close(self) -> None:
        """Ends the service."""
        self._channel.close()
        self._server.stop(None)

    def _create(self, request: api.CreateCustomJobRequest, context: Any) -> api.CustomJob:
        self.created.append(request)
        job = self.put(api.CustomJob(request.custom_job))
        self.answer(job, context)
        return job

    def _get(self, request: api.GetCustomJobRequest, context: Any) -> api.CustomJob:
        job = self.jobs[request.name]
        if job.state == State.JOB_STATE_CANCELLING:
            job.state = State.JOB_STATE_CANCELLED
        if job.state not in _ENDED:
            self.looked(job)
        return job

    def _list(self, request: api.ListCustomJobsRequest, context: Any) -> api.ListCustomJobsResponse:
        label, value = _FILTER.fullmatch(request.filter).groups()
        found = [job for job in self.jobs.values() if job.labels.get(label) == value]
        return api.ListCustomJobsResponse(custom_jobs=found)

    def _cancel(self, request: api.CancelCustomJobRequest, context: Any) -> empty_pb2.Empty:
        job = self.jobs[request.name]
        if job.state in _ENDED:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the job has ended")
        self.cancelled.append(request.name)
        job.state = State.JOB_STATE_CANCELLING
        return empty_pb2.Empty()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in bound]


def config_of(job: api.CustomJob) -> Iterator[tuple[Any, str]]:
    """The container of each of a job's processes, and the TF_CONFIG that Vertex AI sets for it.

    The first pool is the chief and the second has the workers; there are fields that TensorFlow does not know.
    """
    pools = list(job.job_spec.worker_pool_specs)
    counts = [pool.replica_count for pool in pools]
    ports = iter(_free_ports(sum(counts)))
    cluster = {
        role: [f"127.0.0.1:{next(ports)}" for _ in range(count)]
        for role, count in zip(("chief", "worker"), counts)
    }
    for pool, (role, addresses) in zip(pools, cluster.items(), strict=True):
        for index in range(len(addresses)):
            task = {"type": role, "index": index, "cloud": "x"}
            told = {"cluster": cluster, "task": task, "job": "{}", "environment": "cloud"}
            yield pool.container_spec, json.dumps(told)


def run(job: api.CustomJob, python: str, root: pathlib.Path, folder: pathlib.Path) -> None:
    """Runs the containers of a job as processes of this machine, in a thread, and sets the job's state by their ends."""
    started = []
    for number, (container, told) in enumerate(config_of(job)):
        command = [*container.command, *container.args]
        assert command[0] == "python", command
        output = folder / f"printed-{number}.txt"
        own = {one.name: one.value for one in container.env}
        home = folder / f"home-{number}"
        home.mkdir()
        with open(output, "wb") as stream:
            started.append(
                subprocess.Popen(
                    [python, *command[1:]],
                    cwd=home,
                    env={
                        "PATH": os.defpath,
                        "HOME": str(home),
                        "PYTHONPATH": str(root),
                        **own,
                        "TF_CONFIG": told,
                    },
                    stdout=stream,
                    stderr=stream,
                )
            )
    job.state = State.JOB_STATE_RUNNING

    def watch() -> None:
        try:
            codes = [process.wait(timeout=240) for process in started]
        finally:
            for process in started:
                process.kill()
        failed = [f"workerpool{number}-0 exited with {code}" for number, code in enumerate(codes) if code]
        if failed:
            job.error = {"code": 13, "message": "; ".join(failed)}
        job.state = State.JOB_STATE_FAILED if failed else State.JOB_STATE_SUCCEEDED

    threading.Thread(target=watch, daemon=True).start()
