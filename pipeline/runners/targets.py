"""What the backends of a compiled pipeline take: Kubeflow Pipelines and Vertex AI Pipelines. Free of TFX."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from pipeline import cluster, config, datasets
from schemas import errors

# TensorFlow and TFX read and write these; for others the image would have to bring a file system.
_READABLE = ("gs",)


class Target(NamedTuple):
    """A backend.

    Attributes:
      title: as people call it.
      schemes: of the roots that its launcher takes.
      accelerator: what the type of an accelerator looks like, and an example.
      unused: settings of `cluster` that it has no use for, and why.
    """

    title: str
    schemes: tuple[str, ...]
    accelerator: tuple[str, str]
    unused: Mapping[str, str]


TARGETS: dict[str, Target] = {
    "kubeflow": Target(
        "Kubeflow",
        ("gs", "s3", "minio"),
        (r"[a-z0-9.-]+/[\w.-]+", "nvidia.com/gpu"),
        {
            "labels": "its runs have no labels",
            "network": "the network is that of the cluster",
        },
    ),
    "vertex": Target("Vertex AI", ("gs",), (r"[A-Z][A-Z0-9_]+", "NVIDIA_TESLA_T4"), {}),
}
DEFAULT = "kubeflow"


def check(experiment: config.Experiment, target: str) -> None:
    """Checks that a backend can have the settings of an experiment.

    Raises:
      errors.InputError: if an accelerator is none of its types, or a secret would be part of the specification.
    """
    title, pattern, example = TARGETS[target].title, *TARGETS[target].accelerator
    for component, given in experiment.cluster.resources.items():
        if given.accelerator is not None and not re.fullmatch(pattern, given.accelerator):
            raise errors.InputError(
                f"cluster.resources.{component}.accelerator: on {title} a type is written as {example}, found "
                f"{given.accelerator}"
            )
    for argument in experiment.beam.args:
        name, _, value = argument.removeprefix("--").partition("=")
        if cluster.looks_secret(name, value):
            raise errors.InputError(
                f"beam.args: --{name} looks like a secret, and a compiled pipeline can be read by many: give the "
                "steps' service account what it needs"
            )


def out_of_reach(
    experiment: config.Experiment, root: str, target: str = DEFAULT, example: str | None = None
) -> list[str]:
    """What a backend cannot read or keep of a compiled pipeline, a line each.

    Args:
      experiment: that is compiled.
      root: of all that the pipeline keeps.
      target: a key of `TARGETS`.
      example: a root that is none.
    """
    log, pushed = datasets.resolve(experiment.log.path), experiment.push.destination
    found = []
    if "://" not in log and (log != experiment.log.path or not log.startswith("/")):
        found.append(f"log.path is {log}, of this machine: set log.path to one that the cluster can read")
    if root == example:
        found.append(f"--root is an example: {root}")
    else:
        found.extend(_of_root(root, TARGETS[target]))
    if pushed and "://" not in pushed and not pushed.startswith("/"):
        found.append(f"push.destination is {pushed}: a pod would push to its own disk")
    elif pushed and "://" in pushed and _scheme(pushed) not in _READABLE:
        found.append(f"push.destination is {pushed}: {_unreadable(pushed)}")
    return found


def unused(experiment: config.Experiment, target: str) -> list[str]:
    """The settings that a backend has no use for, a line each."""
    default = cluster.ClusterSpec()
    return [
        f"cluster.{name} is not used on {TARGETS[target].title}: {why}"
        for name, why in TARGETS[target].unused.items()
        if getattr(experiment.cluster, name) != getattr(default, name)
    ]


def _scheme(place: str) -> str:
    return place.partition("://")[0] if "://" in place else ""


def _of_root(root: str, target: Target) -> list[str]:
    scheme = _scheme(root)
    if scheme not in target.schemes:
        taken = ", ".join(f"{one}://" for one in target.schemes)
        return [
            f"--root is {root}: the launcher of {target.title} takes {taken} alone, no path of a volume; "
            f"use gs://BUCKET/FOLDER"
        ]
    return [] if scheme in _READABLE else [f"--root is {root}: {_unreadable(root)}"]


def _unreadable(place: str) -> str:
    return (
        f"TensorFlow, as the lock has it, reads and writes no {_scheme(place)}://; use gs://BUCKET/FOLDER, or an image "
        "that adds this file system to TensorFlow"
    )
