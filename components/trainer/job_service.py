"""Custom jobs of Vertex AI, by Google's own client, which is imported late."""

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from components import patience

_PROGRESS = logging.getLogger("footfall.progress")
# Between two looks at a job: the first, and the longest after it has doubled each time.
_FIRST_SECONDS, _LONGEST_SECONDS = 5.0, 60.0
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")
SUCCEEDED = "SUCCEEDED"
_CANCELLING = "CANCELLING"


def state(job: Any) -> str:
    """Of a job, as `RUNNING`."""
    return job.state.name.removeprefix("JOB_STATE_")


def ended(job: Any) -> bool:
    """Whether nothing of a job runs any more."""
    return state(job) in _ENDED


def ending(job: Any) -> bool:
    """Whether a job has ended or is about to."""
    return ended(job) or state(job) == _CANCELLING


def console(name: str) -> str:
    """The address of a job's page, which leads to its log.

    >>> console("projects/12/locations/europe-west4/customJobs/34")
    'https://console.cloud.google.com/agent-platform/locations/europe-west4/training/34?project=12'
    """
    _, project, _, region, _, job = name.split("/")
    return (
        f"https://console.cloud.google.com/agent-platform/locations/{region}/training/{job}?project={project}"
    )


class JobService:
    """The custom jobs of a project in a region.

    Args:
      parent: `projects/PROJECT/locations/REGION`.
      client: a `JobServiceClient`; None is one of the region, with the credentials of this machine.
      first_seconds, longest_seconds: between two looks at a job that is waited for.
      patient: how long an outage is waited out, see `patience.patiently`.
    """

    def __init__(
        self,
        parent: str,
        client: Any = None,
        first_seconds: float = _FIRST_SECONDS,
        longest_seconds: float = _LONGEST_SECONDS,
        patient: Mapping[str, float] | None = None,
    ):
        from google.cloud import aiplatform_v1

        self._parent, self._api = parent, aiplatform_v1
        self._client = client or aiplatform_v1.JobServiceClient(
            client_options={"api_endpoint": f"{parent.split('/')[-1]}-aiplatform.googleapis.com"}
        )
        self._seconds = first_seconds, longest_seconds
        self._patiently = patience.patiently(**(patient or {}))

    def find(self, label: str, value: str) -> list[Any]:
        """The jobs that have a label with a value, in whatever state, the newest first."""
        request = self._api.ListCustomJobsRequest(parent=self._parent, filter=f'labels.{label}="{value}"')
        found = self._client.list_custom_jobs(request=request, **self._patiently)
        return sorted(found, key=lambda job: job.create_time, reverse=True)

    def create(self, job: Mapping[str, Any]) -> Any:
        """Starts a job, by a `CustomJob` as JSON values.

        It is asked once: asked again after an answer that got lost, Vertex AI would start a second one.
        """
        from google.protobuf import json_format

        request = self._api.CreateCustomJobRequest()
        json_format.ParseDict({"parent": self._parent, "customJob": job}, request._pb)
        return self._client.create_custom_job(request=request, retry=None, timeout=patience.REQUEST_SECONDS)

    def wait(self, name: str) -> Any:
        """The job of that name, when it has ended."""
        seconds, longest = self._seconds
        said = None
        while True:
            job = self._client.get_custom_job(name=name, **self._patiently)
            if state(job) != said:
                said = state(job)
                _PROGRESS.info("custom job %s: %s; %s", name, said.lower(), console(name))
            if ended(job):
                return job
            time.sleep(seconds)
            seconds = min(2 * seconds, longest)

    def cancel(self, name: str) -> None:
        """Asks that a job be cancelled, which ends some time later; one that has ended stays as it is."""
        from google.api_core import exceptions

        _PROGRESS.info("custom job %s: cancelled by its step", name)
        with contextlib.suppress(exceptions.FailedPrecondition):
            self._client.cancel_custom_job(name=name, **self._patiently)


def connect(parent: str) -> JobService:
    """The service with the credentials of this machine; see `JobService`."""
    return JobService(parent)
