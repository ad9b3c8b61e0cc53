"""The histories of a shard's users as dense arrays, columns in, columns out."""

import dataclasses
import datetime
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import batches, shards
from components.behavior_example_gen.reading import blocks
from schemas import names

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_US = datetime.timedelta(microseconds=1)
# Of a request to a model.
_MOST_PADDED = 1 << 18


@dataclasses.dataclass(frozen=True)
class Rule:
    """Which events of a user make the history.

    Attributes:
      length: how many at most, the last ones; None: all.
      past: how far back from the moment, in ms; None: to the first event.
      moment: only events strictly before it count; None: all do, and the moment is just behind the user's last event.
      whole: of users with a history, take all events before the moment, however many and old.
      least: how many events that count a user has at least; others have no history.
    """

    length: int | None = None
    past: int | None = None
    moment: datetime.datetime | None = None
    whole: bool = False
    least: int = 1

    @property
    def moment_ms(self) -> int | None:
        """The moment in ms, rounded up: what is before it in ms is strictly before it."""
        return None if self.moment is None else -(-((self.moment - EPOCH) // _US) // 1000)


@dataclasses.dataclass(frozen=True)
class Histories:
    """The histories of users, by user.

    Attributes:
      users: ids, `[U]` binary, sorted.
      begin, lengths: where each history lies among the events, `[U]` int64; lengths are at least 1.
      counts: how many events each has before it is cut to the last `Rule.length`, or taken whole, `[U]` int64.
      times: of the events, ms, `[N]` int64.
      texts: of the events, by the name of the column: the number of each event's value, `[N]` int64, and the distinct
        values, an object array of bytes whose last one is empty, for padding.
      numbers: of the events, by the name of the column: `[N]` float32, NaN of a missing one.
      of_users: what the last event of each history says of its user, by the name of the column, `[U]` as the log has it.
      left_out: how many users have fewer than `Rule.least` events that count.
    """

    users: pa.Array
    begin: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    times: np.ndarray
    texts: dict[str, tuple[np.ndarray, np.ndarray]]
    numbers: dict[str, np.ndarray]
    of_users: dict[str, pa.Array]
    left_out: int

    @property
    def last_times(self) -> np.ndarray:
        """When the last event of each history was, ms, `[U]` int64."""
        return self.times[self.begin + self.lengths - 1]

    def by_length(self, size: int, most: int = _MOST_PADDED) -> Iterator[np.ndarray]:
        """The numbers of the users in batches of at most `size`, those with short histories first: little is padded.

        A batch has at most `most` events with its padding, or one user.
        """
        order = np.argsort(self.lengths, kind="stable")
        at = 0
        while at < len(order):
            lengths = self.lengths[order[at : at + size]]
            # Padded to the longest, which is the last.
            events = lengths * np.arange(1, len(lengths) + 1)
            end = at + max(1, int(np.searchsorted(events, most, side="right")))
            yield order[at:end]
            at = end

    def padded(self, which: np.ndarray, values: np.ndarray, padding: float) -> np.ndarray:
        """Values of events as a row for each of some users, padded at the end.

        Args:
          which: numbers of users, `[B]`.
          values: of all events, `[N]`.
          padding: what stands where there is no event.

        Returns:
          `[B, T]` of their type, where T is the longest of these histories.
        """
        ranges = batches.Ranges(self.begin[which], self.lengths[which])
        there = np.arange(ranges.lengths.max(initial=0)) < ranges.lengths[:, np.newaxis]
        found = np.full(there.shape, padding, values.dtype)
        found[there] = values[ranges.indices()]
        return found


def of_table(
    table: pa.Table,
    columns: Sequence[str],
    rule: Rule,
    numbers: Sequence[str] = (),
    of_users: Sequence[str] = (),
) -> Histories:
    """The histories of a shard.

    Args:
      table: the events of whole users in any order, with the columns of `blocks.Block`, and `blocks.FILE`.
      columns: of text that histories have, as `names.ITEM_ID`.
      rule: which events count.
      numbers: columns of numbers that histories have.
      of_users: columns of users.
    """
    everybody = pc.count_distinct(table.column(names.USER_ID)).as_py()
    if rule.moment is not None:
        table = table.filter(pa.array(_before(table, rule.moment)))
    sequence, codes = shards.order(table)
    starts = _starts(codes[sequence])
    wanted = dict.fromkeys([names.USER_ID, names.TIMESTAMP, *columns, *numbers, *of_users])
    sorted_ = table.select(list(wanted)).take(pa.array(sequence))
    times = sorted_.column(names.TIMESTAMP).to_numpy()
    end, counts = starts[1:], _counts(times, starts, rule)
    there = np.flatnonzero(counts >= rule.least)
    end, counts = end[there], counts[there]
    if rule.whole:
        lengths = end - starts[:-1][there]
    else:
        lengths = counts if rule.length is None else np.minimum(counts, rule.length)
    last = pa.array(end - 1)
    return Histories(
        users=_whole(sorted_.column(names.USER_ID)).take(last),
        begin=end - lengths,
        lengths=lengths,
        counts=counts,
        times=times,
        texts={name: _numbered(_whole(sorted_.column(name))) for name in columns},
        numbers={name: sorted_.column(name).to_numpy().astype(np.float32) for name in numbers},
        # As known then, in training, too.
        of_users={name: _whole(sorted_.column(name)).take(last) for name in of_users},
        left_out=everybody - len(there),
    )


def _before(table: pa.Table, moment: datetime.datetime) -> np.ndarray:
    """Which events are strictly before a moment, to the nanosecond: `[N]` bool."""
    ms, us = divmod((moment - EPOCH) // _US, 1000)
    times, nanos = (table.column(name).to_numpy() for name in (names.TIMESTAMP, blocks.NANOS))
    return (times < ms) | (times == ms) & (nanos < 1000 * us)


def _starts(codes: np.ndarray) -> np.ndarray:
    """Where the events of each user begin, and the end of the last one's: `[U + 1]`."""
    first = np.flatnonzero(np.diff(codes)) + 1
    return (
        np.concatenate([[0], first, [len(codes)]]).astype(np.int64) if len(codes) else np.zeros(1, np.int64)
    )


def _counts(times: np.ndarray, starts: np.ndarray, rule: Rule) -> np.ndarray:
    """How many events of each user, the last ones, are not too long before the moment: `[U]`."""
    counts = np.diff(starts)
    if rule.past is None or not len(counts):
        return counts
    if rule.moment_ms is None:
        since = times[starts[1:] - 1] + 1 - rule.past
    else:
        since = np.full(len(counts), rule.moment_ms - rule.past)
    return np.add.reduceat(times >= np.repeat(since, counts), starts[:-1], dtype=np.int64)


def _numbered(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    encoded = pc.fill_null(column, b"").dictionary_encode()
    values = np.empty(len(encoded.dictionary) + 1, object)
    values[:-1] = encoded.dictionary.to_numpy(zero_copy_only=False)
    values[-1] = b""
    return encoded.indices.to_numpy().astype(np.int64), values


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        return pa.concat_arrays(combined.chunks) if combined.num_chunks else pa.array([], column.type)
    return combined
