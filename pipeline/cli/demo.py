"""`footfall demo`: from MovieLens-100K to an answer."""

import argparse
import os
from typing import Any

from pipeline.cli import arguments, run

_EXPERIMENT = "ml100k-sasrec"
_DATA = "ml-100k"
_SHOWN = 10


def add(commands: arguments.Commands) -> None:
    """Adds `demo`."""
    demo = arguments.command(
        commands,
        "demo",
        _demo,
        "train SASRec on MovieLens-100K, serve it and ask it",
        stopped=arguments.GOES_ON,
    )
    demo.add_argument("--runs", default="runs", type=arguments.LocalPath, help=argparse.SUPPRESS)


def _demo(options: argparse.Namespace) -> int:
    from pipeline import config, datasets

    path = config.find(_EXPERIMENT)
    experiment = config.load(path)
    run_dir = os.path.join(options.runs, experiment.name)
    code = run.run_experiment(experiment, path, run_dir, ["footfall", "run", _EXPERIMENT])
    if code:
        run.say_report(run_dir)
        return code
    from pipeline import ask
    from serving import client as client_lib
    from serving import server

    folder = datasets.path_of(_DATA)
    titles = datasets.titles(folder)
    user, events = _a_user(os.path.join(folder, datasets.EVENTS))
    *history, last = events
    with server.Server(ask.model_dir(run_dir)) as embedded:
        with client_lib.Client(f"127.0.0.1:{embedded.grpc_port}") as client:
            (answer,) = client.recommend([history], k=_SHOWN)
            versions = ", ".join(map(str, client.versions()))
    print(f"\nUser {user} had rated {len(history)} films; the latest were")
    for event in history[-5:]:
        print(f"    {titles[event['item_id']]}")
    print(f"The served model (version {versions}) expects next; the film rated next is marked:")
    for place, item in enumerate(answer.item_ids, 1):
        print(f"{place:4d} {'->' if item == last['item_id'] else '  '} {titles[item]}")
    if last["item_id"] not in answer.item_ids:
        print(f"In fact it was {titles[last['item_id']]}, not among the first {_SHOWN}.")
    print()
    run.say_report(run_dir)
    print(f"Serve it: footfall serve {run_dir}")
    return 0


def _a_user(path: str) -> Any:
    """The user of the log's newest event, and the events in time; ties keep the log's order."""
    import csv

    by_user: dict[str, list[dict[str, Any]]] = {}
    with open(path, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            event = {"item_id": row["item_id"], "timestamp": 1000 * int(row["timestamp"])}
            by_user.setdefault(row["user_id"], []).append(event)
    for events in by_user.values():
        events.sort(key=lambda event: event["timestamp"])
    user = max(by_user, key=lambda u: by_user[u][-1]["timestamp"])
    return user, by_user[user]
