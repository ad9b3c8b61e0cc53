"""`footfall run`: runs an experiment."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.cli import arguments

# The exit code of a run that went well and whose model is not fit to be pushed, where this was asked.
NOT_BLESSED = 3


def add(commands: arguments.Commands) -> None:
    """Adds `run`."""
    run = arguments.command(
        commands,
        "run",
        _run,
        "run an experiment; finished components are not repeated",
        stopped=arguments.GOES_ON,
    )
    arguments.experiment(run)
    run.add_argument(
        "--runs",
        default="runs",
        type=arguments.LocalPath,
        help="the folder that holds the folders of runs (default: %(default)s)",
    )
    run.add_argument(
        "--no-push",
        action="store_true",
        help="measure the model and try it in a server, and push it nowhere: what is live stays",
    )
    run.add_argument(
        "--require-blessing",
        action="store_true",
        help=f"exit with {NOT_BLESSED} where the gate or the trial in a server does not let the model pass",
    )


def _run(options: argparse.Namespace) -> int:
    from components.pusher import switch
    from pipeline import config, parameters

    path = config.find(options.experiment)
    experiment = config.load(path, options.set)
    command = ["footfall", "run", options.experiment, *(part for s in options.set for part in ("--set", s))]
    if options.runs != "runs":
        command += ["--runs", options.runs]
    command += ["--no-push"] * options.no_push + ["--require-blessing"] * options.require_blessing
    given = {parameters.PUSH: switch.NO} if options.no_push else {}
    run_dir = os.path.join(options.runs, experiment.name)
    before = report_there(run_dir)
    try:
        code = run_experiment(experiment, path, run_dir, command, given)
    finally:
        say_report(run_dir, before)
    if code or not options.require_blessing:
        return code
    from pipeline import results

    return 0 if results.newest(run_dir).blessed else NOT_BLESSED


def report_there(run_dir: str) -> tuple[int, int] | None:
    """What tells a folder's report from another one: no time of now, since clocks go back."""
    try:
        found = os.stat(os.path.join(run_dir, "report.html"))
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def say_report(run_dir: str, before: tuple[int, int] | None = None) -> None:
    """Names a report, unless it is the one that was there before the run."""
    if report_there(run_dir) not in (None, before):
        print(f"Report: {os.path.abspath(os.path.join(run_dir, 'report.html'))}")


def run_experiment(
    experiment: Any, path: str, run_dir: str, command: list[str], given: Mapping[str, Any] | None = None
) -> int:
    """Runs an experiment and says what came of it, or how to go on; returns the exit code.

    Args:
      given: see `runners.local.run`.
    """
    from pipeline.runners import local

    try:
        local.run(experiment, run_dir, path, command, given)
    except local.RunFailed as error:
        print(f"footfall: {error}", file=sys.stderr)
        print(f"When it is fixed, go on with: {shlex.join(command)}", file=sys.stderr)
        return 1
    for line in local.outcome(run_dir):
        print(line)
    return 0
