"""The events of a shard: hashed, filtered, sorted, each with its role."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import batches, duplicates, spec, splits
from components.behavior_example_gen.reading import blocks
from schemas import errors, hashing, names

ROLE = "role"


def hash_ids(ids: pa.Array) -> np.ndarray:
    """A stable hash of each id: `[N]` uint64, the same in every process and release.

    A weighted sum of the bytes with a random odd weight for each place, then mixed: see
    `schemas.hashing`.
    """
    ids = ids.cast(pa.large_binary())
    _, offset_buffer, data_buffer = ids.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[ids.offset : ids.offset + len(ids) + 1]
    lengths = np.diff(offsets)
    if not len(ids) or not lengths.any():
        return hashing.mix(lengths.astype(np.uint64))
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    weights = np.random.Generator(np.random.PCG64(0x5EED)).integers(
        0, 2**64, size=int(lengths.max()), dtype=np.uint64
    ) | np.uint64(1)
    place = np.arange(len(data)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    sums = np.zeros(len(ids) + 1, np.uint64)
    weighted = np.concatenate([[np.uint64(0)], np.cumsum(data.astype(np.uint64) * weights[place])])
    sums = weighted[offsets[1:] - offsets[0]] - weighted[offsets[:-1] - offsets[0]]
    return hashing.mix(sums + lengths.astype(np.uint64))


@dataclasses.dataclass
class Events:
    """The events of a shard, sorted by user and time, ties in the order of the log.

    `table` holds the columns of a block and `ROLE`; `starts` is `[U + 1]`. `duplicates` counts the events
    that are equal to an earlier one in all columns.
    """

    table: pa.RecordBatch
    starts: np.ndarray
    duplicates: int = 0

    def column(self, name: str) -> pa.Array:
        return self.table.column(self.table.schema.get_field_index(name))

    def numbers(self, name: str) -> np.ndarray:
        return self.column(name).to_numpy(zero_copy_only=False)

    def user_of(self) -> np.ndarray:
        """The number of the user of each event, from 0 in their order: `[N]`."""
        counts = np.diff(self.starts)
        return np.repeat(np.arange(len(counts)), counts)

    def training_counts(self) -> np.ndarray:
        """How many events of each user train: `[U]`."""
        before = np.concatenate([[0], np.cumsum(self.numbers(ROLE) == splits.TRAIN)])
        return before[self.starts[1:]] - before[self.starts[:-1]]


def order(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a shard by user and time, ties in the order of the log, and each row's user as a code.

    Users are ordered by id, not by first appearance: the order of the files must not show in the output.

    Args:
      table: the columns of `blocks.Block`, and `blocks.FILE`.
    """
    codes = _codes(table.column(names.USER_ID))
    sequence = np.lexsort(
        (
            table.column(blocks.ROW).to_numpy(),
            table.column(blocks.FILE).to_numpy(),
            table.column(blocks.NANOS).to_numpy(),
            table.column(names.TIMESTAMP).to_numpy(),
            codes,
        )
    )
    return sequence, codes


def sort_events(table: pa.Table, split: spec.SplitSpec, cuts: splits.Cuts | None) -> Events:
    """Sorts a shard and gives every event its role.

    Args:
      table: the columns of `blocks.Block`, and `blocks.FILE`.

    Raises:
      errors.InputError: if targets are asked by behaviour of a log without behaviours.
    """
    table = table.combine_chunks()
    sequence, codes = order(table)
    changes = np.flatnonzero(np.diff(codes[sequence])) + 1
    starts = np.concatenate([[0], changes, [len(sequence)]]).astype(np.int64)
    copies = int(duplicates.repeated(table, sequence, codes).sum())
    table = table.drop([blocks.ROW, blocks.FILE, blocks.NANOS]).take(pa.array(sequence)).combine_chunks()
    batch = batches.one(table.to_batches()) if table.num_rows else _empty(table.schema)
    user_hash = hash_ids(
        batch.column(batch.schema.get_field_index(names.USER_ID)).take(pa.array(starts[:-1]))
    )
    times = batch.column(batch.schema.get_field_index(names.TIMESTAMP)).to_numpy()
    roles = splits.assign_roles(starts, times, user_hash, split, cuts, _wanted(batch, split))
    columns = {field.name: batch.column(i) for i, field in enumerate(batch.schema)}
    columns[ROLE] = pa.array(roles)
    return Events(pa.RecordBatch.from_arrays(list(columns.values()), list(columns)), starts, copies)


def _wanted(batch: pa.RecordBatch, split: spec.SplitSpec) -> np.ndarray | None:
    """Which events may be targets of eval and test, `[N]` bool; None is all."""
    if split.target_behaviors is None:
        return None
    if names.BEHAVIOR not in batch.schema.names:
        raise errors.InputError(
            f"split.target_behaviors ({', '.join(split.target_behaviors)}) needs log.columns.behavior, "
            f"found none"
        )
    behaviors = batch.column(batch.schema.get_field_index(names.BEHAVIOR))
    values = pa.array([name.encode("utf-8") for name in split.target_behaviors], behaviors.type)
    return pc.is_in(behaviors, value_set=values).to_numpy(zero_copy_only=False)


def drop_rare(table: pa.Table, kept_items: pa.Array, min_user_events: int) -> tuple[pa.Table, dict[str, int]]:
    """Leaves out events of rare items, then those of users with few of what is left.

    Args:
      table: events of whole users, in any order.
      kept_items: binary ids of the items that stay.
      min_user_events: the least number of events of a user that stays.

    Returns:
      The rest of the table, and the numbers of `item_events`, `users` and `user_events` that
      were left out; `users` has those of whom the items left nothing.
    """
    users = pc.count_distinct(table.column(names.USER_ID)).as_py()
    rest = table.filter(pc.is_in(table.column(names.ITEM_ID), value_set=kept_items))
    counted = pc.value_counts(rest.column(names.USER_ID))
    enough = pc.greater_equal(counted.field("counts"), min_user_events)
    kept_users = counted.field("values").filter(enough)
    left = rest.filter(pc.is_in(rest.column(names.USER_ID), value_set=kept_users))
    return left, {
        "item_events": table.num_rows - rest.num_rows,
        "users": users - len(kept_users),
        "user_events": rest.num_rows - left.num_rows,
    }


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema.names)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.chunks) if encoded.num_chunks else pa.array([], column.type)
    encoded = encoded.dictionary_encode()
    # By id, not by first appearance: the order of the files must not show in the output.
    rank = np.empty(len(encoded.dictionary), np.int64)
    rank[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    return rank[encoded.indices.to_numpy()]
