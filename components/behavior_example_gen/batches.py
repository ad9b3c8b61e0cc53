"""Pieces of the record batches that become tf.Examples: each column a list, a scalar a list of one."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from schemas import errors

# More list values than this in one record batch are split, so that memory stays flat when a
# long history is the history of many targets.
_VALUES_PER_BATCH = 1 << 20


class Ranges:
    """Many index ranges `[begin, begin + length)`, one after the other."""

    def __init__(self, begin: np.ndarray, lengths: np.ndarray):
        self.begin, self.lengths = begin, lengths
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    @classmethod
    def none(cls, count: int) -> "Ranges":
        """Empty ranges."""
        return cls(np.zeros(count, np.int64), np.zeros(count, np.int64))

    def take(self, which: np.ndarray) -> "Ranges":
        """Some of the ranges."""
        return Ranges(self.begin[which], self.lengths[which])

    def indices(self) -> np.ndarray:
        """All that lies in the ranges."""
        return np.arange(self.offsets[-1]) + np.repeat(self.begin - self.offsets[:-1], self.lengths)


def one(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """The only batch of a table whose chunks are joined.

    Raises:
      errors.InputError: if there are several, since a column of text has more bytes than one can have.
    """
    if len(batches) > 1:
        raise errors.InputError(
            "window.shards: the texts of a shard have more than 2 GB, which is more than a column can have: raise it"
        )
    return batches[0]


def lists(offsets: np.ndarray, values: pa.Array) -> pa.Array:
    """List n is `values[offsets[n] : offsets[n + 1]]`; numbers are in single precision, as in a tf.Example."""
    if pa.types.is_float64(values.type):
        values = values.cast(pa.float32(), safe=False)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def scalars(values: pa.Array) -> pa.Array:
    """Each value as a list of one."""
    return lists(np.arange(len(values) + 1), values)


def texts(values: np.ndarray) -> pa.Array:
    """Each text as a list of one value of bytes."""
    return scalars(pa.array(values).cast(pa.binary()))


def pieces(values: np.ndarray) -> list[np.ndarray]:
    """Divides rows with so many values each (`[B]`) into pieces that each fit into one record batch."""
    volume = np.cumsum(values)
    cuts = np.flatnonzero(np.diff(volume // _VALUES_PER_BATCH)) + 1
    return np.split(np.arange(len(values)), cuts)
