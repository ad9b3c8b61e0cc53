"""`footfall compile`: writes an experiment for Kubeflow Pipelines or Vertex AI."""

import argparse
import os
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
    compiled.add_argument(
        "-o", "--output", required=True, type=arguments.LocalPath, help="the file to write, .yaml or .json"
    )
    compiled.add_argument(
        "--root",
        default=_EXAMPLE_ROOT,
        help="the bucket where the pipeline keeps everything (default: the placeholder %(default)s)",
    )
    arguments.backend(compiled)


def _compile(options: argparse.Namespace) -> int:
    from pipeline import config
    from pipeline.runners import kubeflow, targets

    if not options.output.endswith((".yaml", ".yml", ".json")):
        raise errors.InputError(f"--output: a spec ends with .yaml or .json, found {options.output}")
    path = config.find(options.experiment)
    if os.path.realpath(options.output) == os.path.realpath(path):
        raise errors.InputError(f"--output: takes a file to write, found the experiment {path}")
    experiment = config.load(path, options.set)
    spec, schema = kubeflow.compile_pipeline(
        experiment, options.output, options.root, options.image, options.target
    )
    place = kubeflow.schema_place(experiment, options.root)
    print(f"{spec}\n{schema}: copy it to {place} before the first run; `footfall submit` does")
    for line in (
        *targets.out_of_reach(experiment, options.root, options.target, _EXAMPLE_ROOT),
        *targets.unmounted(experiment, options.target),
        *targets.unused(experiment, options.target),
    ):
        print(f"footfall: warning: {line}", file=sys.stderr)
    return 0
