"""What each step of a compiled pipeline starts: TFX's own entrypoint, given what Kubeflow's launcher leaves out.

TFX's entrypoint was made for Vertex AI, which tells the type of every artifact. Open-source Kubeflow tells no type of
what a step reads, only of what it writes: those of its inputs are in the step's own specification.

All attempts of a step write to the same places. Beam names files by how many shards an engine has chosen, so what an
attempt has left would be read beside what the next one writes: it is removed first.

    python -m pipeline.runners.kubeflow_step [--code HASH] --executor_class_path ... --json_serialized_invocation_args ...

What a step makes is kept in the cluster's cache as made by the code that compiled the specification. An image with other code,
as one whose tag was there before, would put its own there: the step ends before it makes anything.
"""

import argparse
import logging
import os
import sys

import schemas  # noqa: F401  selects Keras 2, before TFX imports TensorFlow

# isort: split
from schemas import collector

with collector.importing():
    from absl import app
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.dsl.io import fileio
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as entrypoint

    from components import embedded_beam
    from components.trainer import workers
    from pipeline import code
    from pipeline.runners import failures
    from schemas import errors

COMMAND = ("python", "-m", "pipeline.runners.kubeflow_step")
# What they have left goes on to be used: the model of a custom job that still trains, the folder of a model that is
# uploaded.
_GOING_ON = ("components.trainer.custom_job.Executor", "components.vertex_deployer.executor.Executor")


def with_types(invocation: str, inputs: str | None) -> str:
    """The description of an execution, in which every input has a type.

    Args:
      invocation: a KFP `ExecutorInput` as JSON.
      inputs: the `ComponentInputsSpec` of the step as JSON; None where the step has none.

    Returns:
      The `ExecutorInput` as JSON; types that it tells are left as they are.
    """
    execution = pipeline_spec_pb2.ExecutorInput()
    json_format.Parse(invocation, execution, ignore_unknown_fields=True)
    specification = pipeline_spec_pb2.ComponentInputsSpec()
    if inputs:
        json_format.Parse(inputs, specification, ignore_unknown_fields=True)
    for name, listed in execution.inputs.artifacts.items():
        for artifact in listed.artifacts:
            if artifact.type.WhichOneof("kind") is None:
                artifact.type.CopyFrom(specification.artifacts[name].artifact_type)
    return json_format.MessageToJson(execution)


def clear_outputs(executor: str, invocation: str) -> None:
    """Removes what an earlier attempt of a step has left where this one writes.

    Args:
      executor: the import path of its class.
      invocation: a KFP `ExecutorInput` as JSON.
    """
    # Of several workers the chief alone writes there.
    if executor in _GOING_ON or not workers.this().chief:
        return
    execution = pipeline_spec_pb2.ExecutorInput()
    json_format.Parse(invocation, execution, ignore_unknown_fields=True)
    for listed in execution.outputs.artifacts.values():
        for artifact in listed.artifacts:
            if not fileio.exists(artifact.uri):
                continue
            logging.getLogger("footfall").warning("%s: an earlier attempt has left it: removed", artifact.uri)
            if fileio.isdir(artifact.uri):
                fileio.rmtree(artifact.uri)
            else:
                fileio.remove(artifact.uri)


def check_code(compiled: str | None) -> None:
    """Checks that this code is what the specification was compiled by.

    Args:
      compiled: `code.of_all` there; None of a specification from before that was told.

    Raises:
      errors.InputError: if it is not.
    """
    found = code.of_all()
    if compiled is not None and compiled != found:
        raise errors.InputError(
            f"the image has other code of Footfall ({found}) than the pipeline was compiled by ({compiled}), as whose work the "
            "cluster would keep what it makes: build and push the image of this checkout under a new tag, and compile with it"
        )


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--code")
    ours, argv = own.parse_known_args(argv)
    given, beam_args = entrypoint._parse_flags(argv)
    given.code = ours.code
    given.json_serialized_invocation_args = with_types(
        given.json_serialized_invocation_args, given.json_serialized_inputs_spec_args
    )
    return given, beam_args


def main(parsed: tuple[argparse.Namespace, list[str]]) -> None:
    """Runs an executor, and ends the process: 0 done, 2 the input does not fit; other errors are raised."""
    logging.getLogger("footfall").setLevel(logging.INFO)
    embedded_beam.tune()
    if ".transform." in parsed[0].executor_class_path:
        # Here, since it is not for other steps to import TFT.
        from components.transform import tracing

        tracing.tune()
    status = 0
    try:
        check_code(parsed[0].code)
        clear_outputs(parsed[0].executor_class_path, parsed[0].json_serialized_invocation_args)
        entrypoint.main(parsed)
    except Exception as error:
        known = failures.input_error(error)
        if known is None:
            raise
        # A pod's last lines are what is seen of it.
        logging.getLogger("footfall").exception("the step failed")
        print(f"footfall: {known}", file=sys.stderr)
        status = 2
    # As in the command line: Arrow's and TensorFlow's threads complain about an interpreter that ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
