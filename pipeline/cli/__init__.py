"""The `footfall` command. TensorFlow and TFX are imported only by what needs them."""

import argparse
import contextlib
import json
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# What libraries say about Python's age is not for our users.
warnings.simplefilter("ignore")

from schemas import errors, text  # noqa: E402

_DEMO = "ml100k-sasrec"
_DEMO_DATA = "ml-100k"
_DEMO_SHOWN = 10
_EXAMPLE_ROOT = "gs://BUCKET/footfall"


def main() -> None:
    """The command of this process: ends it with the code of `execute`."""
    code = execute()
    if "tensorflow" in sys.modules or "pyarrow" in sys.modules:
        # TensorFlow's functions complain on their way out of a dying interpreter, and Arrow's threads may abort it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def execute(arguments: Sequence[str] | None = None) -> int:
    """Runs a command, by default the one of `sys.argv`: 0 done, 1 a run failed, 2 the input does not fit.

    Raises:
        SystemExit: as argparse does, after --help and where the arguments are not the command's.
    """
    # Ids, file names and behaviours are whatever a log has: nothing of it may act on the terminal.
    with (
        contextlib.redirect_stdout(text.Stream(sys.stdout)),
        contextlib.redirect_stderr(text.Stream(sys.stderr)),
    ):
        return _execute(_parser().parse_args(arguments))


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
        if not error.filename:
            raise
        print(f"footfall: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except ValueError as error:
        found = _of_settings(error)
        if not found:
            raise
        print(f"footfall: {found}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("footfall: stopped; the same command goes on from here", file=sys.stderr)
        return 130


# Arguments that are paths: a shell expands ~ at the beginning of a word alone, and not within quotes.
_PATHS = (
    "file",
    "to",
    "runs",
    "run_dir",
    "run_a",
    "run_b",
    "html",
    "model_dir",
    "model",
    "history",
    "exposures",
    "output",
)


def _expand_paths(options: argparse.Namespace) -> None:
    from schemas import settings

    for name in _PATHS:
        value = getattr(options, name, None)
        if isinstance(value, str) and "~" in value:
            try:
                # Runs may be several, with commas between them.
                expanded = ",".join(map(settings.expand_home, value.split(",")))
            except ValueError as error:
                raise errors.InputError(str(error)) from error
            setattr(options, name, expanded)


def _of_settings(error: ValueError) -> str:
    """What is wrong with settings that an argument gave, as the path of a log; empty for another error."""
    import pydantic

    if not isinstance(error, pydantic.ValidationError):
        return ""
    from components.behavior_example_gen import spec
    from pipeline import explain

    return "; ".join(explain.lines(error, spec.LogSpec))


class _Version(argparse.Action):
    """Says which Footfall this is, and on which stack; imports none of it."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        from importlib import metadata

        stack = ", ".join(f"{name} {metadata.version(name)}" for name in ("tfx", "tensorflow", "apache-beam"))
        print(f"footfall {metadata.version('footfall')} ({stack}, Python {sys.version.split()[0]})")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="footfall", description="Footfall turns a log of what users do into a served model."
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="the versions of Footfall, TFX and TensorFlow"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, function: Any, text: str, parent: Any = commands, more: str = ""
    ) -> argparse.ArgumentParser:
        added = parent.add_parser(name, help=text, description=f"{text}. {more}" if more else text)
        added.set_defaults(run=function)
        return added

    data = commands.add_parser("data", help="fetch a public data set, or profile a log").add_subparsers(
        required=True, metavar="COMMAND"
    )
    fetch = command("fetch", _fetch, "fetch a public data set and keep it", data)
    fetch.add_argument("name", help="of the data set, for example ml-100k")
    fetch.add_argument("--to", help="the folder to put it in (default: the user's cache)")
    describe = command("describe", _describe, "profile a log and suggest an experiment", data)
    describe.add_argument(
        "file", help="a file, a folder, a pattern, or a path with {SPAN} or {YYYY}-{MM}-{DD}"
    )
    describe.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="ROLE=COLUMN,...",
        help="which column has which role, for example user_id=uid,item_id=sku,label.click=opened",
    )
    describe.add_argument(
        "--delimiter", help="what separates values, for example ';' or '::' (default: detected)"
    )
    describe.add_argument("--encoding", help="of the text, for example cp1252 (default: detected)")
    describe.add_argument("--no-header", action="store_true", help="the first row is data, not column names")
    describe.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="log.KEY=VALUE",
        help="another setting of the log, for example log.timestamp_unit=ms; repeatable",
    )
    describe.add_argument("--json", action="store_true", help="print one JSON object")

    run = command("run", _run, "run an experiment; finished components are not repeated")
    _experiment_argument(run)
    run.add_argument(
        "--runs", default="runs", help="the folder that holds the folders of runs (default: %(default)s)"
    )

    swept = command(
        "sweep",
        _sweep,
        "train an experiment with many settings and seeds on the same windows",
        more="Nothing is pushed, and finished points are not repeated. `footfall compare` takes the folders of points.",
    )
    _experiment_argument(swept)
    swept.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=A,B",
        help="values of a setting, for example model.dim=32,64; repeat it to train all combinations",
    )
    swept.add_argument(
        "--search", choices=("random", "bayesian"), help="let Keras Tuner choose points from --space"
    )
    swept.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="KEY=LOW..HIGH[:log][:step=N]",
        help="a range, for example model.dim=16..128:log:step=2, or values, for example model.heads=1,2,4; repeatable",
    )
    swept.add_argument(
        "--trials", type=int, default=10, help="how many points a search tries (default: %(default)s)"
    )
    swept.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="how often each point is trained, with training.seed, training.seed + 1, ... (default: %(default)s)",
    )
    swept.add_argument(
        "--runs",
        default="runs",
        help="the folder that holds the sweep's folder, NAME-sweep (default: %(default)s)",
    )
    swept.add_argument("--json", action="store_true", help="print sweep.json at the end")

    report = command("report", _report, "write a run's report again")
    report.add_argument("run_dir", metavar="RUN", help="the folder of a run")

    compared = command(
        "compare",
        _compare,
        "compare two trained models on the test examples that both have",
        more="For each metric and slice it prints both values, the difference, its 95-percent interval (paired bootstrap "
        "over users) and a p value (paired randomisation over users; of exposures, from the bootstrap).",
    )
    runs = (
        "the folder of a run; or several runs whose mean is compared: a folder of runs, or folders with commas "
        "between them"
    )
    compared.add_argument("run_a", metavar="RUN_A", help=runs)
    compared.add_argument("run_b", metavar="RUN_B", help="likewise")
    compared.add_argument("--html", metavar="FILE", help="also write an HTML page")
    compared.add_argument("--json", action="store_true", help="print one JSON object")
    compared.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")

    serve = command("serve", _serve, "serve a pushed model on this machine, for laptops and tests")
    serve.add_argument(
        "model_dir", metavar="DIR", help="the folder of a run, or one with versions of a model"
    )
    serve.add_argument("--name", default="model", help="the model's name in requests (default: %(default)s)")
    serve.add_argument("--grpc-port", type=int, default=8500, help="(default: %(default)s)")
    serve.add_argument("--rest-port", type=int, default=8501, help="(default: %(default)s)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")

    predict = command(
        "predict", _predict, "ask a model for the next items of a history, or for the steps after an exposure"
    )
    predict.add_argument(
        "model", metavar="DIR_OR_ADDRESS", help="the folder of a run, or host:port of a server"
    )
    given = predict.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--items",
        help="a history of item ids, oldest first, for example 242,302,377; all count as happening now",
    )
    given.add_argument(
        "--history", help="a file with one history per line, each a JSON list of events; - is stdin"
    )
    given.add_argument(
        "--exposure",
        metavar="JSON",
        help='an exposure, for example \'{"user_id": "7", "item_id": "9", "timestamp": 881250949000}\', '
        "with the attributes and the `history` (a list of events) that the model takes",
    )
    given.add_argument("--exposures", metavar="FILE", help="a file with one such object per line; - is stdin")
    predict.add_argument(
        "--behavior",
        default="view",
        help="the behaviour of all --items, if the log has behaviours (default: %(default)s)",
    )
    predict.add_argument("--scene", default="", help="the scene of all --items, if the log has scenes")
    predict.add_argument(
        "--name", default="model", help="the model's name on the server (default: %(default)s)"
    )
    predict.add_argument(
        "-k", type=int, default=10, help="how many items to recommend (default: %(default)s)"
    )
    predict.add_argument("--exclude", default="", help="item ids to leave out, for example 1,2,3")
    predict.add_argument("--json", action="store_true", help="print one JSON object per history or exposure")

    compiled = command(
        "compile",
        _compile,
        "write an experiment as a Kubeflow Pipelines v2 spec",
    )
    _experiment_argument(compiled)
    compiled.add_argument("-o", "--output", required=True, help="the file to write, .yaml or .json")
    compiled.add_argument(
        "--root",
        default=_EXAMPLE_ROOT,
        help="where the pipeline keeps everything, for example a bucket (default: %(default)s)",
    )
    compiled.add_argument(
        "--image", default="footfall:latest", help="a container image with Footfall (default: %(default)s)"
    )

    for name, function, summary in (
        ("models", _models, "list the models"),
        ("experiments", _experiments, "list the experiments that come with Footfall"),
    ):
        command(name, function, summary).add_argument("--json", action="store_true", help="print JSON")

    demo = command("demo", _demo, "train SASRec on MovieLens-100K, serve it and ask it")
    demo.add_argument("--runs", default="runs", help=argparse.SUPPRESS)
    return parser


def _experiment_argument(parser: argparse.ArgumentParser) -> None:
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


def _fetch(options: argparse.Namespace) -> int:
    from pipeline import datasets

    print(datasets.fetch(options.name, options.to, lambda text: print(text, file=sys.stderr)))
    return 0


def _describe(options: argparse.Namespace) -> int:
    _import_tensorflow()
    from components.behavior_example_gen import describe
    from pipeline import datasets, describing, suggest

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


def _run(options: argparse.Namespace) -> int:
    from pipeline import config

    path = config.find(options.experiment)
    experiment = config.load(path, options.set)
    command = ["footfall", "run", options.experiment, *(part for s in options.set for part in ("--set", s))]
    if options.runs != "runs":
        command += ["--runs", options.runs]
    run_dir = os.path.join(options.runs, experiment.name)
    before = _report_there(run_dir)
    try:
        return _run_experiment(experiment, path, run_dir, command)
    finally:
        _say_report(run_dir, before)


def _report_there(run_dir: str) -> tuple[int, int] | None:
    """What tells a folder's report from another one: no time of now, since clocks go back."""
    try:
        found = os.stat(os.path.join(run_dir, "report.html"))
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _say_report(run_dir: str, before: tuple[int, int] | None = None) -> None:
    """Names a report, unless it is the one that was there before the run."""
    if _report_there(run_dir) not in (None, before):
        print(f"Report: {os.path.abspath(os.path.join(run_dir, 'report.html'))}")


def _run_experiment(experiment: Any, path: str, run_dir: str, command: list[str]) -> int:
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


def _sweep(options: argparse.Namespace) -> int:
    from pipeline import config, sweep
    from pipeline.runners import local

    for name in ("seeds", "trials"):
        if getattr(options, name) < 1:
            raise errors.InputError(f"--{name} takes a positive number, found {getattr(options, name)}")
    if options.search and options.grid or options.space and not options.search:
        raise errors.InputError("--space goes with --search, --grid without")
    if options.search and not options.space:
        raise errors.InputError(f"--search {options.search} needs a --space, as model.dim=16..128:log")
    path = config.find(options.experiment)
    experiment = config.load(path, options.set)
    folder = os.path.join(options.runs, f"{experiment.name}-sweep")
    if options.search:
        space = sweep.parse_space(options.space)
        points: Any = sweep.Search(options.search, space, options.trials, experiment.training.seed)
    else:
        points = sweep.grid_points(sweep.parse_grid(options.grid))
    try:
        found = sweep.Sweep(path, options.set, folder, options.seeds).run(points, options.search or "grid")
    except local.RunFailed as error:
        print(f"footfall: {error}", file=sys.stderr)
        return 1
    written = os.path.abspath(os.path.join(folder, sweep.FILE))
    if options.json:
        with open(written, encoding="utf-8") as stream:
            print(stream.read())
    else:
        print(f"\n{sweep.table(found)}\nAll numbers: {written}")
    return 1 if any(point.errors for point in found) else 0


def _report(options: argparse.Namespace) -> int:
    if not os.path.exists(os.path.join(options.run_dir, "run.json")):
        raise errors.InputError(f"{options.run_dir}: not the folder of a run: it has no run.json")
    _import_tensorflow()
    from pipeline.reporting import report

    print(report.build(options.run_dir))
    return 0


def _compare(options: argparse.Namespace) -> int:
    for run in ",".join((options.run_a, options.run_b)).split(","):
        if not os.path.isdir(run):
            raise errors.InputError(f"{run}: no such folder")
    _import_tensorflow()
    from pipeline.comparing import comparison, page, runs, table

    found = comparison.compare(runs.find_runs(options.run_a), runs.find_runs(options.run_b), options.seed)
    print(found.to_json() if options.json else table.table(found))
    if options.html:
        with open(options.html, "w", encoding="utf-8") as stream:
            stream.write(page.page(found))
        if not options.json:
            print(f"Page: {os.path.abspath(options.html)}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    from pipeline import ask

    model_dir = ask.model_dir(options.model_dir)
    _import_tensorflow()
    from serving import server

    print(f"Serving {model_dir} as {options.name!r}; Ctrl-C stops it.", flush=True)
    server.serve_forever(model_dir, options.name, options.grpc_port, options.rest_port, host=options.host)
    return 0


def _import_tensorflow() -> None:
    from pipeline import progress

    progress.import_tensorflow()


def _predict(options: argparse.Namespace) -> int:
    from pipeline import ask

    return ask.predict(options)


def _compile(options: argparse.Namespace) -> int:
    from pipeline import config
    from pipeline.runners import kubeflow

    if not options.output.endswith((".yaml", ".yml", ".json")):
        raise errors.InputError(f"--output: a spec ends with .yaml or .json, found {options.output}")
    experiment = config.load(config.find(options.experiment), options.set)
    spec, schema = kubeflow.compile_pipeline(experiment, options.output, options.root, options.image)
    print(
        f"{spec}\n{schema}: copy it to {kubeflow.schema_place(experiment, options.root)} before the first run"
    )
    for line in kubeflow.out_of_reach(experiment, options.root, _EXAMPLE_ROOT):
        print(f"footfall: warning: {line}", file=sys.stderr)
    return 0


def _models(options: argparse.Namespace) -> int:
    from trainer import registry

    entries = [
        {
            "name": name,
            "summary": entry.summary,
            "paper": entry.paper,
            "window_kinds": entry.window_kinds,
            "objective": entry.objective,
            "settings": {key: field.default for key, field in entry.model_fields.items() if key != "name"},
        }
        for name, entry in registry.MODELS.items()
    ]
    return _list(entries, options.json)


def _experiments(options: argparse.Namespace) -> int:
    from pipeline import config

    entries = []
    for name in config.shipped_names():
        path = config.find(name)
        with open(path, encoding="utf-8") as stream:
            summary = stream.readline().lstrip("# ").strip()
        entries.append(
            {"name": name, "summary": summary, "model": config.load(path).model.name, "path": path}
        )
    return _list(entries, options.json)


def _list(entries: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        print(json.dumps(entries, ensure_ascii=False))
        return 0
    width = max(len(entry["name"]) for entry in entries)
    for entry in entries:
        print(f"{entry['name']:<{width}}  {entry['summary']}")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from pipeline import config, datasets

    path = config.find(_DEMO)
    experiment = config.load(path)
    run_dir = os.path.join(options.runs, experiment.name)
    code = _run_experiment(experiment, path, run_dir, ["footfall", "run", _DEMO])
    if code:
        _say_report(run_dir)
        return code
    from pipeline import ask
    from serving import client as client_lib
    from serving import server

    folder = datasets.path_of(_DEMO_DATA)
    titles = datasets.titles(folder)
    user, events = _a_user(os.path.join(folder, datasets.EVENTS))
    *history, last = events
    with server.Server(ask.model_dir(run_dir)) as embedded:
        with client_lib.Client(f"127.0.0.1:{embedded.grpc_port}") as client:
            (answer,) = client.recommend([history], k=_DEMO_SHOWN)
            versions = ", ".join(map(str, client.versions()))
    print(f"\nUser {user} had rated {len(history)} films; the latest were")
    for event in history[-5:]:
        print(f"    {titles[event['item_id']]}")
    print(f"The served model (version {versions}) expects next; the film rated next is marked:")
    for place, item in enumerate(answer.item_ids, 1):
        print(f"{place:4d} {'->' if item == last['item_id'] else '  '} {titles[item]}")
    if last["item_id"] not in answer.item_ids:
        print(f"In fact it was {titles[last['item_id']]}, not among the first {_DEMO_SHOWN}.")
    print()
    _say_report(run_dir)
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
