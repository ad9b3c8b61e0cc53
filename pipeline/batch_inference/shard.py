"""The users of a shard, each with what the model says of it, as a Parquet file."""

import dataclasses
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.io import filesystems

from components.behavior_example_gen.stages import files
from pipeline.batch_inference import histories, known, model, questions
from schemas import errors, names
from serving import moments, requests

# Histories of one request to the model.
_BATCH = 512
_ROW_GROUP = 1 << 16
USER_ID, EVENTS, LAST_TIMESTAMP, MOMENT = names.USER_ID, "events", "last_timestamp", names.MOMENT
_TIME = pa.timestamp("ms", tz="UTC")


@dataclasses.dataclass
class Written:
    """What was written; mergeable.

    Attributes:
      paths: of the files.
      users: how many have a row.
      left_out: how many have no event that counts.
      columns: how many numbers the answers of a user have, by column.
      unknown: of each text that events or users have, how many values the model does not know.
      moment: as of when all users were asked about, ms; None: each right after the last event.
    """

    paths: list[str] = dataclasses.field(default_factory=list)
    users: int = 0
    left_out: int = 0
    columns: dict[str, int] = dataclasses.field(default_factory=dict)
    unknown: list[known.Unknown] = dataclasses.field(default_factory=list)
    moment: int | None = None

    @classmethod
    def merged(cls, parts: Iterable["Written"]) -> "Written":
        """Of all shards, in their order."""
        parts = list(parts)
        return cls(
            sorted(path for part in parts for path in part.paths),
            sum(part.users for part in parts),
            sum(part.left_out for part in parts),
            next((part.columns for part in parts if part.columns), {}),
            known.Unknown.merged(one for part in parts for one in part.unknown),
            next((part.moment for part in parts if part.moment is not None), None),
        )


class AskShard(beam.DoFn):
    """Brings a shard together, asks the model about its users, and writes a row for each.

    Args:
      shards_at: where the events are.
      model_dir: of the SavedModel.
      takes: of `model.takes`.
      question: what is asked.
      rule: which events count.
      folder: where the files go.
    """

    def __init__(
        self,
        shards_at: files.Shards,
        model_dir: str,
        takes: model.Takes,
        question: questions.Question,
        rule: histories.Rule,
        folder: str,
    ):
        self._shards, self._model_dir, self._takes = shards_at, model_dir, takes
        self._question, self._rule, self._folder = question, rule, folder
        of_history = [name for name in takes.inputs if name in names.HISTORY] + takes.of_events
        self._numbers = [name for name in of_history if name in takes.numbers]
        others = {names.HISTORY_TIMESTAMP, *self._numbers}
        self._texts = {name: requests.key_of_event(name) for name in of_history if name not in others}
        self._asker: Any = None
        self._known: dict[str, pa.Array] = {}

    def setup(self) -> None:
        # Once for a worker, not in what is sent to it.
        self._asker = model.Asker(self._model_dir, self._takes.inputs, self._question)
        self._known = known.vocabularies(self._model_dir, (*self._texts.values(), *self._takes.of_users))

    def teardown(self) -> None:
        self._asker = None

    def process(self, shard: int) -> Iterator[Written]:
        """Writes the file of a shard, if it has users."""
        table = self._shards.read(shard)
        if not table.num_rows:
            return
        numbers = [requests.key_of_event(name) for name in self._numbers]
        found = histories.of_table(
            table, list(self._texts.values()), self._rule, numbers, self._takes.of_users
        )
        del table
        moment = self._rule.moment_ms
        if not len(found.users):
            yield Written(left_out=found.left_out, moment=moment)
            return
        answers = self._ask(found)
        path = posixpath.join(self._folder, f"users-{shard:06d}.parquet")
        with filesystems.FileSystems.create(path) as stream:
            at_one_moment = self._question.at_one_moment(self._takes.objective)
            table = rows(found, answers, moment if at_one_moment else None)
            pq.write_table(table, stream, row_group_size=_ROW_GROUP)
        widths = {
            name: column.type.list_size if pa.types.is_fixed_size_list(column.type) else 1
            for name, column in answers.items()
        }
        unknown = known.count(found, self._known)
        yield Written([path], len(found.users), found.left_out, widths, unknown, moment)

    def _ask(self, found: histories.Histories) -> dict[str, pa.Array]:
        """The columns of the answers of all users, `[U]`."""
        # Each value goes to TensorFlow once; what a batch has of them is looked up there.
        values = {name: tf.constant(found.texts[column][1]) for name, column in self._texts.items()}
        order, parts = [], []
        for which in found.by_length(_BATCH):
            asked: dict[str, Any] = {}
            if names.HISTORY_TIMESTAMP in self._takes.inputs:
                asked[names.HISTORY_TIMESTAMP] = found.padded(which, found.times, 0)
            if names.MOMENT in self._takes.inputs:
                asked[names.MOMENT] = np.full(len(which), self._rule.moment_ms or moments.NOT_TOLD, np.int64)
            for name, column in self._texts.items():
                numbers, distinct = found.texts[column]
                asked[name] = tf.gather(values[name], found.padded(which, numbers, len(distinct) - 1))
            for name in self._numbers:
                asked[name] = found.padded(which, found.numbers[requests.key_of_event(name)], np.nan)
            for name in self._takes.of_users:
                told = pc.fill_null(found.of_users[name].take(pa.array(which)), b"")
                asked[name] = told.to_numpy(zero_copy_only=False)
            order.append(which)
            parts.append(self._question.columns(self._asker(asked)))
        place = pa.array(np.argsort(np.concatenate(order)))
        try:
            return {name: pa.concat_arrays([part[name] for part in parts]).take(place) for name in parts[0]}
        except pa.ArrowInvalid as error:
            raise errors.InputError(
                "window.shards: the answers for the users of a shard have more than 2 GB, which is more than a column can "
                "have: raise it"
            ) from error


def rows(found: histories.Histories, answers: Mapping[str, pa.Array], moment: int | None = None) -> pa.Table:
    """A row for each user: `user_id`, `events`, `last_timestamp`, `moment` if there is one for all, and the answers."""
    columns = {
        USER_ID: found.users.cast(pa.string()),
        EVENTS: pa.array(found.counts, pa.int64()),
        LAST_TIMESTAMP: pa.array(found.last_times, pa.int64()).cast(_TIME),
    }
    if moment is not None:
        columns[MOMENT] = pa.array(np.full(len(found.users), moment), pa.int64()).cast(_TIME)
    columns |= answers
    return pa.Table.from_arrays(list(columns.values()), list(columns))
