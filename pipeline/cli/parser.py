"""The parser of all commands, a module for each group of them."""

import argparse
import sys
from typing import Any

from pipeline.cli import compile, data, demo, everyone, lists, publish, reports, run, serve, submit, sweep


class _Version(argparse.Action):
    """Says which Footfall this is, and on which stack; imports none of it."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        from importlib import metadata

        stack = ", ".join(f"{name} {metadata.version(name)}" for name in ("tfx", "tensorflow", "apache-beam"))
        print(f"footfall {metadata.version('footfall')} ({stack}, Python {sys.version.split()[0]})")
        parser.exit()


def build() -> argparse.ArgumentParser:
    """Every command with its arguments; `run` is the function that does it."""
    parser = argparse.ArgumentParser(
        prog="footfall", description="Footfall turns a log of what users do into a served model."
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="the versions of Footfall, TFX and TensorFlow"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (data, run, sweep, reports, serve, everyone, publish, compile, submit, lists, demo):
        group.add(commands)
    return parser
