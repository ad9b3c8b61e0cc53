"""An endpoint: finding or making it, and changing what is deployed there."""

from collections.abc import Mapping
from typing import Any

from components import patience
from components.vertex_deployer import registry, services, spec
from schemas import errors


def machine(settings: spec.EndpointSpec) -> Any:
    """A `MachineSpec`: what each replica runs on.

    Raises:
      errors.InputError: if Google's client does not know the type of accelerator.
    """
    from google.cloud import aiplatform_v1

    found = aiplatform_v1.MachineSpec(machine_type=settings.machine_type)
    if settings.accelerator:
        known = aiplatform_v1.AcceleratorType.__members__
        if settings.accelerator not in known:
            raise errors.InputError(
                f"push.endpoint.accelerator: must be one of {', '.join(list(known)[1:])}, found {settings.accelerator}"
            )
        found.accelerator_type = known[settings.accelerator]
        found.accelerator_count = settings.accelerators
    return found


def find(settings: spec.EndpointSpec, vertex: services.Services) -> Any:
    """The `Endpoint` of that display name; None where there is none.

    Raises:
      errors.InputError: if there are several, or it has a model of another kind.
    """
    with services.asking(f"looking for endpoint {settings.name}"):
        listed = vertex.endpoints.list_endpoints(
            request={"parent": settings.location, "filter": f'display_name="{settings.name}"'},
            **patience.patiently(),
        )
        found = [endpoint for endpoint in listed if endpoint.display_name == settings.name]
    if len(found) > 1:
        names = ", ".join(sorted(endpoint.name for endpoint in found))
        raise errors.InputError(
            f"push.endpoint.name: one endpoint of {settings.project} in {settings.region} has the name "
            f"{settings.name}, found {len(found)}: {names}; delete or rename all but one"
        )
    if not found:
        return None
    foreign = [
        one.display_name or one.id for one in found[0].deployed_models if not registry.is_of(one, settings)
    ]
    if foreign:
        raise errors.InputError(
            f"push.endpoint.name: {found[0].name} must have versions of the Model {settings.name} alone, found "
            f"{', '.join(foreign)}: choose another name, or undeploy them"
        )
    return found[0]


def make(settings: spec.EndpointSpec, vertex: services.Services) -> Any:
    """A new `Endpoint`, of an id of its own, so that it cannot be made twice.

    Raises:
      services.Refused: what Vertex AI refuses.
    """
    from google.cloud import aiplatform_v1

    with services.asking(f"making endpoint {settings.name}"):
        request = aiplatform_v1.CreateEndpointRequest(
            parent=settings.location,
            endpoint_id=settings.name,
            endpoint=aiplatform_v1.Endpoint(
                display_name=settings.name,
                description="Made by Footfall, which deploys what it pushes",
                labels=settings.labels,
            ),
        )
        operation = vertex.endpoints.create_endpoint(request=request).operation
        services.wait(vertex.endpoints, operation.name, vertex, settings.wait_seconds)
    return find(settings, vertex)


def state(endpoint: Any) -> str:
    """Who answers, in words."""
    names = {one.id: one.display_name or one.id for one in endpoint.deployed_models}
    shares = [f"{names.get(name, name)} {share} %" for name, share in endpoint.traffic_split.items() if share]
    return ", ".join(shares) or "nothing answers"


def deploy(
    settings: spec.EndpointSpec,
    vertex: services.Services,
    endpoint: Any,
    version: registry.Version,
    split: Mapping[str, int],
) -> None:
    """Deploys a version; the traffic moves when it is ready to answer.

    Args:
      settings: of the endpoint.
      vertex: the services.
      endpoint: an `Endpoint`.
      version: of the Model.
      split: of `traffic.split`, with `traffic.NEW` for the version.

    Raises:
      services.Refused: what Vertex AI refuses, with who answers as before.
    """
    from google.cloud import aiplatform_v1

    deployed = aiplatform_v1.DeployedModel(
        model=f"{registry.name(settings)}@{version.id}",
        display_name=f"{settings.name}-{version.push}",
        dedicated_resources=aiplatform_v1.DedicatedResources(
            machine_spec=machine(settings),
            min_replica_count=settings.min_replicas,
            max_replica_count=settings.max_replicas,
        ),
        service_account=settings.service_account or "",
    )
    what = f"deploying version {version.push} to endpoint {settings.name} (as before: {state(endpoint)})"
    with services.asking(what):
        operation = vertex.endpoints.deploy_model(
            endpoint=endpoint.name, deployed_model=deployed, traffic_split=split
        ).operation
        services.wait(vertex.endpoints, operation.name, vertex, settings.wait_seconds)


def move(
    settings: spec.EndpointSpec, vertex: services.Services, endpoint: Any, split: Mapping[str, int]
) -> None:
    """Moves the traffic among what is deployed.

    Raises:
      services.Refused: what Vertex AI refuses; also if the endpoint was changed since it was read.
    """
    from google.cloud import aiplatform_v1
    from google.protobuf import field_mask_pb2

    changed = aiplatform_v1.Endpoint(name=endpoint.name, traffic_split=split, etag=endpoint.etag)
    with services.asking(f"moving the traffic of endpoint {settings.name} (as before: {state(endpoint)})"):
        vertex.endpoints.update_endpoint(
            endpoint=changed, update_mask=field_mask_pb2.FieldMask(paths=["traffic_split"])
        )


def undeploy_idle(settings: spec.EndpointSpec, vertex: services.Services, endpoint: Any) -> list[str]:
    """Undeploys what has no traffic, which costs as long as it is deployed.

    Of an endpoint that has no traffic at all, as one that somebody has halted, nothing is undeployed.

    Returns:
      The names of what was undeployed.

    Raises:
      services.Refused: what Vertex AI refuses.
    """
    if not any(endpoint.traffic_split.values()):
        return []
    idle = [one for one in endpoint.deployed_models if not endpoint.traffic_split.get(one.id, 0)]
    for one in idle:
        with services.asking(
            f"undeploying {one.display_name or one.id}, which has no traffic, from endpoint {settings.name}"
        ):
            operation = vertex.endpoints.undeploy_model(
                endpoint=endpoint.name, deployed_model_id=one.id
            ).operation
            services.wait(vertex.endpoints, operation.name, vertex, settings.wait_seconds)
    return [one.display_name or one.id for one in idle]
