"""`footfall compile`: writes an experiment for Kubeflow Pipelines."""

import argparse
import sys

from pipeline.cli import arguments
from schemas import errors

_EXAMPLE_ROOT = "gs://BUCKET/footfall"


def add(commands: arguments.Commands) -> None:
    """Adds `compile`."""
    compiled = arguments.command(
        commands,
        "compile",
        _compile,
        "write an experiment as a Kubeflow Pipelines v2 spec",
    )
    arguments.experiment(compiled)
    compiled.add_argument("-o", "--output", required=True, help="the file to write, .yaml or .json")
    compiled.add_argument(
        "--root",
        default=_EXAMPLE_ROOT,
        help="where the pipeline keeps everything, for example a bucket (default: %(default)s)",
    )
    compiled.add_argument(
        "--image", default="footfall:latest", help="a container image with Footfall (default: %(default)s)"
    )


def _compile(options: argparse.Namespace) -> int:
    from pipeline import config
    from pipeline.runners import kubeflow

    if not options.output.endswith((".yaml", ".yml", ".json")):
        raise errors.InputError(f"--output: a spec ends with .yaml or .json, found {options.output}")
    experiment = config.load(config.find(options.experiment), options.set)
    spec, schema = kubeflow.compile_pipeline(experiment, options.output, options.root, options.image)
    print(
        f"{spec}\n{schema}: copy it to {kubeflow.schema_place(experiment, options.root)} before the first run"
    )
    for line in kubeflow.out_of_reach(experiment, options.root, _EXAMPLE_ROOT):
        print(f"footfall: warning: {line}", file=sys.stderr)
    return 0
