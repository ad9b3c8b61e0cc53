"""BehaviorExampleGen: from a behaviour log to windowed examples."""

import re
from typing import Any

from tfx import types
from tfx.components.example_gen import component as example_gen
from tfx.components.example_gen import driver, utils
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.behavior_example_gen import artifacts, executor, fingerprint, spans, spec
from components.behavior_example_gen.windows.kind import WindowSettings
from schemas import errors, names


class BehaviorExampleGenSpec(component_spec.ComponentSpec):
    """FileBasedExampleGen's spec, with Footfall's settings and two more outputs."""

    PARAMETERS = {
        **standard_component_specs.FileBasedExampleGenSpec.PARAMETERS,
        "log": component_spec.ExecutionParameter(type=str),
        "window": component_spec.ExecutionParameter(type=str),
        "split": component_spec.ExecutionParameter(type=str),
        # Read by nobody: an execution by other code is another execution.
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
        "rejected": component_spec.ChannelParameter(type=artifacts.RejectedRows),
        "profile": component_spec.ChannelParameter(type=artifacts.LogProfile),
    }


class LogDriver(driver.FileBasedDriver):
    """TFX's driver, to which every file that is read is input, with all that tells its states apart.

    TFX looks at the files of the newest span only: events that come late, to an older one, would leave the
    windows of before in the cache. And it looks at sums of sizes and of times in seconds.
    """

    def resolve_exec_properties(self, exec_properties: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As TFX's, with the state of all files that are read in the fingerprint.

        Raises:
          errors.InputError: if no file of a span is there, or one has no number where its mark stands.
        """
        log = spec.LogSpec.from_json(exec_properties["log"])
        # Says in words what TFX, which comes next, says in regular expressions.
        spans.find(log.path)
        try:
            found = super().resolve_exec_properties(exec_properties, *args, **kwargs)
        except ValueError as error:
            raise errors.InputError(f"log.path: {log.path}: {error}") from error
        state = fingerprint.digest(spans.find(log.path, log.spans, found[utils.SPAN_PROPERTY_NAME]))
        found[utils.FINGERPRINT_PROPERTY_NAME] += f",files:{state}"
        return found


class BehaviorExampleGen(example_gen.FileBasedExampleGen):
    """Reads a behaviour log, and cuts it into the windows of `train`, `eval` and `test`.

    A path with `{SPAN}`, or a date `{YYYY}`, `{MM}`, `{DD}`, (and `{VERSION}`) is resolved by TFX's driver to the newest span;
    the executor reads that span and the `log.spans - 1` before it, since a window of today
    needs the events of yesterday. (Kubeflow has a driver of its own, which looks at the newest span alone:
    there, late events of older ones come in with the next span.)

    Outputs:
      examples: gzip TFRecords of tf.Examples (see `schemas.names`), a file a shard.
      rejected: `RejectedRows`: the bad rows, with file, row and reason.
      profile: `LogProfile`: what the log holds.

    Args:
      log, window, split: what to read, and what to make of it.
      code: a version of the code; windows that another one has made are not taken from the cache.
    """

    SPEC_CLASS = BehaviorExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = LogDriver

    def __init__(self, log: spec.LogSpec, window: WindowSettings, split: spec.SplitSpec, code: str = ""):
        base, pattern = split_path(log.path)
        component_specification = BehaviorExampleGenSpec(
            input_base=base,
            input_config=example_gen_pb2.Input(
                splits=[example_gen_pb2.Input.Split(name="log", pattern=pattern)]
            ),
            # The executor makes its own splits; the driver wants to see some.
            output_config=example_gen_pb2.Output(
                split_config=example_gen_pb2.SplitConfig(
                    splits=[example_gen_pb2.SplitConfig.Split(name=n, hash_buckets=1) for n in names.SPLITS]
                )
            ),
            output_data_format=example_gen_pb2.FORMAT_TF_EXAMPLE,
            output_file_format=example_gen_pb2.FORMAT_TFRECORDS_GZIP,
            log=log.to_json(),
            window=window.to_json(),
            split=split.to_json(),
            code=code,
            examples=types.Channel(type=standard_artifacts.Examples),
            rejected=types.Channel(type=artifacts.RejectedRows),
            profile=types.Channel(type=artifacts.LogProfile),
        )
        # FileBasedExampleGen's own __init__ would build its own spec.
        super(example_gen.FileBasedExampleGen, self).__init__(spec=component_specification)


def split_path(path: str) -> tuple[str, str]:
    """A path as a folder without patterns and a pattern below it; `dir/` means all its files.

    >>> split_path("logs/day-{SPAN}/*.csv")
    ('logs', 'day-{SPAN}/*.csv')
    """
    if path.endswith("/"):
        path += "*"
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if re.search(r"[*?\[{]", part)), len(parts) - 1)
    return "/".join(parts[:first]) or ("/" if path.startswith("/") else "."), "/".join(parts[first:])
