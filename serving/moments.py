"""The moment at which a request is answered, of models of periods: what the history is before."""

import tensorflow as tf

from components.transform import ops
from schemas import names

# Of a request that names no moment.
NOT_TOLD = 0


def told(moment: tf.Tensor, times: tf.SparseTensor) -> tf.Tensor:
    """Moments `[B]` int64 (ms): in place of NOT_TOLD the one right after the last event, or 1 of a history without any.

    Whether a log has days without times, and in which zone, no request says: the caller of such a log passes the
    midnight after the last day, as training has it.

    Args:
      moment: of each history.
      times: of its events, sparse `[B, n]`.
    """
    last = tf.math.unsorted_segment_max(times.values, times.indices[:, 0], tf.size(moment))
    # What a history is filled up with has time 0; one without an event has no time, and is answered alike.
    last = tf.maximum(last, NOT_TOLD)
    return tf.where(moment == NOT_TOLD, last + 1, moment)


def items_before(raw: dict[str, tf.SparseTensor]) -> tf.Tensor:
    """The items of all events before the moment, however old, `[B, n]`; empty in the place of a later one.

    Args:
      raw: HISTORY_ITEM_ID and HISTORY_TIMESTAMP, sparse `[B, n]`, and MOMENT `[B]`.
    """
    items = tf.sparse.to_dense(raw[names.HISTORY_ITEM_ID], default_value="")
    times = ops.beside(raw[names.HISTORY_TIMESTAMP], tf.int64.min, tf.shape(items, tf.int64))
    return tf.where(times < raw[names.MOMENT][:, tf.newaxis], items, "")
