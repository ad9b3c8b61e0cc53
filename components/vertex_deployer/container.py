"""The server of an endpoint: TensorFlow Serving, of the version and with the flags that a candidate is tried with.

Not one of Vertex AI's prebuilt containers: these are for versions of TensorFlow of their own choice, and a model that
is newer than its server may not load (see `serving.server_version`).
"""

from typing import Any

from components.vertex_deployer import spec
from serving import flags, published, server_version

_COMMAND = "/usr/bin/tensorflow_model_server"
# That Vertex AI sends requests to, and that nobody does.
_REST_PORT, _GRPC_PORT = 8080, 8500
# The model of a container never changes; it is looked for again in case the bucket did not answer.
_POLL_SECONDS = 60


def image(settings: spec.EndpointSpec) -> str:
    """The server's image, in the repository of the settings."""
    return f"{settings.repository}/{server_version.image()}" + ("-gpu" if settings.accelerator else "")


def container(settings: spec.EndpointSpec) -> Any:
    """A `ModelContainerSpec`: how the server is started, and where it is asked."""
    from google.cloud import aiplatform_v1

    route = f"/v1/models/{published.NAME}"
    return aiplatform_v1.ModelContainerSpec(
        image_uri=image(settings),
        command=[_COMMAND],
        args=flags.arguments(
            port=str(_GRPC_PORT),
            rest_api_port=str(_REST_PORT),
            model_name=published.NAME,
            # Vertex AI puts its copy of the model's folder there.
            model_base_path="$(AIP_STORAGE_URI)",
            file_system_poll_wait_seconds=str(_POLL_SECONDS),
        ),
        ports=[aiplatform_v1.Port(container_port=_REST_PORT)],
        predict_route=f"{route}:predict",
        health_route=route,
    )
