"""The endpoint of Vertex AI that a pushed model is deployed to."""

import pydantic

from schemas import cloud, settings


class EndpointSpec(settings.Settings):
    """The endpoint of Vertex AI that a pushed model is deployed to, by compiled pipelines; local runs ignore it.

    Attributes:
      project: of Google Cloud.
      region: of Vertex AI, as `europe-west4`.
      name: of the endpoint, which is found by it or made, and of the Model, each version of which is a pushed one. An
        endpoint has models of one experiment alone.
      repository: of Artifact Registry, as `europe-west4-docker.pkg.dev/PROJECT/REPOSITORY`, that has
        `tensorflow/serving` in the version that follows from the lock.
      machine_type: of each replica, as Vertex AI names it.
      min_replicas: how many replicas each deployed version has at least. They cost as long as it is deployed.
      max_replicas: how many it has at most.
      accelerator: of each replica, as `NVIDIA_TESLA_T4`; None is none.
      accelerators: how many of them.
      traffic: the share of requests that the new version answers, in per cent. The rest stays with the version that
        answered most before; at 100 that one is undeployed.
      service_account: that the server runs as; None is Vertex AI's default.
      labels: of the endpoint and of the Model.
      wait_seconds: how long each upload, deployment or the like may take.
    """

    project: str = pydantic.Field(min_length=1)
    region: str = pydantic.Field(pattern=cloud.REGION)
    # An id of an endpoint and of a Model.
    name: str = pydantic.Field(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")
    repository: str = pydantic.Field(pattern=r"^[a-z0-9-]+-docker\.pkg\.dev/[^/\s]+/[^\s:@]*[^/\s:@]$")
    machine_type: str = pydantic.Field(default="n1-standard-4", min_length=1)
    min_replicas: int = pydantic.Field(default=1, ge=1)
    max_replicas: int = pydantic.Field(default=1, ge=1)
    accelerator: str | None = pydantic.Field(default=None, pattern=r"^[A-Z][A-Z0-9_]+$")
    accelerators: int = pydantic.Field(default=1, ge=1)
    traffic: int = pydantic.Field(default=100, ge=1, le=100)
    service_account: str | None = pydantic.Field(default=None, min_length=1)
    labels: cloud.Labels = {}
    wait_seconds: float = pydantic.Field(default=3600.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "EndpointSpec":
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas is at least min_replicas, {self.min_replicas}, found {self.max_replicas}"
            )
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (settings.Reads(("accelerators",), self.accelerator is not None, "accelerator"),)

    @property
    def location(self) -> str:
        """The resource name of the region, in which all is made."""
        return f"projects/{self.project}/locations/{self.region}"
