"""Which points are trained: all of a grid, or those that a search proposes."""

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trainer import search as search_lib


def grid_points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination; one point without values where the grid is empty."""
    return [dict(zip(grid, values)) for values in itertools.product(*grid.values())]


class Search:
    """Points that Keras Tuner proposes, one after the other, from what came of those before.

    A search that is started again asks for the same points in the same order, as long as it gets
    the same answers: what is finished comes from the cache.

    Args:
      kind: `random` or `bayesian`.
      space: the range of each key.
      trials: how many points at most.
      seed: of the proposals.
    """

    def __init__(self, kind: str, space: Mapping[str, search_lib.Range], trials: int, seed: int):
        self._kind, self._space, self._trials, self._seed = kind, space, trials, seed

    @property
    def probes(self) -> list[dict[str, Any]]:
        """Values of one key each, which points may have beside others."""
        return [{key: value} for key, allowed in self._space.items() for value in allowed.probes]

    def __len__(self) -> int:
        """The largest number of points."""
        return self._trials

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Callable[[float], None]]]:
        """Yields each point, and what is to be called with its score before the next (-inf: it failed)."""
        oracle = search_lib.build_oracle(self._kind, self._space, self._trials, self._seed)
        with tempfile.TemporaryDirectory() as folder:
            # The metadata store is what remembers; the oracle's own files are of no use later.
            oracle._set_project_dir(folder, "search")
            while True:
                trial = oracle.create_trial("sweep")
                if trial.status != "RUNNING":
                    return

                def answer(score: float, trial: Any = trial) -> None:
                    fine = math.isfinite(score)
                    if fine:
                        oracle.update_trial(trial.trial_id, {search_lib.SCORE: score})
                    trial.status = "COMPLETED" if fine else "FAILED"
                    oracle.end_trial(trial)

                yield search_lib.plain(trial.hyperparameters.values), answer
