"""Vertex AI's services: how they are reached, how long operations are waited for, and what is said of a refusal."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

from components import patience

# Seconds between two looks at an operation: the first, by how much each is longer, the longest.
_FIRST_PAUSE, _LONGER, _LONGEST_PAUSE = 1.0, 1.5, 30.0


class Refused(Exception):
    """Vertex AI did not do what it was asked; the message has its own words, and how things are now."""


@dataclasses.dataclass(frozen=True)
class Services:
    """The clients, with the credentials of the step.

    Attributes:
      models: a `ModelServiceClient`.
      endpoints: an `EndpointServiceClient`.
      first_pause: seconds until an operation is looked at again.
    """

    models: Any
    endpoints: Any
    first_pause: float = _FIRST_PAUSE


def connect(region: str, transports: Mapping[str, Any] | None = None) -> Services:
    """The services of a region.

    Args:
      region: of Vertex AI.
      transports: of the clients, by `models` and `endpoints`; by default their own, with the credentials of the step.
    """
    from google.cloud import aiplatform_v1

    def client(kind: Any, name: str) -> Any:
        if transports is not None:
            return kind(transport=transports[name])
        return kind(client_options={"api_endpoint": f"{region}-aiplatform.googleapis.com"})

    return Services(
        client(aiplatform_v1.ModelServiceClient, "models"),
        client(aiplatform_v1.EndpointServiceClient, "endpoints"),
    )


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """Says what was asked, if Vertex AI refuses it, or does not answer for longer than an outage is waited out.

    Args:
      what: was asked, as `deploying version 17`.
    """
    from google.api_core import exceptions

    try:
        yield
    except exceptions.RetryError as error:
        raise Refused(f"{what}: Vertex AI does not answer: {error}") from error
    except exceptions.GoogleAPICallError as error:
        raise Refused(f"{what}: Vertex AI says: {error}") from error


def wait(client: Any, name: str, services: Services, seconds: float) -> None:
    """Waits for a long-running operation.

    Args:
      client: one of `services`.
      name: of the operation.
      services: whose pauses are made.
      seconds: the longest time.

    Raises:
      google.api_core.exceptions.GoogleAPICallError: what the operation has failed with.
      Refused: if it is not done in time. It goes on; the next run waits for it first.
    """
    from google.api_core import exceptions
    from google.longrunning import operations_pb2

    deadline, pause = time.monotonic() + seconds, services.first_pause
    while True:
        operation = None
        try:
            operation = client.get_operation(
                operations_pb2.GetOperationRequest(name=name), timeout=patience.REQUEST_SECONDS
            )
        except exceptions.GoogleAPICallError as error:
            # A look that did not come through is no refusal.
            if not patience.passes(error):
                raise
        if operation is not None and operation.done:
            break
        if time.monotonic() + pause > deadline:
            raise Refused(
                f"{name} is not done after {seconds:g} s (push.endpoint.wait_seconds); it goes on, and the next run "
                "of this step waits for it first"
            )
        time.sleep(pause)
        pause = min(pause * _LONGER, _LONGEST_PAUSE)
    if operation.error.code:
        raise exceptions.from_grpc_status(operation.error.code, operation.error.message)


def settle(client: Any, resource: str, services: Services, seconds: float) -> None:
    """Waits for what an earlier run has started on a resource and did not see the end of, however it ends.

    Args:
      client: one of `services`.
      resource: its name; it need not be there.
      services: whose pauses are made.
      seconds: the longest time for each operation.

    Raises:
      Refused: if one is not done in time.
    """
    from google.api_core import exceptions
    from google.longrunning import operations_pb2

    page = ""
    while True:
        request = operations_pb2.ListOperationsRequest(name=resource, page_token=page)
        try:
            found = client.list_operations(request, **patience.patiently())
        except exceptions.NotFound:
            return
        for operation in found.operations:
            if not operation.done:
                # What has failed is done anew.
                with contextlib.suppress(exceptions.GoogleAPICallError):
                    wait(client, operation.name, services, seconds)
        page = found.next_page_token
        if not page:
            return
