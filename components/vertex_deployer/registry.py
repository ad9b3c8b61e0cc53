"""The versions of one Model in Vertex AI's registry, and what their aliases say.

Vertex AI numbers versions by itself. So a version has the alias `push-V`, of the number V that the Pusher gave, and once
it is deployed `traffic-S-V`: that it got a share of S per cent. What has that mark is not given this share again, so
that a step that is run again does not undo a rollback.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from components import patience
from components.vertex_deployer import container, services, spec

DEFAULT = "default"
_PUSH = re.compile(r"push-(\d+)")
_TRAFFIC = re.compile(r"traffic-(\d+)-(\d+)")


@dataclasses.dataclass(frozen=True)
class Version:
    """A version of the Model.

    Attributes:
      id: by which Vertex AI knows it.
      push: its number among the pushed versions.
      aliases: all of them.
    """

    id: str
    push: int
    aliases: tuple[str, ...]

    @property
    def marks(self) -> list[str]:
        """The aliases that tell that it was deployed."""
        return [alias for alias in self.aliases if _TRAFFIC.fullmatch(alias)]

    def mark(self, share: int) -> str:
        """The alias that tells that it got a share of the traffic, in per cent."""
        return f"traffic-{share}-{self.push}"


def name(settings: spec.EndpointSpec) -> str:
    """The resource name of the Model."""
    return f"{settings.location}/models/{settings.name}"


def versions(settings: spec.EndpointSpec, vertex: services.Services) -> list[Version]:
    """The pushed versions; none where there is no such Model."""
    from google.api_core import exceptions

    with services.asking(f"listing the versions of Model {settings.name}"):
        try:
            listed = list(vertex.models.list_model_versions(name=name(settings), **patience.patiently()))
        except exceptions.NotFound:
            return []
    found = []
    for one in listed:
        pushes = [int(match.group(1)) for match in map(_PUSH.fullmatch, one.version_aliases) if match]
        if pushes:
            found.append(Version(one.version_id, pushes[0], tuple(one.version_aliases)))
    return found


def upload(
    settings: spec.EndpointSpec,
    vertex: services.Services,
    *,
    push: int,
    description: str,
    folder: str,
    exists: bool,
) -> Version:
    """Makes a version of the Model, and the Model where it does not exist.

    Args:
      settings: of the endpoint.
      vertex: the services.
      push: the number of the pushed version.
      description: of the version.
      folder: that holds `push/saved_model.pb`, in a bucket.
      exists: whether the Model does.

    Raises:
      services.Refused: what Vertex AI refuses.
    """
    from google.cloud import aiplatform_v1

    request = aiplatform_v1.UploadModelRequest(
        parent=settings.location,
        model=aiplatform_v1.Model(
            display_name=settings.name,
            description=f"Models of Footfall for the endpoint {settings.name}: a version for each push",
            version_aliases=[f"push-{push}"],
            version_description=description,
            artifact_uri=folder,
            container_spec=container.container(settings),
            labels=settings.labels,
        ),
    )
    if exists:
        request.parent_model = name(settings)
    else:
        # An id of its own, so that it cannot be made twice.
        request.model_id = settings.name
    with services.asking(f"uploading version {push} to Model {settings.name}"):
        operation = vertex.models.upload_model(request=request).operation
        services.wait(vertex.models, operation.name, vertex, settings.wait_seconds)
    return next(found for found in versions(settings, vertex) if found.push == push)


def mark(
    settings: spec.EndpointSpec, vertex: services.Services, version: Version, share: int, default: bool
) -> None:
    """Notes that a version has got its share.

    Args:
      settings: of the endpoint.
      vertex: the services.
      version: that was deployed.
      share: of the traffic that was asked for, in per cent.
      default: whether it is what the Model's name stands for from now on.
    """
    mark = version.mark(share)
    aliases: Sequence[str] = [
        *([DEFAULT] if default and DEFAULT not in version.aliases else []),
        *([mark] if mark not in version.aliases else []),
        *(f"-{old}" for old in version.marks if old != mark),
    ]
    if aliases:
        with services.asking(f"naming version {version.push} of Model {settings.name}"):
            vertex.models.merge_version_aliases(
                name=f"{name(settings)}@{version.id}", version_aliases=aliases
            )


def is_of(deployed: Any, settings: spec.EndpointSpec) -> bool:
    """Whether what is deployed is a version of this Model."""
    return deployed.model.partition("@")[0].rpartition("/")[2] == settings.name
