"""Training speed of Footfall's MMoE, PLE and AITM beside that of their namesakes in torch-rechub.

    python -m benchmarks.conversion_speed [--quick] [--models mmoe,ple] [--batch-size N]
                                          [--rounds N] [--seconds S]

Drawn exposures: 20 categorical fields of 10 to 10,000 values, two steps, 200,000 rows, held in memory
by both. Embeddings of 16, MMoE with 4 experts of 64 units, PLE with 2 levels of 2 experts for each step
and 2 shared ones, towers of 32 (AITM: 64 and 32), dropout 0.1, Adam at 1e-3. Each system is a process
of its own with all cores, one at a time, in turns. The last line is one JSON object.

Speed is the number of rows in a second of the steps and of getting their batches, in a new order each
epoch, without what warms up. Footfall takes the steps of its training loop, in its own calls. Of
torch-rechub there are three variants, all trained by its `MTLTrainer`: `shipped`, with the loader that
it has; `ready`, with batches gathered from memory at once, which is what Footfall does; and `plain`,
`ready` without the batch normalisation in each of its layers, which Footfall's models do not have, so
that both do the same arithmetic. AITM's calibrator, which torch-rechub's AITM lacks, is on.

`cpu` is the same for each second on a core: what other processes do changes that less than the time.
The parts of Footfall's step are each measured alone, in seconds on cores, with its gradients: the
embedding of the fields, the layers above (experts, gates, towers, heads), and the rest: the optimiser,
and getting the batches.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks import quick, training
from benchmarks.baselines import conversions, protocol

RECHUB = "rechub"
SHIPPED, READY, PLAIN = "shipped", "ready", "plain"
# A process, and what it is asked for.
SYSTEMS = (training.FOOTFALL, SHIPPED, READY, PLAIN)
_ROWS = 200_000
_QUICK_ROWS = 20_000
_SETUP_SECONDS = 1800.0
_START_SECONDS = 300.0


class Measured:
    """What has been measured of a model.

    Attributes:
      speeds: rows per second of each round, by system, each with the cores that others used.
      cpu: rows per second on a core.
      parts: seconds on cores of Footfall's step and of its parts; empty if not measured.
      missing: why a process was not measured (any more).
    """

    def __init__(self) -> None:
        self.speeds: dict[str, list[training.Round]] = {system: [] for system in SYSTEMS}
        self.cpu: dict[str, list[training.Round]] = {system: [] for system in SYSTEMS}
        self.parts: dict[str, float] = {}
        self.missing: dict[str, str] = {}

    def add(self, system: str, answer: dict[str, Any]) -> None:
        """Counts a burst."""
        others = answer["others"]
        self.speeds[system].append((answer["rows"] / answer["seconds"], others))
        self.cpu[system].append((answer["rows"] / max(answer["own"], 1e-9), others))


class Workers:
    """The processes.

    Args:
      data: folder of the prepared exposures.
      arguments: of the workers.
      pythons: the interpreter of each.
    """

    def __init__(self, data: str, arguments: dict[str, Any], pythons: dict[str, str]):
        self.missing: dict[str, str] = {}
        scripts = {training.FOOTFALL: "conversions", RECHUB: RECHUB}
        self._workers = {
            name: training.Process(
                name, python, arguments, os.path.join(data, f"{name}.log"), script=scripts[name]
            )
            for name, python in pythons.items()
        }
        for name in list(self._workers):
            self._attempt(name, lambda worker, left: worker.answer(left))

    def _attempt(self, name: str, call: Any) -> dict[str, Any] | None:
        if name not in self._workers:
            return None
        try:
            return call(self._workers[name], _START_SECONDS)
        except training.Unavailable as error:
            self.missing[name] = str(error)
            self._workers.pop(name).close()
            return None

    def ask(self, name: str, **command: Any) -> dict[str, Any] | None:
        """The answer of a process; None if it has none, for which `missing` has the reason."""
        return self._attempt(name, lambda worker, left: worker.ask(left, **command))

    def close(self) -> None:
        """Ends them."""
        for worker in self._workers.values():
            worker.close()


def measure(workers: Workers, model: str, rounds: int, seconds: float) -> Measured:
    """Bursts of one model's systems in turns.

    Args:
      workers: which.
      model: its name.
      rounds: how many turns.
      seconds: of a burst.
    """
    found = Measured()
    turns = {
        system: (training.FOOTFALL, {}) if system == training.FOOTFALL else (RECHUB, {"variant": system})
        for system in SYSTEMS
    }
    for name, more in turns.values():
        workers.ask(name, do="train", model=model, seconds=0, **more)
    for _ in range(rounds):
        for system, (name, more) in turns.items():
            answer = workers.ask(name, do="train", model=model, seconds=seconds, **more)
            if answer:
                found.add(system, answer)
    found.missing = dict(workers.missing)
    return found


def shares(parts: dict[str, float]) -> dict[str, float]:
    """What of a step is the embedding, the layers above it, and the rest; empty if not measured."""
    if not parts:
        return {}
    embedding, step = parts["embedding"], parts["step"]
    layers = max(parts["gradients"] - embedding, 0.0)
    return {
        "embedding": embedding / step,
        "layers": layers / step,
        "rest": max(step - embedding - layers, 0.0) / step,
    }


def summary(found: Measured) -> dict[str, Any]:
    """The measurements of a model as an object; null where there is none."""
    busy = [others for rounds in found.speeds.values() for _, others in rounds]
    ours, ours_cpu = found.speeds[training.FOOTFALL], found.cpu[training.FOOTFALL]
    return {
        "rows_per_s": {system: training.middle(found.speeds[system]) for system in SYSTEMS},
        "rows_per_cpu_s": {system: training.middle(found.cpu[system]) for system in SYSTEMS},
        **{f"ratio_vs_{name}": training.ratio(ours, found.speeds[name]) for name in SYSTEMS[1:]},
        **{f"cpu_ratio_vs_{name}": training.ratio(ours_cpu, found.cpu[name]) for name in SYSTEMS[1:]},
        "step_cpu_seconds": found.parts,
        "shares": shares(found.parts),
        "rounds": {system: [value for value, _ in found.speeds[system]] for system in SYSTEMS},
        "other_cores_busy": max(busy, default=None),
        "missing": found.missing,
    }


def table(result: dict[str, dict[str, Any]]) -> str:
    """The same to read."""
    lines: list[tuple[str, ...]] = [
        ("model", "system", "rows/s", "Footfall's is", "rows/CPU s", "Footfall's is", "busy")
    ]
    for model, one in result.items():
        for system in SYSTEMS:
            times = [training.number(one.get(f"{kind}ratio_vs_{system}"), 2) for kind in ("", "cpu_")]
            speeds = [training.number(one[kind][system]) for kind in ("rows_per_s", "rows_per_cpu_s")]
            name = system if system == training.FOOTFALL else f"rechub, {system}"
            busy = training.number(one["other_cores_busy"], 2)
            lines.append((model, name, speeds[0], times[0], speeds[1], times[1], busy))
    text = training.aligned(lines)
    for model, one in result.items():
        if one["shares"]:
            parts = ", ".join(f"{name} {share:.0%}" for name, share in one["shares"].items())
            text.append(
                f"{model}: of Footfall's step of {one['step_cpu_seconds']['step'] * 1e3:.1f} ms on cores: {parts}"
            )
        text += [f"{model}: {name} is missing: {why}" for name, why in one["missing"].items()]
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 if Footfall itself could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conversion_speed", description=__doc__.split("\n")[0]
    )
    quick.add(parser, "one model, one short round", rows=_QUICK_ROWS, seconds=1.0)
    parser.add_argument(
        "--models",
        type=lambda text: training.names_of(text, conversions.MODELS),
        default=list(conversions.MODELS),
    )
    parser.add_argument("--batch-size", type=int, default=1024, help="rows of a step")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each system")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.models = 1, options.quick["seconds"], options.models[:1]
    pythons, missing = {training.FOOTFALL: sys.executable}, {}
    try:
        pythons[RECHUB] = training.environment(RECHUB, 0.0 if options.quick else _SETUP_SECONDS)
    except training.Unavailable as error:
        missing[RECHUB] = str(error)
    found: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as data:
        meta = conversions.prepare(data, options.quick["rows"] if options.quick else _ROWS)
        with open(os.path.join(data, protocol.META), "w", encoding="utf-8") as stream:
            json.dump(meta, stream)
        print(
            f"{meta['rows']} exposures, {conversions.FIELDS} fields, {conversions.sizes().sum()} values, "
            f"{options.batch_size} rows a step; {len(os.sched_getaffinity(0))} cores, "
            f"load {os.getloadavg()[0]:.2f} before",
            flush=True,
        )
        workers = Workers(data, {"data": data, "batch_size": options.batch_size}, pythons)
        workers.missing.update(missing)
        try:
            for model in options.models:
                print(model, file=sys.stderr, flush=True)
                found[model] = measure(workers, model, options.rounds, options.seconds)
            for model, one in found.items():
                seconds = options.seconds / 2
                parts = workers.ask(training.FOOTFALL, do="parts", model=model, seconds=seconds)
                one.parts = {name: parts[name] for name in conversions.PARTS} if parts else {}
        finally:
            workers.close()
    result = {model: summary(one) for model, one in found.items()}
    print(table(result))
    print(json.dumps({"conversion_speed": result, "batch_size": options.batch_size}))
    return 0 if all(one["rows_per_s"][training.FOOTFALL] for one in result.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
