"""What Vertex AI is asked where the Trainer trains in a custom job, as far as it is known before a run.

The step fills in what only a run knows; see `components.trainer.custom_job`.
"""

import json
import math
from typing import Any

from pipeline import cluster, config

# What each of the job's processes starts.
COMMAND = ("python", "-m", "pipeline.runners.job_worker")
# Vertex AI Pipelines puts its own project, region and account in place of these.
_PROJECT = "{{$.pipeline_google_cloud_project_id}}"
_REGION = "{{$.pipeline_google_cloud_location}}"
_ACCOUNT = "{{$.pipeline_service_account}}"


def request(experiment: config.Experiment, image: str) -> str | None:
    """A `CreateCustomJobRequest` as JSON, whose containers have no arguments yet.

    The first pool is the chief, of one machine; the second has the other workers, if there are any.

    Args:
      experiment: whose `cluster.trainer_job` it is.
      image: that every process runs in, the one of the steps.

    Returns:
      The request; None where the experiment has no such job.
    """
    settings = experiment.cluster
    job = settings.trainer_job
    if job is None:
        return None
    pools = [_pool(job, settings.env, image, 1)]
    scheduling: dict[str, Any] = {}
    if job.workers > 1:
        pools.append(_pool(job, settings.env, image, job.workers - 1))
        # Workers leave and join together: the others could not go on.
        scheduling["restartJobOnWorkerRestart"] = True
    if job.timeout is not None:
        scheduling["timeout"] = f"{math.ceil(job.timeout)}s"
    spec: dict[str, Any] = {
        "workerPoolSpecs": pools,
        "serviceAccount": settings.service_account or _ACCOUNT,
    }
    if scheduling:
        spec["scheduling"] = scheduling
    if settings.network:
        spec["network"] = settings.network
    asked = {
        "parent": f"projects/{job.project or _PROJECT}/locations/{job.region or _REGION}",
        "customJob": {
            "displayName": f"{experiment.name} Trainer",
            "jobSpec": spec,
            "labels": dict(settings.labels),
        },
    }
    return json.dumps(asked, sort_keys=True)


def _pool(job: cluster.TrainerJobSpec, env: dict[str, str], image: str, machines: int) -> dict[str, Any]:
    """A `WorkerPoolSpec`."""
    machine: dict[str, Any] = {"machineType": job.machine_type}
    if job.accelerator is not None:
        machine |= {"acceleratorType": job.accelerator, "acceleratorCount": job.accelerators}
    container: dict[str, Any] = {"imageUri": image, "command": list(COMMAND)}
    if env:
        container["env"] = [{"name": name, "value": value} for name, value in sorted(env.items())]
    return {
        "machineSpec": machine,
        # A 64-bit number, which is a text in JSON.
        "replicaCount": str(machines),
        "diskSpec": {"bootDiskSizeGb": job.disk_gb},
        "containerSpec": container,
    }
