"""What each step of a compiled pipeline starts: TFX's own entrypoint, given what Kubeflow's launcher leaves out.

TFX's entrypoint was made for Vertex AI, which tells the type of every artifact. Open-source Kubeflow tells no type of
what a step reads, only of what it writes: those of its inputs are in the step's own specification.

    python -m pipeline.runners.kubeflow_step --executor_class_path ... --json_serialized_invocation_args ...
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
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as entrypoint

    from components import embedded_beam
    from pipeline.runners import failures

COMMAND = ("python", "-m", "pipeline.runners.kubeflow_step")


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


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    given, beam_args = entrypoint._parse_flags(argv)
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
    code = 0
    try:
        entrypoint.main(parsed)
    except Exception as error:
        known = failures.input_error(error)
        if known is None:
            raise
        # A pod's last lines are what is seen of it.
        logging.getLogger("footfall").exception("the step failed")
        print(f"footfall: {known}", file=sys.stderr)
        code = 2
    # As in the command line: Arrow's and TensorFlow's threads complain about an interpreter that ends.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
