"""Submits to Kubeflow Pipelines, by its own client `kfp`."""

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import yaml

from pipeline import cluster, submitting
from pipeline.submitting.place import Place

NEEDED = ("host",)
_RUNS, _RECURRING = "/apis/v2beta1/runs", "/apis/v2beta1/recurringruns"


def request(
    job: Mapping[str, Any], settings: cluster.ClusterSpec, values: Mapping[str, Any], place: Place
) -> dict[str, Any]:
    """What Kubeflow is asked.

    Args:
      job: of `runners.kubeflow.compile_pipeline`, as JSON.
      settings: of the experiment.
      values: of the run's parameters.
      place: where to.

    Returns:
      `path` and `body` of the POST; and, since the body has the number of the experiment, which the server knows,
      `experiment` and `namespace`.
    """
    name = job["pipelineSpec"]["pipelineInfo"]["name"]
    body: dict[str, Any] = {
        "display_name": name,
        "pipeline_spec": job["pipelineSpec"],
        "runtime_config": {"parameters": dict(values)},
    }
    if settings.service_account:
        body["service_account"] = settings.service_account
    if settings.schedule:
        body.update(
            mode="ENABLE",
            max_concurrency=submitting.AT_ONCE,
            no_catchup=True,
            # Its cron begins with seconds.
            trigger={"cron_schedule": {"cron": f"0 {settings.schedule}"}},
        )
    return {
        "path": _RECURRING if settings.schedule else _RUNS,
        "experiment": name,
        "namespace": place.namespace,
        "body": body,
    }


def send(asked: Mapping[str, Any], place: Place, replace: bool = False) -> str:
    """Asks Kubeflow; returns a line that says where the run is.

    Args:
      asked: of `request`.
      place: where to.
      replace: whether a recurring run takes the place of those of its name.

    Raises:
      errors.InputError: see `submitting.start_recurring`.
      kfp_server_api.ApiException: what Kubeflow refuses.
    """
    place.need(*NEEDED)
    import kfp

    client = kfp.Client(host=place.host)
    body = asked["body"]
    experiment = client.create_experiment(asked["experiment"], namespace=asked["namespace"]).experiment_id
    with tempfile.TemporaryDirectory() as folder:
        package = os.path.join(folder, "pipeline.yaml")
        with open(package, "w", encoding="utf-8") as stream:
            yaml.safe_dump(body["pipeline_spec"], stream)
        common = {
            "experiment_id": experiment,
            "job_name": body["display_name"],
            "pipeline_package_path": package,
            "params": body["runtime_config"]["parameters"],
            "service_account": body.get("service_account"),
        }
        if asked["path"] == _RUNS:
            return f"run {client.run_pipeline(**common).run_id} of {asked['experiment']} at {place.host}"

        def start() -> str:
            made = client.create_recurring_run(
                **common,
                cron_expression=body["trigger"]["cron_schedule"]["cron"],
                max_concurrency=body["max_concurrency"],
                no_catchup=body["no_catchup"],
            )
            return f"recurring run {made.recurring_run_id} of {asked['experiment']} at {place.host}"

        earlier = _recurring(client, experiment, body["display_name"])
        return submitting.start_recurring(earlier, replace, start, client.disable_recurring_run)


def _recurring(client: Any, experiment: str, name: str) -> list[str]:
    """The numbers of the recurring runs of a name that are not disabled."""
    found: list[str] = []
    page = ""
    while True:
        listed = client.list_recurring_runs(page_token=page, page_size=100, experiment_id=experiment)
        found.extend(
            one.recurring_run_id
            for one in listed.recurring_runs or ()
            if one.display_name == name and one.status != "DISABLED" and one.mode != "DISABLE"
        )
        page = listed.next_page_token
        if not page:
            return found
