"""`footfall run`: runs an experiment."""

import argparse
import os
import shlex
import sys
from typing import Any

from pipeline.cli import arguments


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


def _run(options: argparse.Namespace) -> int:
    from pipeline import config

    path = config.find(options.experiment)
    experiment = config.load(path, options.set)
    command = ["footfall", "run", options.experiment, *(part for s in options.set for part in ("--set", s))]
    if options.runs != "runs":
        command += ["--runs", options.runs]
    run_dir = os.path.join(options.runs, experiment.name)
    before = report_there(run_dir)
    try:
        return run_experiment(experiment, path, run_dir, command)
    finally:
        say_report(run_dir, before)


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


def run_experiment(experiment: Any, path: str, run_dir: str, command: list[str]) -> int:
    """Runs an experiment and says what came of it, or how to go on; returns the exit code."""
    from pipeline.runners import local

    try:
        local.run(experiment, run_dir, path, command)
    except local.RunFailed as error:
        print(f"footfall: {error}", file=sys.stderr)
        print(f"When it is fixed, go on with: {shlex.join(command)}", file=sys.stderr)
        return 1
    for line in local.outcome(run_dir):
        print(line)
    return 0
