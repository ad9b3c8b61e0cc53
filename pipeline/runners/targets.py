"""What the backends of a compiled pipeline take: Kubeflow Pipelines and Vertex AI Pipelines. Free of TFX."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline import cluster, config
from schemas import errors
from trainer import config as trainer_config

# The component that trains.
_TRAINER = "Trainer"
# TensorFlow and TFX read and write these; for others the image would have to bring a file system.
_READABLE = ("gs",)


class Target(NamedTuple):
    """A backend.

    Attributes:
      title: as people call it.
      schemes: of the roots that its launcher takes.
      accelerator: what the type of an accelerator looks like, and an example.
      unused: settings of `cluster` that it has no use for, and why.
      custom_jobs: whether it has them, for `cluster.trainer_job`.
      mounted: what all of its steps have on a path is below this folder.
      mounts: whether that is there only if somebody mounts it.
    """

    title: str
    schemes: tuple[str, ...]
    accelerator: tuple[str, str]
    unused: Mapping[str, str]
    custom_jobs: bool
    mounted: str
    mounts: bool


TARGETS: dict[str, Target] = {
    "kubeflow": Target(
        "Kubeflow",
        ("gs", "s3", "minio"),
        (r"[a-z0-9.-]+/[\w.-]+", "nvidia.com/gpu"),
        {
            "labels": "its runs have no labels",
            "network": "the network is that of the cluster",
        },
        custom_jobs=False,
        # The spec has no volumes, but who runs the cluster may have its pods get one, as by a PodDefault.
        mounted="/",
        mounts=True,
    ),
    "vertex": Target(
        "Vertex AI",
        ("gs",),
        (r"[A-Z][A-Z0-9_]+", "NVIDIA_TESLA_T4"),
        {},
        custom_jobs=True,
        # Buckets, by Cloud Storage FUSE.
        mounted="/gcs/",
        mounts=False,
    ),
}
DEFAULT = "kubeflow"


def check(experiment: config.Experiment, target: str) -> None:
    """Checks that a backend can have the settings of an experiment.

    Raises:
      errors.InputError: if an accelerator is none of its types, a secret would be part of the specification, or a
        custom job cannot train the model.
    """
    for component, given in experiment.cluster.resources.items():
        _check_accelerator(f"cluster.resources.{component}", given.accelerator, TARGETS[target])
    _check_trainer_job(experiment, TARGETS[target])
    for name, value in _options(experiment.beam.args):
        if cluster.looks_secret(name, value):
            raise errors.InputError(
                f"beam.args: --{name} looks like a secret, and a compiled pipeline can be read by many: give the "
                "steps' service account what it needs"
            )


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The values among a command's arguments, each with the option that it is of, in one item with it or after it."""
    name = ""
    for argument in arguments:
        value = argument
        if argument.startswith("-"):
            name, value = (*re.split(r"[=\s]", argument.lstrip("-"), maxsplit=1), "")[:2]
        yield name, value


def _check_accelerator(key: str, accelerator: str | None, target: Target) -> None:
    pattern, example = target.accelerator
    if accelerator is not None and not re.fullmatch(pattern, accelerator):
        raise errors.InputError(
            f"{key}.accelerator: on {target.title} a type is written as {example}, found {accelerator}"
        )


def _check_trainer_job(experiment: config.Experiment, target: Target) -> None:
    job = experiment.cluster.trainer_job
    if job is None:
        return
    if not target.custom_jobs:
        having = " or ".join(name for name, one in TARGETS.items() if one.custom_jobs)
        raise errors.InputError(
            f"cluster.trainer_job: {target.title} has no custom jobs: compile with --target {having}, or leave it out"
        )
    _check_accelerator("cluster.trainer_job", job.accelerator, target)
    step = experiment.cluster.resources.get(_TRAINER)
    if step is not None and step.accelerator is not None:
        raise errors.InputError(
            f"cluster.resources.{_TRAINER}.accelerator: with cluster.trainer_job this step only waits: set "
            f"cluster.trainer_job.accelerator in its place, found {step.accelerator}"
        )
    if job.workers > 1:
        try:
            trainer_config.check_workers(experiment.trainer)
        except errors.InputError as error:
            raise errors.InputError(f"cluster.trainer_job.workers is {job.workers}: {error}") from error


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
    found = [f"--root is an example: {root}"] if root == example else _of_root(root, TARGETS[target])
    for place in _places(experiment):
        if "://" in place.path:
            if _scheme(place.path) not in _READABLE:
                found.append(f"{place.setting} is {place.path}: {_unreadable(place.path)}")
        elif not _may_be_shared(place.path, TARGETS[target]):
            found.append(f"{place.setting} is {place.path}, of this machine: {place.advice}")
    return found


def unmounted(experiment: config.Experiment, target: str) -> list[str]:
    """What only a volume that somebody mounts into every pod lets a backend read or keep, a line each."""
    if not TARGETS[target].mounts:
        return []
    return [
        f"{place.setting} is {place.path}: nothing in the spec mounts a volume there; where no pod has one, {place.advice}"
        for place in _places(experiment)
        if "://" not in place.path and _may_be_shared(place.path, TARGETS[target])
    ]


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


class _Place(NamedTuple):
    """Where a setting points to.

    Attributes:
      setting: its name.
      path: what it says.
      advice: if it cannot be reached.
    """

    setting: str
    path: str
    advice: str


def _places(experiment: config.Experiment) -> Iterator[_Place]:
    # A data set that was fetched is on this machine's disk.
    advice = "set it to one that the cluster can read"
    yield _Place("log.path", experiment.log.path, advice)
    if experiment.model.pretrained:
        yield _Place("model.base_model", experiment.model.pretrained, advice)
    if experiment.push.destination:
        advice = "a pod pushes to its own disk, and the model goes with it"
        yield _Place("push.destination", experiment.push.destination, advice)


def _may_be_shared(path: str, target: Target) -> bool:
    """Whether steps may have something in common at a local path; `~` is this machine's by the time it is here."""
    home = os.path.expanduser("~")
    return path.startswith(target.mounted) and (home == "/" or not f"{path}/".startswith(f"{home}/"))


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
