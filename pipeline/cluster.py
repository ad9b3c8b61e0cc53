"""What the steps of a compiled pipeline get from a cluster, and how often they are tried."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from schemas import errors, settings

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


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError(f"a quantity of memory is a number with a unit, as 16G or 32Gi, found {text!r}")
    return text


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


class ClusterSpec(settings.Settings):
    """How `footfall compile` has a cluster run the steps; local runs do not read it.

    Attributes:
      resources: by component, as `{Trainer: {cpu: 8, memory: 32G, accelerator: nvidia.com/gpu}}`.
      retries: how often a step that fails is tried again.
      cache: whether steps whose inputs have not changed are taken from the cluster's cache.
    """

    resources: dict[str, ResourceSpec] = {}
    retries: int = pydantic.Field(default=0, ge=0)
    cache: bool = True

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
        for name, task in tasks.items():
            if not self.cache or name in uncached:
                task.pop("cachingOptions", None)
            if self.retries:
                task["retryPolicy"] = {"maxRetryCount": self.retries}
            if name in self.resources:
                label = pipeline["components"][task["componentRef"]["name"]]["executorLabel"]
                executors[label]["container"]["resources"] = self.resources[name].to_spec()
