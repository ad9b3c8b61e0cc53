"""From a pushed version to an endpoint that answers from it.

Each call leaves something that the next run of the step goes on from: what was uploaded, made, deployed or moved is
found again and not done twice. What served before is undeployed last, after the traffic has moved.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from components import patience
from components.vertex_deployer import endpoints, registry, services, spec
from components.vertex_deployer import traffic as traffic_lib


@dataclasses.dataclass(frozen=True)
class Push:
    """A pushed version.

    Attributes:
      version: its number.
      description: where it comes from.
      folder: makes a folder in a bucket that holds the SavedModel below the number of the version; called only if the
        version is to be uploaded.
    """

    version: int
    description: str
    folder: Callable[[], str]


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What came of a deployment.

    Attributes:
      endpoint: its resource name.
      model: the resource name of the version.
      traffic: the share of each version that answers, in per cent.
      undeployed: what was undeployed.
      newer: a newer pushed version that was deployed before, because of which nothing was done.
    """

    endpoint: str
    model: str
    traffic: Mapping[str, int]
    undeployed: list[str]
    newer: int | None = None

    def __str__(self) -> str:
        if self.newer is not None:
            return f"left as it is: {self.endpoint} has had version {self.newer}, which is newer"
        shares = ", ".join(f"{name} {share} %" for name, share in self.traffic.items()) or "nothing"
        gone = f"; undeployed: {', '.join(self.undeployed)}" if self.undeployed else ""
        return f"{self.endpoint} answers from {shares}{gone}"


def deploy(settings: spec.EndpointSpec, push: Push, vertex: services.Services) -> Deployment:
    """Has an endpoint answer from a pushed version, as far as the settings say.

    Args:
      settings: of the endpoint.
      push: the version.
      vertex: the services.

    Raises:
      errors.InputError: see `endpoints.machine` and `endpoints.find`.
      services.Refused: what Vertex AI refuses.
    """
    # Before anything is uploaded.
    endpoints.machine(settings)
    endpoint = _settled(settings, vertex)
    known = registry.versions(settings, vertex)
    newer = [one.push for one in known if one.push > push.version and one.marks]
    version = next((one for one in known if one.push == push.version), None)
    if newer:
        place = endpoint.name if endpoint else settings.name
        return Deployment(place, registry.name(settings), {}, [], max(newer))
    if version is None:
        version = registry.upload(
            settings,
            vertex,
            push=push.version,
            description=push.description,
            folder=push.folder(),
            exists=bool(known) or _exists(settings, vertex),
        )
    if endpoint is None:
        endpoint = endpoints.make(settings, vertex)
    if version.mark(settings.traffic) not in version.aliases:
        _give(settings, vertex, endpoint, version)
        endpoint = endpoints.find(settings, vertex)
        registry.mark(settings, vertex, version, settings.traffic, _all_of(endpoint, version))
    undeployed = endpoints.undeploy_idle(settings, vertex, endpoint)
    names = {one.id: one.display_name for one in endpoint.deployed_models}
    shares = {names[name]: share for name, share in endpoint.traffic_split.items() if share}
    return Deployment(endpoint.name, f"{registry.name(settings)}@{version.id}", shares, undeployed)


def _settled(settings: spec.EndpointSpec, vertex: services.Services) -> Any:
    """The endpoint, or None, once all that an earlier run has begun has ended."""
    made = f"{settings.location}/endpoints/{settings.name}"
    with services.asking(f"waiting for what is going on at endpoint {settings.name}"):
        services.settle(vertex.models, registry.name(settings), vertex, settings.wait_seconds)
        services.settle(vertex.endpoints, made, vertex, settings.wait_seconds)
        endpoint = endpoints.find(settings, vertex)
        if endpoint is None:
            return None
        services.settle(vertex.endpoints, endpoint.name, vertex, settings.wait_seconds)
    return endpoints.find(settings, vertex)


def _exists(settings: spec.EndpointSpec, vertex: services.Services) -> bool:
    """Whether the Model does."""
    from google.api_core import exceptions

    with services.asking(f"looking for Model {settings.name}"):
        try:
            vertex.models.get_model(name=registry.name(settings), **patience.patiently())
        except exceptions.NotFound:
            return False
    return True


def _give(
    settings: spec.EndpointSpec, vertex: services.Services, endpoint: Any, version: registry.Version
) -> None:
    """Gives a version its share of the traffic, and deploys it where it is not."""
    before = dict(endpoint.traffic_split)
    order = [one.id for one in sorted(endpoint.deployed_models, key=lambda one: one.create_time)]
    own = _deployed(endpoint, version)
    if not own:
        wanted = traffic_lib.split(before, traffic_lib.NEW, settings.traffic, order)
        endpoints.deploy(settings, vertex, endpoint, version, wanted)
        return
    wanted = traffic_lib.split(before, own, settings.traffic, order)
    if wanted != {name: share for name, share in before.items() if share}:
        endpoints.move(settings, vertex, endpoint, wanted)


def _deployed(endpoint: Any, version: registry.Version) -> str | None:
    """The id under which a version is deployed; None where it is not."""
    return next((one.id for one in endpoint.deployed_models if one.model_version_id == version.id), None)


def _all_of(endpoint: Any, version: registry.Version) -> bool:
    """Whether a version has all of the traffic."""
    return endpoint.traffic_split.get(_deployed(endpoint, version) or "", 0) == traffic_lib.ALL
