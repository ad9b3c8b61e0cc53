"""Training speed of Footfall's models beside that of their namesakes in RecBole and RecTools.

    python -m benchmarks.throughput [--quick] [--models sasrec,gru4rec] [--data uneven]
                                    [--rounds N] [--seconds S]

All are 64 wide (2 blocks, 2 heads; GRU4Rec with 128 hidden units; Caser over the last 5 items
with 16 filters of each height and 4 over the items), dropout 0.2, softmax over the whole
catalogue, Adam. Two shapes of data: `ml-100k`, windows of 50 events, of which most are full, and
`uneven`, drawn: 2,000 items, lengths log-normal with median 12, windows of 200 events. Each system
is a process of its own with all cores, one at a time, in turns. The last line is one JSON object.

Speed is the number of supervised targets in a second of the steps and of getting their batches,
without what warms up. Footfall and RecTools learn all targets of a sequence in one pass. RecBole
makes a sequence of each target, so that its targets are its rows, except with BERT4Rec, where a row
has as many as it has masks. A step has 64 sequences, or as many rows as have so many targets.
RecBole has no CASM; it is measured against SASRec, which reads no behaviours and so does less.
RecTools has SASRec (twice: also as the flat network of its `fast_transformers`), BERT4Rec, eSASRec and HSTU,
RecBole the first five.
Targets are counted by seconds of the wall, and by seconds that
cores worked for the system, which other processes disturb less.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import quick, training
from benchmarks.baselines import protocol
from pipeline import datasets

MODELS = (
    protocol.SASREC,
    protocol.GRU4REC,
    protocol.CASER,
    protocol.BERT4REC,
    protocol.CASM,
    protocol.ESASREC,
    protocol.HSTU,
)
ML100K, UNEVEN = "ml-100k", "uneven"
# The drawn log.
USERS, _ITEMS, LONGEST, _MEDIAN, _SPREAD = 3000, 2000, 200, 12, 1.0
_START_SECONDS = 300.0


def uneven(path: str, seed: int = 0, users: int = USERS, longest: int = LONGEST) -> None:
    """Writes a log whose sequences are of very uneven lengths, for `training.prepare`.

    A user has one event that is held out, one that is only a beginning, and targets between; items
    are drawn by Zipf's law.
    """
    rng = np.random.default_rng(seed)
    targets = np.clip(rng.lognormal(np.log(_MEDIAN), _SPREAD, users).round(), 1, longest).astype(int)
    of_user = np.repeat(np.arange(users), targets + 2)
    share = 1.0 / np.arange(1, _ITEMS + 1)
    items = rng.choice(_ITEMS, len(of_user), p=share / share.sum())
    table = pd.DataFrame({"user_id": of_user, "item_id": items, "timestamp": np.arange(len(of_user))})
    table.to_csv(path, index=False)


def prepare(data: str, folder: str, users: int = USERS, longest: int = LONGEST) -> dict[str, Any]:
    """`training.prepare` of one of the two shapes of data, by its name; the drawn one may be smaller."""
    if data == UNEVEN:
        events, length = os.path.join(folder, "events.csv"), longest
        uneven(events, users=users, longest=longest)
    else:
        events = os.path.join(datasets.fetch(data, say=training.say), datasets.EVENTS)
        length = protocol.LENGTH
    meta = training.prepare(events, folder, length)
    training.say(f"{data}: {meta['users']} users, {len(meta['counts'])} items, {sum(meta['counts'])} targets")
    return meta


def measure(
    data: str, meta: dict[str, Any], model: str, rounds: int, seconds: float, setup_seconds: float
) -> dict[str, Any]:
    """Bursts of one model's systems in turns.

    Args:
      data, meta: of `training.prepare`.
      model: its name.
      rounds: how many turns, while there is time.
      seconds: of a burst.
      setup_seconds: that making the environment of another system may take; 0 makes none.

    Returns:
      Targets a second of the wall (`targets_per_s`) and of the cores' work (`targets_per_core_s`)
      by system, ratios to Footfall's; null where there is none.
    """
    found, by_work = training.Measurements(), {system: [] for system in training.SYSTEMS}
    pythons = training.interpreters(setup_seconds, found, model)
    workers: dict[str, training.Process] = {}

    def attempt(system: str, **command: Any) -> dict[str, Any] | None:
        try:
            return (
                workers[system].ask(_START_SECONDS, **command)
                if command
                else workers[system].answer(_START_SECONDS)
            )
        except training.Unavailable as error:
            found.leave_out(system, str(error))
            workers.pop(system).close()
            return None

    try:
        arguments = training.arguments_of(data, meta, 1, model)
        for system, python in pythons.items():
            log = os.path.join(data, f"{system}.log")
            workers[system] = training.Process(system, python, arguments, log)
        # Loading is not measured, so it need not be in turns.
        for system in pythons:
            attempt(system)
        for system in list(workers):
            attempt(system, do="train", seconds=0)
        for _ in range(rounds):
            for system in list(workers):
                answer = attempt(system, do="train", seconds=seconds)
                if answer:
                    found.add_training(system, answer)
                    targets = sum(piece[0] for piece in answer["pieces"])
                    by_work[system].append((targets / max(answer["own"], 1e-3), answer["others"]))
    finally:
        for worker in workers.values():
            worker.close()
    return _summary(found, by_work)


def _summary(found: training.Measurements, by_work: dict[str, list[training.Round]]) -> dict[str, Any]:
    ours, work = found.speeds[training.FOOTFALL], by_work[training.FOOTFALL]
    busy = [others for rounds in found.speeds.values() for _, others in rounds]
    return {
        "targets_per_s": {system: training.middle(found.speeds[system]) for system in training.SYSTEMS},
        "targets_per_core_s": {system: training.middle(by_work[system]) for system in training.SYSTEMS},
        "ratio_vs_recbole": training.ratio(ours, found.speeds[training.RECBOLE]),
        "ratio_vs_rectools": training.ratio(ours, found.speeds[training.RECTOOLS]),
        "ratio_vs_rectools_fast": training.ratio(ours, found.speeds[training.RECTOOLS_FAST]),
        "work_ratio_vs_recbole": training.ratio(work, by_work[training.RECBOLE]),
        "work_ratio_vs_rectools": training.ratio(work, by_work[training.RECTOOLS]),
        "work_ratio_vs_rectools_fast": training.ratio(work, by_work[training.RECTOOLS_FAST]),
        "rounds": {system: [value for value, _ in found.speeds[system]] for system in training.SYSTEMS},
        "other_cores_busy": max(busy, default=None),
        "missing": found.missing,
    }


def table(result: dict[str, dict[str, Any]]) -> str:
    """The same to read."""
    head = ("/ RecTools", "/ fast", "/ RecBole", "by work", "by work", "by work", "busy")
    lines: list[tuple[str, ...]] = [("data", "model", *training.SYSTEMS, *head)]
    for data, models in result.items():
        for model, one in models.items():
            speeds = [training.number(one["targets_per_s"][system]) for system in training.SYSTEMS]
            ratios = [
                training.number(one[f"{kind}ratio_vs_{name}"], 2)
                for kind in ("", "work_")
                for name in training.SYSTEMS[1:]
            ]
            lines.append((data, model, *speeds, *ratios, training.number(one["other_cores_busy"], 2)))
    text = training.aligned(lines)
    for data, models in result.items():
        for model, one in models.items():
            text += [f"{data} {model}: {system} is missing: {why}" for system, why in one["missing"].items()]
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 if Footfall itself could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput", description=__doc__.split("\n")[0]
    )
    quick.add(parser, "one model on one shape of data, one round", users=USERS, longest=LONGEST, seconds=1.0)
    parser.add_argument("--models", type=lambda text: training.names_of(text, MODELS), default=list(MODELS))
    parser.add_argument(
        "--data", type=lambda text: training.names_of(text, (ML100K, UNEVEN)), default=[ML100K, UNEVEN]
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each system")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, options.quick["seconds"]
        # The long tail, which differs most.
        options.data, options.models = options.data[-1:], options.models[:1]
    size = {name: options.quick[name] for name in ("users", "longest")} if options.quick else {}
    setup_seconds = 0.0 if options.quick else training.SETUP_SECONDS
    result: dict[str, dict[str, Any]] = {}
    failed = False
    for data in options.data:
        with tempfile.TemporaryDirectory() as folder:
            meta = prepare(data, folder, **size)
            for model in options.models:
                training.say(f"{data}: {model}")
                found = measure(folder, meta, model, options.rounds, options.seconds, setup_seconds)
                failed |= training.FOOTFALL in found["missing"]
                result.setdefault(data, {})[model] = found
    print(table(result))
    print(json.dumps({"throughput": result}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
