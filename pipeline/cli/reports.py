"""`footfall report` and `compare`: what runs have come to."""

import argparse
import os
from collections.abc import Sequence

from pipeline.cli import arguments
from schemas import errors


def add(commands: arguments.Commands) -> None:
    """Adds `report` and `compare`."""
    report = arguments.command(commands, "report", _report, "rewrite a run's report")
    report.add_argument("run_dir", type=arguments.Path, metavar="RUN", help="the folder of a run")
    report.add_argument(
        "--users",
        action="store_true",
        help="add a map of test users (t-SNE of their embeddings), by how many events they have",
    )

    compared = arguments.command(
        commands,
        "compare",
        _compare,
        "compare two trained models on the test examples that both have",
        more="For each metric, and the main one of each slice, it prints both values, the difference, its 95-percent "
        "interval (paired bootstrap over users) and a p value (paired randomisation over users; of exposures, from the "
        "bootstrap).",
        stopped=arguments.GOES_ON,
    )
    runs = (
        "the folder of a run; or several runs whose mean is compared: a folder of runs, or folders with commas "
        "between them"
    )
    compared.add_argument("run_a", type=arguments.Path, metavar="RUN_A", help=runs)
    compared.add_argument("run_b", type=arguments.Path, metavar="RUN_B", help="likewise")
    compared.add_argument("--html", type=arguments.LocalPath, metavar="FILE", help="also write an HTML page")
    shown = compared.add_mutually_exclusive_group()
    shown.add_argument(
        "--full",
        action="store_true",
        help="print every metric of each slice, in place of the main one",
    )
    shown.add_argument("--json", action="store_true", help="print one JSON object, with all of it")
    compared.add_argument(
        "--seed", type=_seed, default=0, help="the seed of the bootstrap (default: %(default)s)"
    )


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"takes a whole number, 0 or above, found {text!r}")
    return int(text)


def _report(options: argparse.Namespace) -> int:
    from pipeline import progress

    if not os.path.exists(os.path.join(options.run_dir, "run.json")):
        raise errors.InputError(f"{options.run_dir}: not the folder of a run: it has no run.json")
    progress.import_tensorflow()
    from pipeline.reporting import report

    panel = None
    if options.users:
        from pipeline.reporting import users

        panel = users.users(options.run_dir)
    print(report.build(options.run_dir, panel))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from pipeline import progress

    folders = ",".join((options.run_a, options.run_b)).split(",")
    for run in folders:
        if not os.path.isdir(run):
            raise errors.InputError(f"{run}: no such folder")
    if options.html:
        _check_page(options.html, folders)
    progress.import_tensorflow()
    from pipeline.comparing import comparison, page, runs, table
    from pipeline.runners import whole

    found = comparison.compare(runs.find_runs(options.run_a), runs.find_runs(options.run_b), options.seed)
    print(found.to_json() if options.json else table.table(found, options.full))
    if options.html:
        whole.write(options.html, page.page(found))
        if not options.json:
            print(f"Page: {os.path.abspath(options.html)}")
    return 0


def _check_page(path: str, folders: Sequence[str]) -> None:
    """Checks that a page is written over nothing that runs have; one beside their report may be written again."""
    page = os.path.realpath(path)
    is_page = page.endswith((".html", ".htm")) and os.path.basename(page) != "report.html"
    inside = any(page.startswith(f"{os.path.realpath(folder)}/") for folder in folders)
    if inside and not is_page and os.path.isfile(page):
        raise errors.InputError(
            f"--html takes a page to write, found a file of a run that is compared: {path}"
        )
