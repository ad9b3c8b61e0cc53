"""What the steps of a compiled pipeline get from a cluster, how often they are tried, and when they run."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from components.behavior_example_gen import spec as window_spec
from schemas import cloud, errors, settings

# In bytes; Kubernetes' own suffixes.
_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_QUANTITY = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(_UNITS)})")

_LEAST_BYTES = 10**6


def _quantity(text: str) -> str:
    found = _QUANTITY.fullmatch(text)
    # Of bytes nobody means a few: a unit is missing.
    if not found or not found[2] and float(found[1]) < _LEAST_BYTES:
        raise ValueError(f"a quantity of memory is a number with a unit, as 16G or 32Gi, found {text!r}")
    return text


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NETWORK = re.compile(r"projects/[^/]+/global/networks/[^/]+")
_CRON_FIELD = re.compile(r"[0-9A-Za-z*/,-]+")
_CRON_FIELDS = 5
_SECRET_NAME = re.compile(
    r"secret|passw(or)?d|passphrase|token(?!s(_|$)|i[sz])|credential|(api|access|private|account|shared)_?key",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"-----BEGIN |^(AKIA|ASIA)[A-Z0-9]{16}$|^AIza[\w-]{30,}|^ya29\.|^gh[pousr]_\w{20,}|^glpat-|^xox[abprs]-|^sk-\w{16,}"
    r"|^eyJ[\w-]+\.[\w-]+\.|://[^/@\s:]*:[^/@\s]+@"
)
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+=_-]{24,}")
# Of a text's characters, in bits each: words and names have less, random letters and digits more.
_RANDOM_ENTROPY = 3.8
# Words and numbers with a hyphen or underscore between them, as projects, buckets and jobs are called.
_NAME = re.compile(r"[a-z]+([-_]([a-z]+\d{0,2}|\d+))+")

# A part of a path as people name it; a random secret may begin with / but has capitals and digits in no such order.
_WORD = re.compile(r"[a-z0-9]*([A-Z][a-z]+)*[A-Z]*[0-9]*")
_PATH_NAME = re.compile(r"_(file|path|dir|folder)s?$", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"[a-z]+")
_EXTENSION = re.compile(r"\.([A-Za-z]{1,6}|p12)$")
# Of the parts of a path that are no words: shorter ones may be versions or ids.
_LONG = 12


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable or an argument would tell a secret to all who may read a pipeline.

    A path is none, whatever the name: `GOOGLE_APPLICATION_CREDENTIALS=/var/secrets/key.json`. It has an extension, is one
    word, or has a word among its parts and little that is random.

    >>> looks_secret("DB_PASSWORD", "hunter2"), looks_secret("TF_CPP_MIN_LOG_LEVEL", "2")
    (True, False)
    """
    if _SECRET_VALUE.search(value):
        return True
    if not value or value.lower() in ("true", "false", "0", "1"):
        return False
    if _SECRET_NAME.search(name):
        return not _is_path(name, value)
    return bool(_RANDOM.fullmatch(value) and not _NAME.fullmatch(value) and _entropy(value) > _RANDOM_ENTROPY)


def _is_path(name: str, value: str) -> bool:
    """Whether the value of a variable that is named as a secret is where one lies."""
    if not value.startswith("/"):
        return False
    if _PATH_NAME.search(name) or _EXTENSION.search(value):
        return True
    parts = [part for part in value.split("/") if part]
    if len(parts) < 2:
        return all(map(_PLAIN_WORD.fullmatch, parts))
    odd = [part for part in parts if not all(map(_WORD.fullmatch, re.split(r"[^A-Za-z0-9]+", part)))]
    return not odd or any(map(_PLAIN_WORD.fullmatch, parts)) and sum(map(len, odd)) < _LONG


def _entropy(text: str) -> float:
    """Shannon's entropy of the characters of a text, in bits each."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) != _CRON_FIELDS or not all(map(_CRON_FIELD.fullmatch, fields)):
        raise ValueError(
            f"a schedule has the five fields of cron (minute, hour, day, month, weekday), as '30 4 * * *', found {text!r}"
        )
    return " ".join(fields)


def _network(text: str) -> str:
    if not _NETWORK.fullmatch(text):
        raise ValueError(f"a network is written projects/NUMBER/global/networks/NAME, found {text!r}")
    return text


def _variables(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"a variable has letters, digits and _, found {name!r}")
        if looks_secret(name, value):
            # Without the value: messages are logged.
            raise ValueError(
                f"found what looks like a secret in {name}: a compiled pipeline can be read by many; give the service "
                "account what the steps need, or mount the secret and name its path"
            )
    return variables


class ResourceSpec(settings.Settings):
    """What a step gets.

    Attributes:
      cpu: how many CPUs it may use; None is the cluster's default.
      memory: how much, as `16G` or `32Gi`; None is the cluster's default.
      accelerator: its type: `nvidia.com/gpu` on Kubeflow, `NVIDIA_TESLA_T4` and the like on Vertex AI.
      accelerators: how many of them.
    """

    cpu: float | None = pydantic.Field(default=None, gt=0)
    memory: Annotated[str, pydantic.AfterValidator(_quantity)] | None = None
    accelerator: str | None = None
    accelerators: int = pydantic.Field(default=1, ge=1)

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (settings.Reads(("accelerators",), self.accelerator is not None, "accelerator"),)

    def to_spec(self) -> dict[str, Any]:
        """As a Kubeflow Pipelines spec has it: CPUs, and memory in GB."""
        result: dict[str, Any] = {}
        if self.cpu is not None:
            result["cpuLimit"] = self.cpu
        if self.memory is not None:
            number, unit = _QUANTITY.fullmatch(self.memory).groups()
            result["memoryLimit"] = float(number) * _UNITS[unit] / 10**9
        if self.accelerator is not None:
            # Counts are 64-bit integers, which JSON has as text.
            result["accelerator"] = {"type": self.accelerator, "count": str(self.accelerators)}
        return result


# Of a disk of a machine of Vertex AI, in GB.
_LEAST_DISK = 100


class TrainerJobSpec(settings.Settings):
    """The Vertex AI custom job in which the Trainer trains, for `--target vertex`: its step starts the job and waits.

    Attributes:
      workers: how many machines train together. The first is the chief, which alone writes. Any model trains on
        several of them; `training.optimizer: lazy_adam` does not.
      machine_type: of each machine, as `n1-standard-8`.
      accelerator: its type, as `NVIDIA_TESLA_T4`; None is none.
      accelerators: how many of them each machine has.
      disk_gb: the boot disk of each machine, in GB.
      timeout: how long the job may run, as `12h`; None is Vertex AI's default, 7 days.
      project: of the job; None is the pipeline's.
      region: of the job, as `europe-west4`; None is the pipeline's.
    """

    workers: int = pydantic.Field(default=1, ge=1)
    machine_type: str = pydantic.Field(min_length=1)
    accelerator: str | None = None
    accelerators: int = pydantic.Field(default=1, ge=1)
    disk_gb: int = pydantic.Field(default=_LEAST_DISK, ge=_LEAST_DISK)
    timeout: window_spec.Duration | None = None
    project: str | None = pydantic.Field(default=None, min_length=1)
    region: str | None = pydantic.Field(default=None, pattern=cloud.REGION)

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (settings.Reads(("accelerators",), self.accelerator is not None, "accelerator"),)


class ClusterSpec(settings.Settings):
    """How a cluster runs the steps, for `footfall compile` and `footfall submit`; local runs ignore it.

    Attributes:
      resources: by component, as `{Trainer: {cpu: 8, memory: 32G, accelerator: nvidia.com/gpu}}`.
      trainer_job: a Vertex AI custom job in which the Trainer trains; None trains in the step.
      retries: how often a step that fails is tried again.
      cache: whether steps whose inputs have not changed are taken from the cluster's cache.
      env: variables of every step's environment. What looks like a secret is refused.
      service_account: that the steps run as; None is the backend's default.
      labels: of a job on Vertex AI.
      network: of a job on Vertex AI, as `projects/NUMBER/global/networks/NAME`.
      schedule: when `footfall submit` has the pipeline run, as cron has it, in UTC: `30 4 * * *`; None is once, now.
    """

    resources: dict[str, ResourceSpec] = {}
    trainer_job: TrainerJobSpec | None = None
    retries: int = pydantic.Field(default=0, ge=0)
    cache: bool = True
    env: Annotated[dict[str, str], pydantic.AfterValidator(_variables)] = {}
    service_account: str | None = pydantic.Field(default=None, min_length=1)
    labels: cloud.Labels = {}
    network: Annotated[str, pydantic.AfterValidator(_network)] | None = None
    schedule: Annotated[str, pydantic.AfterValidator(_cron)] | None = None

    def apply(self, pipeline: Mapping[str, Any], uncached: tuple[str, ...] = ()) -> None:
        """Writes the settings into a pipeline's specification.

        Args:
          pipeline: a KFP `PipelineSpec` as JSON values.
          uncached: the tasks that are in no cache in any case.

        Raises:
          errors.InputError: for resources of a component that the pipeline does not have.
        """
        tasks, executors = pipeline["root"]["dag"]["tasks"], pipeline["deploymentSpec"]["executors"]
        unknown = sorted(set(self.resources) - set(tasks))
        if unknown:
            raise errors.InputError(
                f"cluster.resources: {', '.join(unknown)}: no such component; there are {', '.join(sorted(tasks))}"
            )
        for executor in executors.values():
            if self.env:
                executor["container"]["env"] = [
                    {"name": name, "value": value} for name, value in sorted(self.env.items())
                ]
        for name, task in tasks.items():
            if not self.cache or name in uncached:
                task.pop("cachingOptions", None)
            if self.retries:
                task["retryPolicy"] = {"maxRetryCount": self.retries}
            if name in self.resources:
                label = pipeline["components"][task["componentRef"]["name"]]["executorLabel"]
                executors[label]["container"]["resources"] = self.resources[name].to_spec()
