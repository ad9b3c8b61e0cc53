"""`footfall recommend`, `score` and `embed`: what a model says of each user of a log."""

import argparse
import datetime
import os
import sys
from collections.abc import Callable
from typing import Any

from pipeline.cli import arguments
from schemas import errors

_MOST_ITEMS = 1000


def add(commands: arguments.Commands) -> None:
    """Adds `recommend`, `score` and `embed`."""
    recommend = arguments.command(
        commands,
        "recommend",
        _recommend,
        "write the best items for each user of a log, of a model that ranks items",
        "A row of the Parquet file has user_id, events (how many the history has in all), last_timestamp, and lists of item_id "
        "and score, best first.",
        arguments.BEGINS_ANEW,
    )
    _add_arguments(recommend, "only events before it count, for example {} (default: all events)")
    recommend.add_argument("-k", type=int, default=10, help="how many items (default: 10)")
    recommend.set_defaults(arrays=False)
    embed = arguments.command(
        commands,
        "embed",
        _embed,
        "write the embedding of each user of a log, of a model that ranks items or embeds users",
        "A row of the Parquet file has user_id, events (how many the history has in all), last_timestamp, embedding, and of a "
        "model that embeds users moment.",
        arguments.BEGINS_ANEW,
    )
    _add_arguments(
        embed,
        "only events before it count, for example {} (default: all events; a model that embeds users is asked about all as of "
        "right after the last event of the log, or the end of its last day if it has days without times)",
    )
    embed.add_argument(
        "--arrays",
        action="store_true",
        help="write a folder of client_ids.npy and embeddings.npy (float16) in place of a Parquet file",
    )
    score = arguments.command(
        commands,
        "score",
        _score,
        "write how likely each label is of each user of a log, of a model of labels of what users do",
        "A row of the Parquet file has user_id, events (how many the history has in all), last_timestamp, moment and for each "
        "label probability_LABEL.",
        arguments.BEGINS_ANEW,
    )
    _add_arguments(
        score,
        "as of when all users are asked about, for example {}; only events before it count (default: right after the last event "
        "of the log, but for a few that are far behind all others; the end of its last day if it has days without "
        "times)",
    )
    score.set_defaults(arrays=False)


def _add_arguments(command: argparse.ArgumentParser, at: str) -> None:
    command.add_argument(
        "model",
        type=arguments.Path,
        metavar="RUN_OR_MODEL",
        help="the folder of a run; or one with versions of a model, or a SavedModel, with --experiment",
    )
    command.add_argument("--log", metavar="PATH", help="the log to read (default: that of the experiment)")
    command.add_argument(
        "-o", "--output", required=True, type=arguments.Path, metavar="PATH", help="the Parquet file to write"
    )
    command.add_argument(
        "--experiment",
        help="the YAML file or name of the experiment that says how the log is read (default: the run's)",
    )
    command.add_argument(
        "--at",
        metavar="MOMENT",
        help=at.format(
            "2024-06-01T12:00:00+02:00 or 2024-06-01 (in UTC where it names no zone, whatever log.timezone is)"
        ),
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="overrides a setting of log, window or beam, for example log.timestamp_unit=ms; the window's length and past "
        "have to be the model's; repeatable",
    )


def _recommend(options: argparse.Namespace) -> int:
    if not 1 <= options.k <= _MOST_ITEMS:
        raise errors.InputError(f"-k takes 1 to {_MOST_ITEMS:,} items, found {options.k}")
    return _ask(options, lambda questions: questions.Recommendations(options.k), "Recommend")


def _score(options: argparse.Namespace) -> int:
    return _ask(options, lambda questions: questions.SCORES, "Score")


def _embed(options: argparse.Namespace) -> int:
    return _ask(options, lambda questions: questions.EMBEDDINGS, "Embed")


def _ask(options: argparse.Namespace, question: Callable[[Any], Any], step: str) -> int:
    """Asks the question that a function takes from the module of questions."""
    moment = _moment(options.at)
    from pipeline import progress

    progress.import_tensorflow()
    from pipeline.batch_inference import questions, users
    from pipeline.runners import stopping

    asked = users.ask(
        options.model,
        question(questions),
        experiment=options.experiment,
        log=options.log,
        moment=moment,
        overrides=options.set,
        say=lambda text: print(text, file=sys.stderr),
    )
    # What Beam and TensorFlow write is of no use to who asks: an error has all that a person needs.
    with (
        stopping.by_signals() as stop,
        progress.quiet(os.devnull) as screen,
        progress.Progress([step], screen) as shown,
    ):
        shown.start(step)
        try:
            found = users.write(asked, options.output, options.arrays)
        except Exception as error:
            stop.heed(error)
            shown.finish(progress.FAILED)
            raise
        shown.finish(progress.DONE)
    for warning in shown.warnings:
        print(f"footfall: warning: {warning}", file=sys.stderr)
    print(
        f"{options.output}: {found.users:,} users, {users.said_of_answers(found)}, by {asked.model_dir}"
        + (f"; left out: {users.said_of_left_out(found, asked)}" if found.left_out else "")
    )
    for one in found.unknown:
        if one.unknown:
            print(f"  {one}")
    return 0


def _moment(text: str | None) -> datetime.datetime | None:
    if text is None:
        return None
    from components.behavior_example_gen import spec

    try:
        return spec.read_moment(text)
    except ValueError as error:
        raise errors.InputError(f"--at {error}") from error
