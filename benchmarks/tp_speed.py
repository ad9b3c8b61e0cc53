"""Training speed by TP beside plain training.

    python -m benchmarks.tp_speed [--quick] [--models sasrec,gru4rec] [--data uneven]
                                  [--rounds N] [--seconds S]

Models and data are those of `benchmarks.throughput`. An update takes at most 64 windows, each of another
user: plain training in one batch (of about equal lengths), TP in two mini-batches of 32, which is k = 2,
with and without the adversary. With k = 1 and without it, TP is plain training on batches of all lengths, which shows
what these alone cost. Each way of training is a process of its own with all cores, one at a time, in turns. The last line
is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import quick, throughput, training
from benchmarks.baselines import protocol

PLAIN = "plain"
LOOPS: dict[str, dict[str, Any]] = {
    PLAIN: {"name": "fit"},
    "k 1, lambda 0": {"name": "tp", "inner_steps": 1, "users_per_step": protocol.BATCH_SIZE, "adversary": 0},
    "k 2, lambda 0": {
        "name": "tp",
        "inner_steps": 2,
        "users_per_step": protocol.BATCH_SIZE // 2,
        "adversary": 0,
    },
    "k 2, lambda 0.1": {"name": "tp", "inner_steps": 2, "users_per_step": protocol.BATCH_SIZE // 2},
}
MODELS = (protocol.SASREC, protocol.GRU4REC, protocol.CASER)
_START_SECONDS = 300.0
_QUICK_LOOP = "k 2, lambda 0.1"


def measure(
    data: str,
    meta: dict[str, Any],
    model: str,
    rounds: int,
    seconds: float,
    loops: Sequence[str] = tuple(LOOPS),
) -> dict[str, Any]:
    """Bursts of one model's ways of training, in turns.

    Args:
      data, meta: of `throughput.prepare`.
      model: its name.
      rounds: how many turns.
      seconds: of a burst.
      loops: which of `LOOPS`, with the plain one.

    Returns:
      Targets a second (`targets_per_s`) and of a core's work (`targets_per_core_s`) of each way, medians over
      rounds, and what part of plain training's they are (`share`, `work_share`).

    Raises:
      training.Unavailable: if a process stopped.
    """
    speeds: dict[str, list[training.Round]] = {name: [] for name in loops}
    work: dict[str, list[training.Round]] = {name: [] for name in loops}
    workers: dict[str, training.Process] = {}
    try:
        for number, name in enumerate(loops):
            arguments = {**training.arguments_of(data, meta, 1), "model": model, "loop": LOOPS[name]}
            log = os.path.join(data, f"{number}.log")
            workers[name] = training.Process(training.FOOTFALL, sys.executable, arguments, log)
        for worker in workers.values():
            worker.answer(_START_SECONDS)
        for worker in workers.values():
            worker.ask(_START_SECONDS, do="train", seconds=0)
        for _ in range(rounds):
            for name, worker in workers.items():
                answer = worker.ask(_START_SECONDS, do="train", seconds=seconds)
                targets = sum(piece[0] for piece in answer["pieces"])
                stepping = sum(piece[1] for piece in answer["pieces"])
                speeds[name].append((targets / stepping, answer["others"]))
                work[name].append((targets / max(answer["own"], 1e-3), answer["others"]))
    finally:
        for worker in workers.values():
            worker.close()
    return {
        "targets_per_s": {name: training.middle(found) for name, found in speeds.items()},
        "targets_per_core_s": {name: training.middle(found) for name, found in work.items()},
        "share": {name: training.ratio(found, speeds[PLAIN]) for name, found in speeds.items()},
        "work_share": {name: training.ratio(found, work[PLAIN]) for name, found in work.items()},
        "other_cores_busy": max(others for found in speeds.values() for _, others in found),
    }


def table(result: dict[str, dict[str, Any]]) -> str:
    """The same to read: targets a second, in brackets the share of plain training's, by work after it."""
    lines = [("data", "model", *LOOPS, "busy")]
    for data, models in result.items():
        for model, one in models.items():
            cells = [
                f"{training.number(one['targets_per_s'].get(name))} "
                f"({training.number(one['share'].get(name), 2)}, {training.number(one['work_share'].get(name), 2)})"
                for name in LOOPS
            ]
            lines.append((data, model, *cells, training.number(one["other_cores_busy"], 2)))
    return "\n".join(training.aligned(lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    shapes = (throughput.ML100K, throughput.UNEVEN)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tp_speed", description=__doc__.split("\n")[0])
    quick.add(
        parser,
        "one model on one shape of data, two ways, one round",
        users=throughput.USERS,
        longest=throughput.LONGEST,
        seconds=1.0,
    )
    parser.add_argument("--models", type=lambda text: training.names_of(text, MODELS), default=list(MODELS))
    parser.add_argument("--data", type=lambda text: training.names_of(text, shapes), default=list(shapes))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way of training")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, options.quick["seconds"]
        options.data, options.models = options.data[-1:], options.models[:1]
    size = {name: options.quick[name] for name in ("users", "longest")} if options.quick else {}
    loops = (PLAIN, _QUICK_LOOP) if options.quick else tuple(LOOPS)
    result: dict[str, dict[str, Any]] = {}
    for data in options.data:
        with tempfile.TemporaryDirectory() as folder:
            meta = throughput.prepare(data, folder, **size)
            for model in options.models:
                training.say(f"{data}: {model}")
                try:
                    found = measure(folder, meta, model, options.rounds, options.seconds, loops)
                except training.Unavailable as error:
                    raise SystemExit(f"{data} {model}: {error}") from error
                result.setdefault(data, {})[model] = found
    print(table(result))
    print(json.dumps({"tp_speed": result}))


if __name__ == "__main__":
    main()
