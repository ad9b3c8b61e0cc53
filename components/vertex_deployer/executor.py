"""Deploys what the Pusher has pushed, if it has."""

import dataclasses
import json
import logging
import posixpath
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.pusher import verify
from components.vertex_deployer import deploying, services, spec
from schemas import errors

PUSHED = "pushed_model"
DEPLOYED = "deployed_model"
REPORT = "deployment.json"
# Vertex AI reads a model from there alone.
_BUCKET = "gs://"
_PROGRESS = logging.getLogger("footfall.progress")


class Executor(base_executor.BaseExecutor):
    """Executor of VertexDeployer."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Deploys; see `deploying.deploy`. What was not pushed changes nothing.

        Raises:
          errors.InputError: if the model is in no bucket or is damaged, or as `deploying.deploy`.
          services.Refused: what Vertex AI refuses.
        """
        pushed = artifact_utils.get_single_instance(input_dict[PUSHED])
        deployed = artifact_utils.get_single_instance(output_dict[DEPLOYED])
        settings = spec.EndpointSpec.from_json(exec_properties["endpoint"])
        if pushed.get_int_custom_property("pushed") != 1:
            _PROGRESS.info("not pushed, so not deployed")
            return
        version = int(pushed.get_string_custom_property("pushed_version"))
        place = pushed.get_string_custom_property("pushed_destination")
        push = deploying.Push(
            version, f"pushed to {place}, {pushed.uri}", lambda: _folder(place, deployed.uri, version)
        )
        done = deploying.deploy(settings, push, services.connect(settings.region))
        fileio.makedirs(deployed.uri)
        with fileio.open(posixpath.join(deployed.uri, REPORT), "w") as stream:
            stream.write(json.dumps(dataclasses.asdict(done), indent=1, sort_keys=True))
        _PROGRESS.info("%s", done)


def _folder(pushed_to: str, target: str, version: int) -> str:
    """Copies a pushed version below a folder that has no other one, as TensorFlow Serving wants it.

    Args:
      pushed_to: the version's folder.
      target: the new folder.
      version: the number of the version.

    Returns:
      The new folder.

    Raises:
      errors.InputError: if it is in no bucket, or the version or its copy is not what was pushed.
    """
    if not target.startswith(_BUCKET):
        raise errors.InputError(
            f"push.endpoint: Vertex AI reads models from {_BUCKET} alone, found {target}: choose such a --root"
        )
    copy = posixpath.join(target, str(version))
    _check(pushed_to)
    io_utils.copy_dir(pushed_to, copy)
    _check(copy)
    return target


def _check(folder: str) -> None:
    problem = verify.check(folder)
    if problem:
        raise errors.InputError(f"push.endpoint: {folder} is not what was pushed: {problem}")
