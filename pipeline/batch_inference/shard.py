"""The users of a shard, each with an embedding, as a Parquet file."""

import dataclasses
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io import filesystems

from components.behavior_example_gen.stages import files
from pipeline.batch_inference import histories, known
from schemas import names

# Histories of one request to the model.
_BATCH = 512
_ROW_GROUP = 1 << 16
USER_ID, EVENTS, LAST_TIMESTAMP, EMBEDDING = names.USER_ID, "events", "last_timestamp", "embedding"


@dataclasses.dataclass
class Embedded:
    """What was written; mergeable.

    Attributes:
      paths: of the files.
      users: how many have an embedding.
      left_out: how many have no event that counts.
      width: of an embedding; None where there is none.
      unknown: of each text that events have, how many values the model does not know.
    """

    paths: list[str] = dataclasses.field(default_factory=list)
    users: int = 0
    left_out: int = 0
    width: int | None = None
    unknown: list[known.Unknown] = dataclasses.field(default_factory=list)

    @classmethod
    def merged(cls, parts: Iterable["Embedded"]) -> "Embedded":
        """Of all shards, in their order."""
        parts = list(parts)
        return cls(
            sorted(path for part in parts for path in part.paths),
            sum(part.users for part in parts),
            sum(part.left_out for part in parts),
            next((part.width for part in parts if part.width is not None), None),
            known.Unknown.merged(one for part in parts for one in part.unknown),
        )


class EmbedShard(beam.DoFn):
    """Brings a shard together, asks the model for its users, and writes a row for each.

    Args:
      shards_at: where the events are.
      model_dir: of the SavedModel.
      inputs: of `model.inputs_of`.
      numbers: of `model.numbers_of`.
      rule: which events count.
      folder: where the files go.
    """

    def __init__(
        self,
        shards_at: files.Shards,
        model_dir: str,
        inputs: Mapping[str, str],
        numbers: Sequence[str],
        rule: histories.Rule,
        folder: str,
    ):
        self._shards, self._model_dir, self._inputs = shards_at, model_dir, dict(inputs)
        self._numbers, self._rule, self._folder = list(numbers), rule, folder
        others = {names.HISTORY_TIMESTAMP, names.MOMENT, *self._numbers}
        self._texts = {name: _column(name) for name in self._inputs if name not in others}
        self._embedder: Any = None
        self._known: dict[str, pa.Array] = {}

    def setup(self) -> None:
        # TensorFlow and the model, once for a worker, not in what is sent to it.
        from pipeline.batch_inference import model

        self._embedder = model.Embedder(self._model_dir, self._inputs)
        self._known = known.vocabularies(self._model_dir, self._texts.values())

    def teardown(self) -> None:
        self._embedder = None

    def process(self, shard: int) -> Iterator[Embedded]:
        """Writes the file of a shard, if it has users."""
        table = self._shards.read(shard)
        if not table.num_rows:
            return
        numbers = [_column(name) for name in self._numbers]
        found = histories.of_table(table, list(self._texts.values()), self._rule, numbers)
        del table
        if not len(found.users):
            yield Embedded(left_out=found.left_out)
            return
        embeddings = self._embed(found)
        path = posixpath.join(self._folder, f"users-{shard:06d}.parquet")
        with filesystems.FileSystems.create(path) as stream:
            pq.write_table(rows(found, embeddings), stream, row_group_size=_ROW_GROUP)
        unknown = known.count(found, self._known)
        yield Embedded([path], len(found.users), found.left_out, embeddings.shape[1], unknown)

    def _embed(self, found: histories.Histories) -> np.ndarray:
        """The embeddings of all users, `[U, D]` float32."""
        import tensorflow as tf

        from serving import moments

        # Each value goes to TensorFlow once; what a batch has of them is looked up there.
        values = {name: tf.constant(found.texts[column][1]) for name, column in self._texts.items()}
        result = None
        for which in found.by_length(_BATCH):
            asked: dict[str, Any] = {names.HISTORY_TIMESTAMP: found.padded(which, found.times, 0)}
            if names.MOMENT in self._inputs:
                asked[names.MOMENT] = np.full(len(which), self._rule.moment_ms or moments.NOT_TOLD, np.int64)
            for name, column in self._texts.items():
                numbers, distinct = found.texts[column]
                asked[name] = tf.gather(values[name], found.padded(which, numbers, len(distinct) - 1))
            for name in self._numbers:
                asked[name] = found.padded(which, found.numbers[_column(name)], np.nan)
            embeddings = self._embedder(asked)
            if result is None:
                result = np.empty([len(found.users), embeddings.shape[1]], np.float32)
            result[which] = embeddings
        assert result is not None
        return result


def _column(feature: str) -> str:
    """The column of an event that a feature of a history is made of."""
    return feature.removeprefix(names.HISTORY_PREFIX)


def rows(found: histories.Histories, embeddings: np.ndarray) -> pa.Table:
    """A row for each user: `user_id`, `events`, `last_timestamp` and `embedding`."""
    flat = pa.array(np.ascontiguousarray(embeddings, np.float32).reshape(-1))
    columns = {
        USER_ID: found.users.cast(pa.string()),
        EVENTS: pa.array(found.counts, pa.int64()),
        LAST_TIMESTAMP: pa.array(found.last_times, pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
        EMBEDDING: pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1]),
    }
    return pa.Table.from_arrays(list(columns.values()), list(columns))
