"""`footfall submit`: has a cluster run an experiment, now or by its schedule."""

import argparse
import json
import os
import sys
import tempfile
from typing import Any

from pipeline.cli import arguments
from schemas import errors


def add(commands: arguments.Commands) -> None:
    """Adds `submit`."""
    submit = arguments.command(
        commands,
        "submit",
        _submit,
        "have Kubeflow Pipelines or Vertex AI run an experiment",
        "With cluster.schedule in the experiment it runs on that schedule. The schema of the windows is copied to --root.",
    )
    arguments.experiment(submit)
    submit.add_argument("--root", required=True, help="the bucket where the pipeline keeps everything")
    arguments.backend(submit)
    submit.add_argument("--host", help="the address of the Kubeflow Pipelines API")
    submit.add_argument("--namespace", help="the namespace, for Kubeflow with several users")
    submit.add_argument("--project", help="the Google Cloud project, for Vertex AI")
    submit.add_argument("--region", help="the Vertex AI region, for example europe-west4")
    submit.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of this run: log_path, span, push or, of a training by steps, epochs; repeatable",
    )
    submit.add_argument(
        "--replace",
        action="store_true",
        help="disable what runs this experiment on a schedule already; without it, that is refused",
    )
    submit.add_argument("--dry-run", action="store_true", help="print the request, and send and copy nothing")


def _submit(options: argparse.Namespace) -> int:
    from components.behavior_example_gen import state
    from pipeline import config, parameters, submitting
    from pipeline.runners import targets
    from pipeline.submitting.place import Place

    experiment = config.load(config.find(options.experiment), options.set)
    if options.replace and experiment.cluster.schedule is None:
        raise errors.InputError("--replace is of a cluster.schedule, which this experiment does not have")
    values = parameters.read(options.parameter, parameters.of(experiment))
    log = state.of_run(experiment.log, values.get(parameters.LOG_PATH))
    read = experiment.with_log(path=log.path)
    unreachable = targets.out_of_reach(read, options.root, options.target)
    backend = submitting.get(options.target)
    place = Place(options.host, options.namespace, options.project, options.region)
    if not options.dry_run:
        place.need(*backend.NEEDED)
        if unreachable:
            raise errors.InputError("; ".join(unreachable))
    job, schema = _compiled(experiment, options)
    asked = backend.request(job, experiment.cluster, values, place)
    unmounted = targets.unmounted(read, options.target)
    for line in (*unreachable, *unmounted, *targets.unused(experiment, options.target)):
        print(f"footfall: warning: {line}", file=sys.stderr)
    if options.dry_run:
        print(json.dumps(asked, indent=1, sort_keys=True))
        return 0
    print(_put_schema(experiment, options.root, schema))
    print(backend.send(asked, place, options.replace))
    return 0


def _compiled(experiment: Any, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The job as JSON values, and the text of the windows' schema."""
    from pipeline.runners import kubeflow

    with tempfile.TemporaryDirectory() as folder:
        spec, schema = kubeflow.compile_pipeline(
            experiment, os.path.join(folder, "job.json"), options.root, options.image, options.target
        )
        with open(spec, encoding="utf-8") as job, open(schema, encoding="utf-8") as text:
            return json.load(job), text.read()


def _put_schema(experiment: Any, root: str, text: str) -> str:
    """Writes the schema where the pipeline reads it, unless it is there: its name tells its content."""
    from tfx.dsl.io import fileio

    from pipeline.runners import kubeflow

    place = kubeflow.schema_place(experiment, root)
    if fileio.exists(place):
        return f"{place} is there"
    fileio.makedirs(os.path.dirname(place))
    with fileio.open(place, "w") as stream:
        stream.write(text)
    return f"{place} written"
