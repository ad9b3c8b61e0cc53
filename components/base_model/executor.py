"""Finds the pretrained model that a training starts from."""

import json
import posixpath
from collections.abc import Mapping
from typing import Any

from tfx.dsl.io import fileio

from components import observing
from components.live_model import executor as live_model
from schemas import errors, pushed, versions
from serving import networks, objectives

BASE = "base"
_OBJECTIVE = "user_embedding"
_SAVED = "saved_model.pb"


class _BaseObserver(observing.Observer):
    output = BASE

    def look(self, exec_properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """The path and the digest of the pretrained model, whose network has to be the one that is asked for."""
        return look(exec_properties["path"], exec_properties["asked"])


class Executor(_BaseObserver, observing.Executor):
    """Executor of BaseModel."""


class Driver(_BaseObserver, observing.Driver):
    """Driver of BaseModel, of the local runner."""


def look(path: str, asked: str) -> dict[str, Any]:
    """The pretrained model at a path.

    Args:
      path: of a version, of the folder that its versions are pushed to (the newest sound one is meant), or of the
        folder of a run that has pushed one model, wherever its experiment says; on any filesystem of TFX.
      asked: of `networks.differences`, as JSON.

    Returns:
      `path`: of the version; `digest`: of its files.

    Raises:
      errors.ModelError: if there is none, it is no model of users' embeddings, or its network is another one, as far as that is
        known without the data.
    """
    if fileio.exists(posixpath.join(path, _SAVED)):
        return _checked({"path": path, "digest": live_model.digest(path)}, asked)
    base = path if versions.found(_listed(path)) else _of_run(path) or path
    if not versions.found(_listed(base)):
        raise errors.ModelError(
            f"model.base_model: no version of a model at {base}: it takes a folder that models are pushed to, as "
            "runs/NAME/serving/NAME, or that of a run whose model was blessed"
        )
    found = live_model.newest(base)
    if found["path"] is None:
        raise errors.ModelError(f"model.base_model: every version at {base} is damaged")
    return _checked(found, asked)


def _of_run(folder: str) -> str | None:
    """Where a run has pushed its models; None of what is no run's folder, or has pushed none."""
    names = _listed(folder)
    if pushed.EXPERIMENT in names:
        with fileio.open(posixpath.join(folder, pushed.EXPERIMENT)) as stream:
            named = pushed.destination(stream.read())
        if named is not None:
            return named
    own = _listed(posixpath.join(folder, pushed.SERVING)) if pushed.SERVING in names else []
    return posixpath.join(folder, pushed.SERVING, own[0]) if len(own) == 1 else None


def _listed(path: str) -> list[str]:
    """What a folder has; nothing where there is none, or a file in its place."""
    # A bucket writes the names of folders with a slash at their end.
    return [name.rstrip("/") for name in fileio.listdir(path)] if fileio.isdir(path) else []


def _checked(found: dict[str, Any], asked: str) -> dict[str, Any]:
    path = found["path"]
    objective = objectives.of_saved_model(path)
    if objective != _OBJECTIVE:
        raise errors.ModelError(
            f"model.base_model: {path} is a model of the objective {objective}; a training starts from one of "
            f"{_OBJECTIVE}, as byb is"
        )
    networks.check(path, json.loads(asked))
    return found
