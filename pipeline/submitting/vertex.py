"""Submits to Vertex AI Pipelines, by Google's own client."""

from collections.abc import Mapping
from typing import Any

from pipeline import cluster, submitting
from pipeline.submitting.place import Place

NEEDED = ("project", "region")


def request(
    job: Mapping[str, Any], settings: cluster.ClusterSpec, values: Mapping[str, Any], place: Place
) -> dict[str, Any]:
    """What Vertex AI is asked.

    Args:
      job: of `runners.kubeflow.compile_pipeline`, as JSON.
      settings: of the experiment.
      values: of the run's parameters.
      place: where to.

    Returns:
      A `CreatePipelineJobRequest` as JSON values or, of an experiment with a schedule, a `CreateScheduleRequest`.

    Raises:
      errors.InputError: if the place has no project or region.
    """
    place.need(*NEEDED)
    parent = f"projects/{place.project}/locations/{place.region}"
    name = job["pipelineSpec"]["pipelineInfo"]["name"]
    asked: dict[str, Any] = {
        "displayName": name,
        "pipelineSpec": job["pipelineSpec"],
        "runtimeConfig": {
            "gcsOutputDirectory": job["pipelineSpec"]["defaultPipelineRoot"],
            "parameterValues": dict(values),
        },
    }
    if settings.labels:
        asked["labels"] = dict(settings.labels)
    if settings.service_account:
        asked["serviceAccount"] = settings.service_account
    if settings.network:
        asked["network"] = settings.network
    create = {"parent": parent, "pipelineJob": asked}
    if not settings.schedule:
        return create
    return {
        "parent": parent,
        "schedule": {
            "displayName": name,
            "cron": f"TZ=UTC {settings.schedule}",
            # A 64-bit number, which is a text in JSON.
            "maxConcurrentRunCount": str(submitting.AT_ONCE),
            "createPipelineJobRequest": create,
        },
    }


def send(
    asked: Mapping[str, Any],
    place: Place,
    replace: bool = False,
    transports: Mapping[str, Any] | None = None,
) -> str:
    """Asks Vertex AI; returns a line with the name of what it made.

    Args:
      asked: of `request`.
      place: where to.
      replace: whether a schedule takes the place of those of its name.
      transports: of the client's services, by `pipeline` and `schedule`; by default its own, with the credentials
        of this machine.

    Raises:
      errors.InputError: see `submitting.start_recurring`.
      google.api_core.exceptions.GoogleAPICallError: what Vertex AI refuses.
    """
    from google.cloud import aiplatform_v1
    from google.protobuf import json_format

    def client(kind: Any, name: str) -> Any:
        if transports is not None:
            return kind(transport=transports[name])
        return kind(client_options={"api_endpoint": f"{place.region}-aiplatform.googleapis.com"})

    if "schedule" in asked:
        wanted = aiplatform_v1.CreateScheduleRequest()
        json_format.ParseDict(asked, wanted._pb)
        service = client(aiplatform_v1.ScheduleServiceClient, "schedule")
        named = f'display_name="{wanted.schedule.display_name}" AND state="ACTIVE"'
        earlier = [
            found.name for found in service.list_schedules(request={"parent": wanted.parent, "filter": named})
        ]
        return submitting.start_recurring(
            earlier,
            replace,
            lambda: service.create_schedule(request=wanted).name,
            lambda name: service.pause_schedule(name=name),
        )
    job = aiplatform_v1.CreatePipelineJobRequest()
    json_format.ParseDict(asked, job._pb)
    return client(aiplatform_v1.PipelineServiceClient, "pipeline").create_pipeline_job(request=job).name
