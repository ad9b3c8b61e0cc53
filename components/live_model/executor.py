"""Finds the model that is live: where models are pushed to, the sound version that answers."""

import hashlib
import json
import logging
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.dsl.io import fileio

from components import observing
from components.pusher import verify
from schemas import errors, versions
from serving import manifest, objectives, published

LIVE = "live"
# Of labels in an execution property; their names have none.
SEPARATOR = ","
_PROGRESS = logging.getLogger("footfall.progress")


class _ModelObserver(observing.Observer):
    output = LIVE

    def look(self, exec_properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """The path and the digest of the live model."""
        labels = tuple(filter(None, (exec_properties.get("labels") or "").split(SEPARATOR)))
        return look(exec_properties["base"], exec_properties["objective"], labels)


class Executor(_ModelObserver, observing.Executor):
    """Executor of LiveModel."""


class Driver(_ModelObserver, observing.Driver):
    """Driver of LiveModel, of the local runner."""


def look(base: str, objective: str, labels: Sequence[str] = ()) -> dict[str, Any]:
    """The newest sound version below a folder that servers load, which is what they answer from.

    They load every version, but where `serving.published` names some: after a rollback, no later one. A version
    whose files are not those that were pushed is left out, with a warning.

    Args:
      base: the folder with the versions, on any filesystem of TFX.
      objective: of the models that it is to be compared with.
      labels: of those models; a live model that tells more is compared by these.

    Returns:
      `path`: of the version, None where there is none; `digest`: of its files.

    Raises:
      errors.InputError: if it is no model of this objective, or does not tell these labels: nothing could be compared with
        it; if what is published cannot be read; or if the folder is a file.
    """
    if fileio.exists(base) and not fileio.isdir(base):
        raise errors.InputError(f"push.destination: models are pushed to a folder, found a file at {base}")
    found = newest(base)
    if found["path"] is not None:
        _check_objective(found["path"], objective)
        _check_labels(found["path"], labels)
    return found


def newest(base: str) -> dict[str, Any]:
    """As `look`, of any objective."""
    names = fileio.listdir(base) if fileio.exists(base) else []
    said = published.read(base) if names else None
    there = [v for v in versions.found(names) if said is None or v <= max(said.versions)]
    for version in reversed(there):
        path = posixpath.join(base, str(version))
        problem = verify.check(path)
        if problem:
            _PROGRESS.warning(
                "%s is damaged: %s: the version before it counts, if there is any",
                path,
                problem,
            )
            continue
        return {"path": path, "digest": digest(path)}
    return {"path": None, "digest": None}


def digest(path: str) -> str:
    """Tells versions apart by their content: a version may be taken away, and its number given again."""
    listed = posixpath.join(path, manifest.FILE)
    if fileio.exists(listed):
        with fileio.open(listed, "rb") as stream:
            content = stream.read()
    else:
        content = json.dumps(manifest.measure(path), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _check_objective(path: str, objective: str) -> None:
    try:
        found = objectives.of_saved_model(path)
    except errors.InputError as error:
        what = f"is no model of Footfall's ({error})"
    else:
        if found == objective:
            return
        what = f"is a model of the objective {found}"
    raise errors.InputError(
        f"push.destination: {path} is live and {what}; this experiment's objective is {objective}, and the two "
        "cannot be compared: give the experiment another name, or another push.destination"
    )


def _check_labels(path: str, labels: Sequence[str]) -> None:
    if not labels:
        return
    told = objectives.signatures_of(path)["evaluate"].outputs
    missing = [label for label in labels if label not in told]
    if missing:
        raise errors.InputError(
            f"push.destination: {path} is live and tells {', '.join(sorted(told))}; this experiment's labels are "
            f"{', '.join(labels)}, and without {', '.join(missing)} the two cannot be compared: give the experiment another "
            "name, or another push.destination"
        )
