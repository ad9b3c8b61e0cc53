"""`footfall data`: fetches a public data set, or profiles a log."""

import argparse
import json
import sys

from pipeline import datasets
from pipeline.cli import arguments


def add(commands: arguments.Commands) -> None:
    """Adds `data fetch` and `data describe`."""
    data = commands.add_parser(
        "data",
        help="fetch a public data set, or profile a log",
        description="Fetch a public data set, or profile a log.",
    ).add_subparsers(required=True, metavar="COMMAND")
    fetch = arguments.command(data, "fetch", _fetch, "fetch a public data set and keep it")
    fetch.add_argument("name", help=f"the data set: {' or '.join(datasets.names())}")
    fetch.add_argument(
        "--to", type=arguments.LocalPath, help="the folder to put it in (default: the user's cache)"
    )
    described = arguments.command(data, "describe", _describe, "profile a log and suggest an experiment")
    described.add_argument(
        "file",
        type=arguments.Path,
        help="a file, a folder, a pattern, or a path with {SPAN} or {YYYY}-{MM}-{DD}",
    )
    described.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="ROLE=COLUMN,...",
        help="which column has which role, for example user_id=uid,item_id=sku,label.click=opened",
    )
    described.add_argument(
        "--delimiter", help="what separates values, for example ';' or '::' (default: detected)"
    )
    described.add_argument(
        "--encoding", help="the encoding of the text, for example cp1252 (default: detected)"
    )
    described.add_argument("--no-header", action="store_true", help="the first row is data, not column names")
    described.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="log.KEY=VALUE",
        help="another setting of the log, for example log.timestamp_unit=ms; repeatable",
    )
    described.add_argument("--json", action="store_true", help="print one JSON object")


def _fetch(options: argparse.Namespace) -> int:
    print(datasets.fetch(options.name, options.to, lambda text: print(text, file=sys.stderr)))
    return 0


def _describe(options: argparse.Namespace) -> int:
    from pipeline import progress

    progress.import_tensorflow()
    from components.behavior_example_gen import describe
    from pipeline import describing, suggest

    given = describing.settings(
        options.columns, options.delimiter, options.encoding, not options.no_header, options.set
    )
    found = describe.describe(datasets.resolve(options.file), given)
    suggestion = suggest.experiment(found)
    if options.json:
        print(json.dumps({**found, "experiment": suggestion}, ensure_ascii=False))
        return 0
    # Comments, so that all of it is an experiment file.
    print("\n".join(map(describing.comment, describing.lines(found))))
    print(suggestion, end="")
    return 0
