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


def send(asked: Mapping[str, Any], place: Place) -> str:
    """Asks Kubeflow; returns a line that says where the run is.

    Raises:
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
        if asked["path"] == _RECURRING:
            made = client.create_recurring_run(
                **common,
                cron_expression=body["trigger"]["cron_schedule"]["cron"],
                max_concurrency=body["max_concurrency"],
                no_catchup=body["no_catchup"],
            )
            return f"recurring run {made.recurring_run_id} of {asked['experiment']} at {place.host}"
        return f"run {client.run_pipeline(**common).run_id} of {asked['experiment']} at {place.host}"
