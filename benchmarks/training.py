"""Training speed and quality of Footfall's SASRec beside those of RecTools and RecBole; also of eSASRec and HSTU.

    python -m benchmarks.training [--quick] [--seeds N] [--seconds S] [--model esasrec]

All train SASRec (64 wide, 2 blocks, 2 heads, 50 events, dropout 0.2, softmax over the
whole catalogue, Adam at 1e-3) on the same events of MovieLens-100K, each in a process of its
own with all cores, one at a time, in turns. RecTools has it twice: as its models have it, and the flat network of its
`fast_transformers`, in the plainest loop of PyTorch. RecBole has neither eSASRec nor HSTU. The last line is one JSON object.

Speed is the number of targets (places of the sequences that have a label) learnt in a second
of the steps and of getting their batches, without the first epoch (RecBole: the first batch),
which warms up; `wall` is the same with all that happens between epochs (Footfall writes a
checkpoint). Rounds in which other processes were busy count only if all are such. The full run
trains each system for the same wall time per seed, warm-up included, and measures the ranking
of each user's last event, held out from training, in the whole catalogue without the items
seen before. No system chooses its best epoch.

What is not equal: RecTools' Adam has its own moments (0.9 and 0.98), and dropout stands where each network has it.
"""

import argparse
import hashlib
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks import quick
from benchmarks.baselines import protocol
from pipeline import datasets
from schemas import ranks as rank_lib

FOOTFALL, RECTOOLS, RECTOOLS_FAST, RECBOLE = "footfall", "rectools", "rectools_fast", "recbole"
SYSTEMS = (FOOTFALL, RECTOOLS, RECTOOLS_FAST, RECBOLE)
# What has to be installed for a system, by its name.
_ENVIRONMENTS = {RECTOOLS: RECTOOLS, RECTOOLS_FAST: RECTOOLS, RECBOLE: RECBOLE}
# Who has a model; of others Footfall is measured alone.
OF_SYSTEM: dict[str, tuple[str, ...]] = {
    RECTOOLS: (protocol.SASREC, protocol.BERT4REC, protocol.ESASREC, protocol.HSTU),
    RECTOOLS_FAST: (protocol.SASREC,),
    RECBOLE: (protocol.SASREC, protocol.GRU4REC, protocol.CASER, protocol.BERT4REC, protocol.CASM),
}
MODELS = (protocol.SASREC, protocol.ESASREC, protocol.HSTU)
POPULARITY = "popularity"
_DATA_SET = "ml-100k"
_CACHE = os.path.join(".footfall", "benchmarks")
_SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "baselines")
# What RecBole's dependencies have wheels for.
_PYTHONS = ("3.11", "3.10")
_DONE = "complete"
_QUICK_BURST = 1.0
# Of a core: more by other processes is worth a warning.
_BUSY = 0.1
SETUP_SECONDS = 1800.0
_START_SECONDS = 180.0


class Unavailable(RuntimeError):
    """A system cannot be measured; the message says why."""


def prepare(events: str, folder: str, length: int = protocol.LENGTH) -> dict[str, Any]:
    """Writes what all systems train on and rank from.

    The last event of each user is held out; the `length + 1` before it are for training. The
    catalogue is the items of those, the most frequent target first.

    Args:
      events: path of `events.csv`.
      folder: where to write.
      length: of the windows.

    Returns:
      `length`, `users`, `counts` (training targets of each item) and `held_out` (each user's item, -1 if
      it is not in the catalogue).
    """
    log = pd.read_csv(events, usecols=["user_id", "item_id", "timestamp"])
    log = log.sort_values(["user_id", "timestamp"], kind="stable").reset_index(drop=True)
    back = log.groupby("user_id").cumcount(ascending=False)
    log["user"] = log["user_id"].rank(method="dense").astype(int) - 1
    train = log[(back >= 1) & (back <= length + 1)]
    targets = train[train["user"].duplicated()]
    counts = targets["item_id"].value_counts().reindex(np.sort(train["item_id"].unique()), fill_value=0)
    counts = counts.sort_values(ascending=False, kind="stable")
    row = pd.Series(np.arange(len(counts)), index=counts.index)
    log["item"] = log["item_id"].map(row).fillna(-1).astype(int)
    train = log.loc[train.index]
    history = log[(back >= 1) & (log["item"] >= 0)]
    for name, part in ((protocol.TRAIN, train), (protocol.HISTORY, history)):
        np.savez(os.path.join(folder, name), users=part["user"].to_numpy(), items=part["item"].to_numpy())
    meta = {
        "length": length,
        "users": int(log["user"].max()) + 1,
        "counts": counts.tolist(),
        "held_out": log.loc[back == 0, "item"].tolist(),
    }
    with open(os.path.join(folder, protocol.META), "w", encoding="utf-8") as stream:
        json.dump(meta, stream)
    return meta


def quality(
    scores: np.ndarray, meta: dict[str, Any], users: np.ndarray, items: np.ndarray
) -> dict[str, float]:
    """`ndcg@10` and `hr@10` over the whole catalogue without seen items; ties count against the model.

    Args:
      scores: `[users, items]`.
      meta: of `prepare`.
      users, items: the events that users have seen.

    Raises:
      Unavailable: a score is no number, so that what the system ranks would say nothing of it.
    """
    scores = scores.astype(np.float64)
    if np.isnan(scores).any():
        raise Unavailable(
            f"{np.isnan(scores).any(axis=1).sum()} of {len(scores)} users have scores that are no numbers"
        )
    held_out = np.array(meta["held_out"])
    everyone = np.arange(len(held_out))
    own = scores[everyone, held_out]
    scores[users, items] = -np.inf
    scores[everyone, held_out] = own
    rank = (~(scores < own[:, np.newaxis])).sum(axis=1)
    rank[held_out < 0] = rank_lib.miss(scores.shape[1])
    hit, gain, _ = rank_lib.values(rank_lib.or_infinite(rank, scores.shape[1]), [protocol.TOP]).T
    return {"ndcg@10": float(gain.mean()), "hr@10": float(hit.mean())}


def interval(values: Sequence[float]) -> dict[str, Any]:
    """The mean and its 95 % interval by Student's t; without bounds for a single value."""
    mean, low, high = statistics.fmean(values), None, None
    if len(values) > 1:
        half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        low, high = mean - half, mean + half
    return {"mean": mean, "low": low, "high": high, "values": list(values)}


def _runs(python: str, version: str) -> bool:
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.stdout.strip() == version


def _interpreter(uv: str | None) -> str:
    """A Python that the baselines have wheels for; this one if no other is found."""
    for version in _PYTHONS:
        root = os.path.join(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"), "versions")
        found = [shutil.which(f"python{version}")]
        if os.path.isdir(root):
            folders = sorted(name for name in os.listdir(root) if name.startswith(version + "."))
            found += [os.path.join(root, name, "bin", "python") for name in folders]
        if uv:
            command = [uv, "python", "find", "--no-python-downloads", version]
            found.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
        for python in found:
            if python and _runs(python, version):
                return python
    return sys.executable


def _install_commands(folder: str, requirements: str, settings: dict[str, str]) -> list[list[list[str]]]:
    """Ways to make an environment, the best first; each is a list of commands."""
    uv = shutil.which("uv")
    python, inside = _interpreter(uv), os.path.join(folder, "bin", "python")
    venv = [python, "-m", "venv", "--clear", folder]
    ways = [[venv, [inside, "-m", "pip", "install", "--quiet", "-r", requirements]]]
    if uv:
        venv = [uv, "venv", "--quiet", "--clear", "--python", python, folder]
        install = [uv, "pip", "install", "--quiet", "--python", inside, "-r", requirements]
        for_cpu = [*install, "--torch-backend", "cpu"]
        # Torch for the CPU is a tenth of the size. Who names places of wheels may have it there;
        # elsewhere uv knows where it is; if that is out of reach, the index's own serves.
        first, second = (install, for_cpu) if "UV_FIND_LINKS" in settings else (for_cpu, install)
        ways = [[venv, first], [venv, second], *ways]
    return ways


def environment(name: str, seconds: float) -> str:
    """The interpreter of a baseline's environment, which is made if need be.

    Args:
      name: of the baseline.
      seconds: it may take; 0 makes none.

    Raises:
      Unavailable: if it cannot be made in that time.
    """
    requirements = os.path.join(_SCRIPTS, f"{name}.txt")
    with open(requirements, "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()[:12]
    folder = os.path.abspath(os.path.join(_CACHE, f"{name}-{digest}"))
    inside = os.path.join(folder, "bin", "python")
    if os.path.exists(os.path.join(folder, _DONE)):
        return inside
    if seconds <= 0:
        raise Unavailable("its environment is not made yet: run once without --quick")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    deadline = time.monotonic() + seconds
    say(f"{name}: making its environment")
    settings = {"UV_HTTP_RETRIES": "0", **os.environ}
    if "PIP_FIND_LINKS" in settings:
        settings.setdefault("UV_FIND_LINKS", settings["PIP_FIND_LINKS"])
    settings.pop("PYTHONPATH", None)
    reason = ""
    for way in _install_commands(folder, requirements, settings):
        for command in way:
            try:
                limit = max(0.1, deadline - time.monotonic())
                done = subprocess.run(
                    command, env=settings, capture_output=True, text=True, timeout=limit, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise Unavailable(f"no environment within {seconds:.0f} s") from error
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or ["it cannot be installed"])[-1]
                break
        else:
            with open(os.path.join(folder, _DONE), "w", encoding="utf-8"):
                return inside
    raise Unavailable(f"no environment: {reason}")


class Process:
    """A worker: a system in a process of its own.

    Args:
      system: which one.
      python: its interpreter.
      arguments: see `protocol.Worker`.
      log: what it writes besides answers.
      script: the worker's, `run_SCRIPT.py`; None is the system's name.
    """

    def __init__(
        self,
        system: str,
        python: str,
        arguments: dict[str, Any],
        log: str,
        script: str | None = None,
    ):
        self.system, self._log = system, log
        cores = str(len(os.sched_getaffinity(0)))
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        settings = {**os.environ, **dict.fromkeys(threads, cores), "TF_CPP_MIN_LOG_LEVEL": "2"}
        settings.pop("PYTHONPATH", None)
        if system == FOOTFALL:
            settings["PYTHONPATH"] = os.path.dirname(os.path.dirname(_SCRIPTS))
        with open(log, "w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                [python, os.path.join(_SCRIPTS, f"run_{script or system}.py"), json.dumps(arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=settings,
                text=True,
            )

    def answer(self, timeout: float) -> dict[str, Any]:
        """The next answer.

        Raises:
          Unavailable: if the worker has died or does not answer in time.
        """
        if not select.select([self._process.stdout], [], [], max(0.1, timeout))[0]:
            raise Unavailable(f"no answer within {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            with open(self._log, encoding="utf-8") as stream:
                last = (stream.read().strip().splitlines() or ["no message"])[-1]
            raise Unavailable(f"it stopped: {last}")
        return json.loads(line)

    def _used(self) -> tuple[float, float, float]:
        """Seconds until now: of wall time, of all cores' work, and of this worker's."""
        tick = os.sysconf("SC_CLK_TCK")
        try:
            with open("/proc/stat", encoding="ascii") as stream:
                fields = [int(field) for field in stream.readline().split()[1:9]]
            with open(f"/proc/{self._process.pid}/stat", encoding="utf-8") as stream:
                own = stream.read().rpartition(")")[2].split()[11:13]
        except (OSError, ValueError):
            return time.monotonic(), 0.0, 0.0
        # Without the times of idling and of waiting for a disk.
        return time.monotonic(), (sum(fields) - sum(fields[3:5])) / tick, sum(map(int, own)) / tick

    def ask(self, timeout: float, **command: Any) -> dict[str, Any]:
        """Sends a command and returns its answer.

        It comes with `others`, the cores that other processes used, and `own`, the seconds that all
        cores together worked for this one.
        """
        before = self._used()
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # It has died: the answer says how.
        answer = self.answer(timeout)
        wall, machine, own = (now - then for now, then in zip(self._used(), before))
        return {**answer, "others": max(0.0, (machine - own) / wall), "own": own}

    def close(self) -> None:
        """Ends the worker."""
        self._process.kill()
        self._process.communicate()


Round = tuple[float | None, float]


def _undisturbed(*systems: list[Round]) -> list[list[float]]:
    """The values of the rounds in which all of `systems` were measured; if possible, of quiet ones."""
    known = [one for one in zip(*systems) if all(value for value, _ in one)]
    quiet = [one for one in known if all(others <= _BUSY for _, others in one)]
    return [[value for value, _ in one] for one in quiet or known]


def middle(rounds: list[Round]) -> float | None:
    """The median over rounds."""
    found = _undisturbed(rounds)
    return statistics.median(value for (value,) in found) if found else None


def ratio(rounds: list[Round], others: list[Round]) -> float | None:
    """The median over rounds of one system over another."""
    found = _undisturbed(rounds, others)
    return statistics.median(one / other for one, other in found) if found else None


class Measurements:
    """What has been measured.

    Attributes:
      speeds: targets per second of each round, by system, each with the cores that other
        processes used meanwhile.
      walls: the same with all between epochs.
      qualities: of each seed.
      trained: seconds and targets of each seed.
      missing: why a system was not measured.
    """

    def __init__(self) -> None:
        self.speeds: dict[str, list[Round]] = {system: [] for system in SYSTEMS}
        self.walls: dict[str, list[Round]] = {system: [] for system in SYSTEMS}
        self.qualities: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
        self.trained: dict[str, list[tuple[float, int]]] = {system: [] for system in SYSTEMS}
        self.missing: dict[str, str] = {}

    def add_training(self, system: str, answer: dict[str, Any], skip: int = 0) -> None:
        """Counts a round of training, without its first `skip` pieces."""
        pieces = answer["pieces"][skip:]
        # None keeps the rounds of the systems side by side.
        targets, stepping, wall = (sum(column) for column in zip(*pieces)) if pieces else (0, 1.0, 1.0)
        self.speeds[system].append((targets / stepping or None, answer["others"]))
        self.walls[system].append((targets / wall or None, answer["others"]))

    def leave_out(self, system: str, reason: str) -> None:
        """Notes why a system is not measured (any more)."""
        self.missing.setdefault(system, reason)
        say(f"{system}: {reason}")


def say(text: str) -> None:
    """Tells how far it is."""
    print(text, file=sys.stderr, flush=True)


def arguments_of(data: str, meta: dict[str, Any], seed: int, model: str = protocol.SASREC) -> dict[str, Any]:
    """What a worker is started with."""
    # As many targets in a step of RecBole, which makes a sequence of each, as in one of the others.
    per_step = round(protocol.BATCH_SIZE * sum(meta["counts"]) / meta["users"])
    return {"data": data, "seed": seed, "batch_targets": per_step, "model": model}


def interpreters(seconds: float, found: Measurements, model: str = protocol.SASREC) -> dict[str, str]:
    """The interpreter of each system that has a model and can be measured; environments are made if need be."""
    result, deadline = {FOOTFALL: sys.executable}, time.monotonic() + seconds
    for system in SYSTEMS[1:]:
        if model not in OF_SYSTEM[system]:
            continue
        try:
            result[system] = environment(_ENVIRONMENTS[system], deadline - time.monotonic())
        except Unavailable as error:
            found.leave_out(system, str(error))
    return result


def run_quick(data: str, meta: dict[str, Any], seconds: float, model: str) -> Measurements:
    """A burst of so many seconds of each; no quality."""
    found = Measurements()
    pythons = interpreters(0.0, found, model)
    workers: dict[str, Process] = {}

    def attempt(system: str, *steps: Any) -> None:
        try:
            for step in steps:
                step(workers[system])
        except Unavailable as error:
            found.leave_out(system, str(error))
            workers.pop(system).close()

    def burst(worker: Process) -> None:
        found.add_training(worker.system, worker.ask(_START_SECONDS, do="train", seconds=seconds))

    try:
        # Loading is not measured, so it need not be in turns.
        for system, python in pythons.items():
            log = os.path.join(data, f"{system}.log")
            workers[system] = Process(system, python, arguments_of(data, meta, 1, model), log)
        for system in pythons:
            attempt(system, lambda worker: worker.answer(_START_SECONDS))
        for system in list(workers):
            attempt(system, lambda worker: worker.ask(_START_SECONDS, do="train", seconds=0))
        for system in list(workers):
            attempt(system, burst)
    finally:
        for worker in workers.values():
            worker.close()
    return found


def run_full(data: str, meta: dict[str, Any], seeds: int, seconds: float, model: str) -> Measurements:
    """Each system is trained for `seconds` from each seed."""
    found = Measurements()
    pythons = interpreters(SETUP_SECONDS, found, model)
    with np.load(os.path.join(data, protocol.HISTORY)) as history:
        users, items = history["users"], history["items"]
    for seed in range(1, seeds + 1):
        for system in [system for system in pythons if system not in found.missing]:
            say(f"seed {seed} of {seeds}: {system}")
            log = os.path.join(data, f"{system}.log")
            worker = Process(system, pythons[system], arguments_of(data, meta, seed, model), log)
            try:
                worker.answer(_START_SECONDS)
                trained = worker.ask(seconds + _START_SECONDS, do="train", seconds=seconds)
                worker.ask(_START_SECONDS, do="finish")
                path = os.path.join(data, "scores.npy")
                worker.ask(_START_SECONDS, do="scores", path=path)
                reached = quality(np.load(path), meta, users, items)
            except Unavailable as error:
                found.leave_out(system, str(error))
                continue
            finally:
                worker.close()
            found.add_training(system, trained, skip=1)
            targets, _, wall = (sum(column) for column in zip(*trained["pieces"]))
            found.trained[system].append((wall, targets))
            found.qualities[system].append(reached)
    return found


def summary(found: Measurements, popularity: dict[str, float]) -> dict[str, Any]:
    """The measurements as one JSON object; null where there is none."""
    result: dict[str, Any] = {
        "targets_per_s": middle(found.speeds[FOOTFALL]),
        "ratio_vs_rectools": ratio(found.speeds[FOOTFALL], found.speeds[RECTOOLS]),
        "ratio_vs_rectools_fast": ratio(found.speeds[FOOTFALL], found.speeds[RECTOOLS_FAST]),
        "ratio_vs_recbole": ratio(found.speeds[FOOTFALL], found.speeds[RECBOLE]),
    }
    result["wall_ratio_vs_rectools"] = ratio(found.walls[FOOTFALL], found.walls[RECTOOLS])
    # Of the quietest round, which is what counts.
    rounds = zip(*(found.speeds[system] for system in SYSTEMS if found.speeds[system]))
    result["other_cores_busy"] = min((max(others for _, others in one) for one in rounds), default=None)
    for metric in ("ndcg@10", "hr@10"):
        values = {system: [one[metric] for one in found.qualities[system]] for system in SYSTEMS}
        result[metric] = {system: interval(one) if one else None for system, one in values.items()}
        result[metric][POPULARITY] = popularity[metric]
    result["systems"] = {
        system: {
            "targets_per_s": middle(found.speeds[system]),
            "rounds": [value for value, _ in found.speeds[system]],
            "other_cores_busy": [others for _, others in found.speeds[system]],
            "wall_targets_per_s": middle(found.walls[system]),
            "trained": [{"seconds": s, "targets": n} for s, n in found.trained[system]],
        }
        for system in SYSTEMS
    }
    result["missing"] = found.missing
    return result


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns stand below each other."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]


def names_of(text: str, known: Sequence[str]) -> list[str]:
    """The names of an option, with commas.

    Raises:
      argparse.ArgumentTypeError: if one is not known.
    """
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _ranged(value: Any) -> str:
    if not isinstance(value, dict):
        return "-" if value is None else f"{value:.4f}"
    if value["low"] is None:
        return f"{value['mean']:.4f}"
    return f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def table(result: dict[str, Any]) -> str:
    """The same to read."""
    head = ("system", "targets/s", "Footfall's is", "wall")
    lines = [(*head, "NDCG@10 [95 %]", "HR@10 [95 %]")]
    for system in (*SYSTEMS, POPULARITY):
        one = result["systems"].get(system, {})
        times = result.get(f"ratio_vs_{system}")
        lines.append(
            (
                system,
                number(one.get("targets_per_s")),
                "-" if times is None else f"{times:.2f} times",
                number(one.get("wall_targets_per_s")),
                _ranged(result["ndcg@10"][system]),
                _ranged(result["hr@10"][system]),
            )
        )
    text = aligned(lines)
    if (result["other_cores_busy"] or 0) > _BUSY:
        busy = f"{result['other_cores_busy']:.2f} cores"
        text.append(f"Not a quiet machine: other processes used {busy} meanwhile.")
    text += [f"{system} is missing: {reason}" for system, reason in result["missing"].items()]
    return "\n".join(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 if Footfall itself could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.split("\n")[0])
    quick.add(parser, "a short burst of each system, no quality", seconds=_QUICK_BURST)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each system in the full run")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each training in the full run")
    parser.add_argument("--model", choices=MODELS, default=MODELS[0], help="default: %(default)s")
    options = parser.parse_args(arguments)
    events = os.path.join(datasets.fetch(_DATA_SET, say=say), datasets.EVENTS)
    with tempfile.TemporaryDirectory() as data:
        meta = prepare(events, data)
        print(
            f"MovieLens-100K: {meta['users']} users, {len(meta['counts'])} items, "
            f"{sum(meta['counts'])} targets in an epoch; {len(os.sched_getaffinity(0))} cores, "
            f"load {os.getloadavg()[0]:.2f} before",
            flush=True,
        )
        if options.quick:
            found = run_quick(data, meta, options.quick["seconds"], options.model)
        else:
            found = run_full(data, meta, options.seeds, options.seconds, options.model)
        with np.load(os.path.join(data, protocol.HISTORY)) as history:
            constant = np.tile(-np.arange(len(meta["counts"]), dtype=float), [meta["users"], 1])
            popularity = quality(constant, meta, history["users"], history["items"])
    result = summary(found, popularity)
    print(table(result))
    print(json.dumps(result))
    return 1 if FOOTFALL in found.missing else 0


if __name__ == "__main__":
    sys.exit(main())
