"""Measurements as processes of their own, so that the peak memory of each is its own, too."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

# Of Beam: one process, and nothing between its stages on disk but what a component puts there.
BEAM = ("--runner=FnApiRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1")


def peak_mb() -> float:
    """The peak of this process's memory: `ru_maxrss` would still hold what the starting process had."""
    with open("/proc/self/status", encoding="utf-8") as stream:
        (line,) = (line for line in stream if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def cut(log: Any, window: Any, split: Any, folder: str) -> dict[str, Any]:
    """Cuts a log into windows in this process, as ExampleGen does; gives its summary.

    Args:
      log, window, split: as of an experiment.
      folder: of the examples, and of all else.
    """
    import apache_beam as beam

    from components.behavior_example_gen import executor, spans

    return executor.run(
        log=log,
        window=window,
        split=split,
        paths=spans.paths(log.path),
        examples_uri=folder,
        rejected_uri=os.path.join(folder, "rejected"),
        profile_uri=os.path.join(folder, "profile"),
        scratch=os.path.join(folder, "scratch"),
        make_pipeline=lambda: beam.Pipeline(argv=list(BEAM)),
    )


def measure(module: str, *arguments: str) -> dict[str, float]:
    """Runs `python -m module --measure arguments`; gives the JSON object of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--measure", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(
    module: str, names: Sequence[str], sizes: Sequence[int], rounds: int, digits: int
) -> dict[str, dict[str, float]]:
    """Measures several things, which take turns in each round, so that what the machine does else befalls all of them.

    Args:
      module: of a benchmark that `measure` runs, with a name and sizes.
      names: of what is measured.
      sizes: the same for all.
      rounds: how often.
      digits: that figures are rounded to.

    Returns:
      Of each the figures, medians over the rounds.
    """
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            taken[name].append(measure(module, name, *map(str, sizes)))
    return {
        name: {key: round(statistics.median(one[key] for one in of), digits) for key in of[0]}
        for name, of in taken.items()
    }
