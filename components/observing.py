"""What the world outside of a pipeline is like: components whose output is one line of text that others depend on.

The log grows and the model that is live changes without any component of the pipeline, so what a run does
depends on both. A component that looks runs in every pipeline run, and what it finds is a *parameter* of those that
depend on it, hence a part of their cache keys on every runner: a log that is as it was, or the same live model,
leaves them in the cache; another one does not.

- TFX's local runner asks `Driver` first, so that the component itself is cached, too.
- Kubeflow and Vertex AI know no drivers of ours: there the executor looks, and is never cached
  (see `pipeline.runners.kubeflow`).
"""

import abc
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from tfx.dsl.components.base import base_driver, base_executor
from tfx.dsl.io import fileio
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils

# The execution property in which a driver leaves what it found.
_FOUND = "found"


def pack(found: Mapping[str, Any]) -> str:
    """What was found as text; equal finds give equal texts."""
    return json.dumps(found, sort_keys=True)


class Observer(abc.ABC):
    """Looks at something outside of the pipeline.

    Attributes:
      output: of the component, a `String`.
    """

    output: str

    @abc.abstractmethod
    def look(self, exec_properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """What there is now.

        Args:
          exec_properties: the component's.

        Raises:
          errors.InputError: if it cannot be looked at.
        """


class Driver(base_driver.BaseDriver, portable_driver.BaseDriver, Observer):
    """A driver that looks; base of those of components."""

    def __init__(self, metadata_handle: Any):
        base_driver.BaseDriver.__init__(self, metadata_handle)
        portable_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: Any) -> driver_output_pb2.DriverOutput:
        """Adds what was found to the execution's properties, and so to its cache key."""
        result = driver_output_pb2.DriverOutput()
        result.exec_properties[_FOUND].string_value = pack(self.look(execution_info.exec_properties))
        return result


class Executor(base_executor.BaseExecutor, Observer):
    """An executor that looks, unless a driver has; base of those of components."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes what was found.

        Raises:
          errors.InputError: see `Observer.look`.
        """
        found = exec_properties.get(_FOUND)
        if found is None:
            found = pack(self.look(exec_properties))
        value = artifact_utils.get_single_instance(output_dict[self.output])
        fileio.makedirs(posixpath.dirname(value.uri))
        value.value = found
