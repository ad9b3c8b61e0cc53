"""Runs the command of a process, and says in a line what is wrong with its input."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.cli import arguments, parser
from schemas import errors, text


def main() -> None:
    """The command of this process: ends it with the code of `execute`."""
    leave(execute())


def leave(code: int) -> NoReturn:
    """Ends this process."""
    if "tensorflow" in sys.modules or "pyarrow" in sys.modules:
        # TensorFlow's functions complain on their way out of a dying interpreter, and Arrow's threads may abort it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def execute(words: Sequence[str] | None = None) -> int:
    """Runs a command, by default the one of `sys.argv`: 0 done, 1 a run failed, 2 the input does not fit.

    Raises:
        SystemExit: as argparse does, after --help and where the arguments are not the command's.
    """
    # Ids, file names and behaviours are whatever a log has: nothing of it may act on the terminal.
    with (
        contextlib.redirect_stdout(text.Stream(sys.stdout)),
        contextlib.redirect_stderr(text.Stream(sys.stderr)),
    ):
        return _execute(parser.build().parse_args(words))


def _execute(options: argparse.Namespace) -> int:
    try:
        _expand_paths(options)
        return options.run(options)
    except errors.InputError as error:
        print(f"footfall: {text.visible(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except OSError as error:
        if not error.filename and not error.strerror:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"footfall: {where}{error.strerror}", file=sys.stderr)
        return 2
    except ValueError as error:
        found = _of_settings(error)
        if not found:
            raise
        print(f"footfall: {found}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("; ".join(filter(None, ("footfall: stopped", options.stopped))), file=sys.stderr)
        return 130


def _expand_paths(options: argparse.Namespace) -> None:
    """Writes home folders out: a shell expands ~ at the beginning of a word alone, and not within quotes."""
    from schemas import settings

    for name, value in vars(options).items():
        if isinstance(value, arguments.Path):
            try:
                # Runs may be several, with commas between them.
                expanded = ",".join(map(settings.expand_home, value.split(",")))
            except ValueError as error:
                raise errors.InputError(str(error)) from error
            if isinstance(value, arguments.LocalPath) and "://" in expanded:
                # It would be a folder named gs: here.
                raise errors.InputError(
                    f"--{name.replace('_', '-')} takes a path on this machine, found {expanded}"
                )
            setattr(options, name, expanded)


def _of_settings(error: ValueError) -> str:
    """What is wrong with settings that an argument gave, as the path of a log; empty for another error."""
    import pydantic

    if not isinstance(error, pydantic.ValidationError):
        return ""
    from components.behavior_example_gen import spec
    from pipeline import explain

    return "; ".join(explain.lines(error, spec.LogSpec))
