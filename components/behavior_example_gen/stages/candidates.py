"""Which items could be seen before each moment: found shard by shard, and brought together."""

import dataclasses
import logging
import posixpath

import numpy as np
import pyarrow as pa
from tfx.dsl.io import fileio

from components.behavior_example_gen import candidates, shards, windows
from components.behavior_example_gen.stages import files
from components.behavior_example_gen.windows import kind
from schemas import figures, names

_PROGRESS = logging.getLogger("footfall.progress")
_COLUMNS = [names.MOMENT, names.ITEM_ID]
# Pairs that are at least read before they are merged.
_AT_ONCE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The candidate sets of moments, from shards to the file of the examples.

    Attributes:
      within: how long before a moment, in seconds.
      scratch: a folder for those of shards.
    """

    within: float
    scratch: str

    def _path(self, shard: int) -> str:
        return posixpath.join(self.scratch, f"candidates-{shard:06d}.arrow")

    def keep(
        self, shard: int, events: shards.Events, window: kind.WindowSettings, context: kind.Context
    ) -> None:
        """Writes what the users of a shard could see, on a worker.

        Raises:
          ValueError: if windows of this kind have no moments.
        """
        pairs = windows.get(window.kind).candidates(events, window, context, self.within)
        if pairs is None:
            raise ValueError(
                f"candidates_within goes with windows that have moments, found kind: {window.kind}"
            )
        files.write_batches(self._path(shard), pairs.schema, [pairs])

    def bring_together(self, number: int, examples_uri: str) -> None:
        """Writes what all `number` shards have kept to the examples, each pair once."""
        whole: pa.Table | None = None
        pending: list[pa.Table] = []
        rows = 0
        # A shard without users keeps nothing.
        for path in filter(fileio.exists, map(self._path, range(number))):
            pending.append(files.read_batch(path, 0))
            rows += pending[-1].num_rows
            if rows > max(_AT_ONCE, 0 if whole is None else whole.num_rows):
                whole, pending, rows = _distinct(whole, pending), [], 0
        whole = _distinct(whole, pending)
        candidates.write(examples_uri, whole)
        sets = np.unique(whole.column(names.MOMENT).to_numpy(), return_counts=True)[1]
        _PROGRESS.info(
            "candidates: the items seen in the %s before %d moment(s), %s of them on average",
            figures.duration(self.within),
            len(sets),
            f"{sets.mean() if len(sets) else 0:,.1f}",
        )


def _distinct(whole: pa.Table | None, more: list[pa.Table]) -> pa.Table:
    pairs = pa.concat_tables([*([] if whole is None else [whole]), *more])
    return (
        pairs.group_by(_COLUMNS).aggregate([]).select(_COLUMNS).sort_by([(c, "ascending") for c in _COLUMNS])
    )
