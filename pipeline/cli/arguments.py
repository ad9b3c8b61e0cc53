"""How commands and the arguments that several of them have are added to the parser."""

import argparse
from collections.abc import Callable
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

# What is true of a command that is stopped, for `command`: it keeps what it has finished, or nothing.
GOES_ON = "the same command goes on from here"
BEGINS_ANEW = "the same command begins anew"


def command(
    parent: Commands,
    name: str,
    function: Callable[[argparse.Namespace], int],
    text: str,
    more: str = "",
    stopped: str = "",
) -> argparse.ArgumentParser:
    """Adds a command.

    Args:
      parent: the commands among which it is.
      function: what it does; returns the exit code.
      text: says so in a line.
      more: goes on, in its own help.
      stopped: is said where a person or a supervisor stops it.
    """
    added = parent.add_parser(name, help=text, description=f"{text}. {more}" if more else text)
    added.set_defaults(run=function, stopped=stopped)
    return added


class Path(str):
    """The type of an argument that is a path, or several with commas between, for `entry` to find."""


class LocalPath(Path):
    """Likewise, of what is written to this machine alone."""


def experiment(parser: argparse.ArgumentParser) -> None:
    """Adds which experiment, and what of it is changed."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", help="a YAML file, or a name that `footfall experiments` lists"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="overrides a setting, for example training.epochs=5; repeatable",
    )


def backend(parser: argparse.ArgumentParser) -> None:
    """Adds what a compiled pipeline is for."""
    parser.add_argument(
        "--target",
        choices=("kubeflow", "vertex"),
        default="kubeflow",
        help="what runs it (default: %(default)s)",
    )
    parser.add_argument(
        "--image", default="footfall:latest", help="a container image with Footfall (default: %(default)s)"
    )
