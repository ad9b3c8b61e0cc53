"""`footfall sweep`: trains an experiment with many settings and seeds."""

import argparse
import os
import sys
from typing import Any

from pipeline.cli import arguments
from schemas import errors


def add(commands: arguments.Commands) -> None:
    """Adds `sweep`."""
    swept = arguments.command(
        commands,
        "sweep",
        _sweep,
        "train an experiment with many settings and seeds on the same windows",
        more="Nothing is pushed, and finished points are not repeated. `footfall compare` takes the folders of points.",
        stopped=arguments.GOES_ON,
    )
    arguments.experiment(swept)
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
        type=arguments.LocalPath,
        default="runs",
        help="the folder that holds the sweep's folder, NAME-sweep (default: %(default)s)",
    )
    swept.add_argument("--json", action="store_true", help="print sweep.json at the end")


def _sweep(options: argparse.Namespace) -> int:
    from pipeline import config
    from pipeline.runners import local
    from pipeline.sweeping import proposals, results, space, sweep

    for name in ("seeds", "trials"):
        if getattr(options, name) < 1:
            raise errors.InputError(f"--{name} takes a positive number, found {getattr(options, name)}")
    if options.search and options.grid or options.space and not options.search:
        raise errors.InputError("--space goes with --search, --grid without")
    if options.search and not options.space:
        raise errors.InputError(f"--search {options.search} needs a --space, as model.dim=16..128:log")
    path = config.find(options.experiment)
    # What is to be read, the sweep asks of its points.
    experiment = config.load(path, options.set, must_be_read=())
    folder = os.path.join(options.runs, f"{experiment.name}-sweep")
    if options.search:
        ranges = space.parse_space(options.space)
        points: Any = proposals.Search(options.search, ranges, options.trials, experiment.training.seed)
    else:
        points = proposals.grid_points(space.parse_grid(options.grid))
    try:
        to = 2 if options.json else 1
        found = sweep.Sweep(path, options.set, folder, options.seeds, to).run(
            points, options.search or "grid"
        )
    except local.RunFailed as error:
        print(f"footfall: {error}", file=sys.stderr)
        return 1
    written = os.path.abspath(os.path.join(folder, results.FILE))
    if options.json:
        with open(written, encoding="utf-8") as stream:
            print(stream.read())
    else:
        print(f"\n{results.table(found)}\nAll numbers: {written}")
    return 1 if any(point.errors for point in found) else 0
