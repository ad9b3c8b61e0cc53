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
from schemas import errors, names, versions
from serving import manifest, objectives, published

LIVE = "live"
# As execution properties, which cannot be None.
REPEATS = {None: -1, False: 0, True: 1}
# Of labels in an execution property; their names have none.
SEPARATOR = ","
_PROGRESS = logging.getLogger("footfall.progress")


class _ModelObserver(observing.Observer):
    output = LIVE

    def look(self, exec_properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """The path and the digest of the live model."""
        labels = tuple(filter(None, (exec_properties.get("labels") or "").split(SEPARATOR)))
        # Of a spec that was compiled before these were there nothing is compared.
        repeats = {number: known for known, number in REPEATS.items()}[exec_properties.get("repeats", -1)]
        kind = exec_properties.get("kind")
        return look(exec_properties["base"], exec_properties["objective"], labels, kind, repeats)


class Executor(_ModelObserver, observing.Executor):
    """Executor of LiveModel."""


class Driver(_ModelObserver, observing.Driver):
    """Driver of LiveModel, of the local runner."""


def look(
    base: str,
    objective: str,
    labels: Sequence[str] = (),
    kind: str | None = None,
    repeats: bool | None = None,
) -> dict[str, Any]:
    """The newest sound version below a folder that servers load, which is what they answer from.

    They load every version, but where `serving.published` names some: after a rollback, no later one. A version
    whose files are not those that were pushed is left out, with a warning.

    Args:
      base: the folder with the versions, on any filesystem of TFX.
      objective: of the models that it is to be compared with.
      labels: of those models; a live model that tells more is compared by these.
      kind: of their windows; None compares it with no kind.
      repeats: whether they recommend what a user has had; None compares nothing.

    Returns:
      `path`: of the version, None where there is none; `digest`: of its files.

    Raises:
      errors.InputError: if it is no model of this objective, does not tell these labels, or is measured on other windows:
        nothing could be compared with it; if what is published cannot be read; or if the folder is a file.
    """
    if fileio.exists(base) and not fileio.isdir(base):
        raise errors.InputError(f"push.destination: models are pushed to a folder, found a file at {base}")
    found = newest(base)
    if found["path"] is not None:
        _check_objective(found["path"], objective)
        signatures = objectives.signatures_of(found["path"])
        _check_labels(found["path"], signatures, labels)
        _check_windows(found["path"], signatures, kind, repeats)
    return found


def newest(base: str, tell: bool = True) -> dict[str, Any]:
    """As `look`, of any objective; warns of versions that are left out if it is to `tell`."""
    listed = fileio.listdir(base) if fileio.exists(base) else []
    said = published.read(base) if listed else None
    there = [
        v
        for v in versions.found(listed)
        if said is None or v <= max(said.versions) and v not in said.withdrawn
    ]
    for version in reversed(there):
        path = posixpath.join(base, str(version))
        problem = verify.check(path)
        if problem:
            if tell:
                _PROGRESS.warning(
                    "%s is damaged: %s: the version before it counts, if there is any", path, problem
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


def _check_labels(path: str, signatures: Mapping[str, Any], labels: Sequence[str]) -> None:
    told = signatures["evaluate"].outputs if labels else ()
    missing = [label for label in labels if label not in told]
    if missing:
        raise errors.InputError(
            f"push.destination: {path} is live and tells {', '.join(sorted(told))}; this experiment's labels are "
            f"{', '.join(labels)}, and without {', '.join(missing)} the two cannot be compared: give the experiment another "
            "name, or another push.destination"
        )


def _check_windows(path: str, signatures: Mapping[str, Any], kind: str | None, repeats: bool | None) -> None:
    # What is asked of a history, a moment or an exposure; others take what all kinds have.
    asked = [signatures[name] for name in ("recommend", "predict", "embed") if name in signatures]
    inputs = {name for signature in asked for name in signature.inputs}
    found = "period" if names.MOMENT in inputs else "exposure" if names.TIMESTAMP in inputs else "next"
    another = "give the experiment another name, or another push.destination"
    if kind is not None and kind != found:
        raise errors.InputError(
            f"push.destination: {path} is live and a model of windows of kind {found}, this experiment's are of kind {kind}, and "
            f"the two cannot be compared: {another}"
        )
    # The ranks of what a user has had are told of a model that may recommend it.
    told = names.OWN_FREQUENT_RANK in signatures["evaluate"].outputs if "evaluate" in signatures else repeats
    if repeats is not None and repeats != told:
        raise errors.InputError(
            f"push.destination: {path} is live and was exported with evaluation.exclude_seen: {str(not told).lower()}, found "
            f"{str(not repeats).lower()}: their ranks do not mean the same, so that the gate would compare nothing: {another}"
        )
