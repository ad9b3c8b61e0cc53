"""`footfall serve` and `predict`: a model that answers, and asking it."""

import argparse

from pipeline.cli import arguments


def add(commands: arguments.Commands) -> None:
    """Adds `serve` and `predict`."""
    serve = arguments.command(
        commands, "serve", _serve, "serve a pushed model on this machine, for laptops and tests"
    )
    serve.add_argument(
        "model_dir",
        type=arguments.Path,
        metavar="DIR",
        help="the folder of a run, or one with versions of a model",
    )
    serve.add_argument("--name", default="model", help="the model's name in requests (default: %(default)s)")
    serve.add_argument("--grpc-port", type=int, default=8500, help="the gRPC port (default: %(default)s)")
    serve.add_argument("--rest-port", type=int, default=8501, help="the REST port (default: %(default)s)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")

    predict = arguments.command(
        commands,
        "predict",
        _predict,
        "ask a model for the next items of a history, the embedding of its user, or the steps after an exposure",
    )
    predict.add_argument(
        "model",
        type=arguments.Path,
        metavar="DIR_OR_ADDRESS",
        help="the folder of a run, or host:port of a server",
    )
    given = predict.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--items",
        help="a history of item ids, oldest first, for example 242,302,377; all count as happening now",
    )
    given.add_argument(
        "--history",
        type=arguments.Path,
        help="a file with one history per line, each a JSON list of events; - is stdin",
    )
    given.add_argument(
        "--exposure",
        metavar="JSON",
        help='an exposure, for example \'{"user_id": "7", "item_id": "9", "timestamp": 881250949000}\', '
        "with the attributes and the `history` (a list of events) that the model takes; of a model of labels of periods, a "
        "history, '{\"history\": [...]}', with what the model takes of the user, as user_id",
    )
    given.add_argument(
        "--exposures",
        type=arguments.Path,
        metavar="FILE",
        help="a file with one such object per line; - is stdin",
    )
    predict.add_argument(
        "--behavior",
        default="view",
        help="the behaviour of all --items, if the log has behaviours (default: %(default)s)",
    )
    predict.add_argument("--scene", default="", help="the scene of all --items, if the log has scenes")
    predict.add_argument(
        "--now",
        metavar="MOMENT",
        help="of a model of periods: when it is asked, as 2024-06-01T12:00:00Z (in UTC where it names no zone) or in ms; "
        "what is at it or later does not count (default: right after the last event)",
    )
    predict.add_argument(
        "--name", default="model", help="the model's name on the server (default: %(default)s)"
    )
    predict.add_argument(
        "-k", type=int, default=10, help="how many items to recommend (default: %(default)s)"
    )
    predict.add_argument("--exclude", default="", help="item ids to leave out, for example 1,2,3")
    predict.add_argument("--json", action="store_true", help="print one JSON object per history or exposure")


def _serve(options: argparse.Namespace) -> int:
    from pipeline import ask, progress

    model_dir = ask.model_dir(options.model_dir)
    progress.import_tensorflow()
    from serving import server

    print(f"Serving {model_dir} as {options.name!r}; Ctrl-C stops it.", flush=True)
    server.serve_forever(model_dir, options.name, options.grpc_port, options.rest_port, host=options.host)
    return 0


def _predict(options: argparse.Namespace) -> int:
    from pipeline import ask

    return ask.predict(options)
