"""Operations of TFX Transform that several window kinds share; the same graph answers requests."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schemas import names

MS_PER_SECOND = 1000
_MS_PER_HOUR = 3_600_000
_MS_PER_DAY = 86_400_000
# 1970-01-01 was a Thursday, day 3 of a week that begins with Monday.
_FIRST_WEEKDAY = 3
# With frequencies beside the ids; the lookup needs a file of ids alone.
ITEM_COUNTS_VOCABULARY = names.ITEM_COUNTS
# Farmhash is part of TensorFlow's contract: a user has the same hash in every release.
_USER_HASHES = 2**63 - 1


def user_features(users: tf.Tensor, frequencies: tf.Tensor) -> dict[str, tf.Tensor]:
    """USER_HASH and USER_HEAD of users `[B]` and their USER_FREQUENCY."""
    # The order of the windows in the files says nothing certain of whose they are: Beam may mix it.
    return {
        names.USER_HASH: tf.strings.to_hash_bucket_fast(users, _USER_HASHES),
        names.USER_HEAD: tf.cast(frequencies == names.HEAD, tf.int64),
    }


def index_of(values: tf.Tensor, vocabulary: Any) -> tf.Tensor:
    """The indices, from FIRST_INDEX on, of values in what `tft.vocabulary` has made; else OOV_INDEX."""
    # Unknown values come back as -1, one below the first: OOV_INDEX.
    found = tft.apply_vocabulary(values, vocabulary, default_value=names.OOV_INDEX - names.FIRST_INDEX)
    return found + names.FIRST_INDEX


def indices_of(sparse: tf.SparseTensor, vocabulary: Any) -> tf.SparseTensor:
    """As `index_of`, of sparse values."""
    return tf.SparseTensor(sparse.indices, index_of(sparse.values, vocabulary), sparse.dense_shape)


def scalar(value: tf.Tensor) -> tf.Tensor:
    """`[B]` or `[B, 1]` to `[B]`."""
    return tf.reshape(value, [-1])


def index_of_number(numbers: tf.Tensor, given: tf.Tensor | None = None) -> tf.Tensor:
    """The indices, from FIRST_INDEX on, of numbers that count from 0, as hours of a day.

    Args:
      numbers: int64 of any shape.
      given: which of them are known; the others are OOV_INDEX. None: all.
    """
    found = numbers + names.FIRST_INDEX
    return found if given is None else tf.where(given, found, tf.constant(names.OOV_INDEX, tf.int64))


def row_sizes(sparse: tf.SparseTensor, rows: tf.Tensor) -> tf.Tensor:
    """How many values each row has, `[B]` int64.

    Args:
      sparse: `[B, n]`.
      rows: B, which an empty `sparse` need not know.
    """
    row = sparse.indices[:, 0]
    return tf.math.unsorted_segment_sum(tf.ones_like(row), row, rows)


def last_of_both(past: tf.SparseTensor, future: tf.SparseTensor, number: tf.Tensor) -> tf.Tensor:
    """The last values of each row of `past` followed by `future`, as many as it has in `number` `[B]`.

    Args:
      past: `[B, n]`.
      future: `[B, m]`.
      number: at most n + m.
    """
    rows = tf.size(number)
    behind = row_sizes(future, rows)
    kept = []
    for part, later in ((past, behind), (future, tf.zeros_like(behind))):
        row, place = part.indices[:, 0], part.indices[:, 1]
        # From the row's end: 1 is its last value.
        from_end = tf.gather(row_sizes(part, rows) + later, row) - place
        kept.append(tf.boolean_mask(part.values, from_end <= tf.gather(number, row)))
    return tf.concat(kept, axis=0)


def dense(sparse: tf.SparseTensor, missing: Any, shape: tf.Tensor) -> tf.Tensor:
    """Values `[B, n]` as a dense `[B, m]`, m >= n.

    Args:
      missing: for places that have no value.
      shape: `[B, m]`.
    """
    widened = tf.SparseTensor(sparse.indices, sparse.values, shape)
    return tf.sparse.to_dense(widened, default_value=tf.constant(missing, sparse.dtype))


def beside(sparse: tf.SparseTensor, missing: Any, shape: tf.Tensor) -> tf.Tensor:
    """Values `[B, m]` as a dense `[B, n]`: `missing` where a row has fewer, and what it has more is cut off.

    Args:
      shape: `[B, n]`.
    """
    # A column at least, so that there is something to take where no row has a value.
    widened = tf.maximum(tf.maximum(sparse.dense_shape, shape), [0, 1])
    return dense(sparse, missing, widened)[:, : shape[1]]


def hour_of_day(times: tf.Tensor) -> tf.Tensor:
    """0..23 (UTC) of times in ms since the epoch."""
    return tf.math.floormod(times // _MS_PER_HOUR, 24)


def day_of_week(times: tf.Tensor) -> tf.Tensor:
    """0..6 (UTC; Monday is 0) of times in ms since the epoch."""
    return tf.math.floormod(times // _MS_PER_DAY + _FIRST_WEEKDAY, 7)
