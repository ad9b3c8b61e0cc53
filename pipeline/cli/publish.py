"""`footfall history`, `promote` and `rollback`: which of the pushed versions servers load."""

import argparse
import sys

from pipeline.cli import arguments

_SERVED = "the folder with the versions as the server sees it, if that is another path"


def add(commands: arguments.Commands) -> None:
    """Adds `history`, `promote` and `rollback`."""
    history = arguments.command(commands, "history", _history, "list the pushed versions of a model")
    _folder(history)

    promote = arguments.command(
        commands,
        "promote",
        _promote,
        "label a pushed version, so that requests can name it",
        "The label is written to models.config beside the versions. TensorFlow Serving reads that file with "
        "--model_config_file, again and again with --model_config_file_poll_wait_seconds=15. A label that has another version "
        "moves once servers know that they load the new one, which takes 20 s.",
    )
    _folder(promote)
    promote.add_argument("--version", type=int, help="the version to label (default: the one that answers)")
    promote.add_argument("--label", default="stable", help="the label (default: %(default)s)")
    promote.add_argument("--served-as", default="", metavar="DIR", help=_SERVED)

    rollback = arguments.command(
        commands,
        "rollback",
        _rollback,
        "serve an earlier version again",
        "Labels of later versions move to it; those that it did not have are of no version for 20 s. The next push of another "
        "model replaces it; later versions are withdrawn, and pushing one of their models again does not publish it.",
    )
    _folder(rollback)
    rollback.add_argument(
        "--version",
        type=int,
        help="the version to serve (default: the newest sound version before the one that is served)",
    )
    rollback.add_argument("--served-as", default="", metavar="DIR", help=_SERVED)


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model_dir",
        type=arguments.Path,
        metavar="DIR",
        help="the folder of a run, or one with versions of a model, also in a bucket",
    )


def _base(options: argparse.Namespace) -> str:
    from pipeline import ask, progress

    progress.import_tensorflow()
    return options.model_dir.rstrip("/") if "://" in options.model_dir else ask.model_dir(options.model_dir)


def _history(options: argparse.Namespace) -> int:
    from pipeline import publishing

    for line in publishing.history(_base(options)):
        print(line)
    return 0


def _promote(options: argparse.Namespace) -> int:
    from pipeline import publishing

    print(publishing.promote(_base(options), options.version, options.label, options.served_as, _say))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from pipeline import publishing

    print(publishing.rollback(_base(options), options.version, options.served_as, _say))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)
