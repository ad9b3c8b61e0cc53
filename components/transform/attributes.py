"""What becomes of attributes: texts are looked up, numbers cut into buckets or scaled."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import fields, ops, spec
from schemas import names

# Of a bucket's share: how far its boundaries may lie from the exact quantiles.
_QUANTILE_ERROR = 0.1
# A number whose deviation is smaller than this share of its mean is a constant, but for rounding.
_CONSTANT = 1e-6


def vocabulary(values: tf.Tensor, table: str, features: spec.FeaturesSpec) -> Any:
    """Of texts of any shape; an empty one is never in it."""
    options = features.of(table)
    return tft.vocabulary(
        values,
        top_k=options.max_size,
        # None is the same as 1, of which TFT warns for each feature.
        frequency_threshold=options.min_count if options.min_count > 1 else None,
        vocab_filename=fields.vocabulary_name(table),
    )


def lookup(values: tf.Tensor, known: Any) -> tf.Tensor:
    """The indices of texts of any shape in a vocabulary; PADDING_INDEX of empty ones."""
    found = ops.index_of(values, known)
    return tf.where(values == "", tf.constant(names.PADDING_INDEX, tf.int64), found)


def number(values: tf.Tensor, name: str, options: spec.FeatureSpec) -> dict[str, tf.Tensor]:
    """The feature of numbers `[B]`, by its key: a bucket or a score, as the options say; NaN is a missing one."""
    if options.encode == "buckets":
        index = place(values, boundaries(values, options))
        if options.boundaries is not None:
            # Those of equal frequency have a training value each.
            index = trained(index, options.number_of_buckets)
        return {name + names.INDEX_SUFFIX: index}
    there = tf.math.is_finite(values)
    # Doubles: in single precision the deviation of a small number with a large mean is lost.
    exact = tf.cast(tf.where(there, values, 0.0), tf.float64)
    if options.encode == "log_z_score":
        exact = tf.sign(exact) * tf.math.log1p(tf.abs(exact))
    present = tf.boolean_mask(exact, there)
    mean, deviation = tft.mean(present), tf.sqrt(tft.var(present))
    varies = there & (deviation > _CONSTANT * tf.abs(mean))
    scores = tf.where(varies, tf.math.divide_no_nan(exact - mean, deviation), 0.0)
    return {name + names.VALUE_SUFFIX: tf.cast(scores, tf.float32)}


def boundaries(values: tf.Tensor, options: spec.FeatureSpec) -> tf.Tensor:
    """Of the buckets of numbers of any shape, NaN left out: those of equal frequency, or as the options name them; `[1, N]`."""
    if options.boundaries is not None:
        return tf.constant([options.boundaries], tf.float32)
    there = tf.math.is_finite(values)
    return tft.quantiles(tf.boolean_mask(values, there), options.buckets, _QUANTILE_ERROR / options.buckets)


def place(values: tf.Tensor, ends: tf.Tensor) -> tf.Tensor:
    """The indices of the buckets of numbers of any shape, of `boundaries`; PADDING_INDEX of a missing one."""
    there = tf.math.is_finite(values)
    found = tft.apply_buckets(tf.where(there, values, 0.0), ends) + names.FIRST_INDEX
    return tf.where(there, found, tf.constant(names.PADDING_INDEX, tf.int64))


def bucket(values: tf.Tensor, boundaries: Any) -> tf.Tensor:
    """FIRST_INDEX and how many of the boundaries each value has reached."""
    reached = tf.searchsorted(tf.constant(boundaries, values.dtype), values, side="right", out_type=tf.int64)
    return reached + names.FIRST_INDEX


def trained(
    index: tf.Tensor, number_of_values: int, cyclic: bool = False, missing_is_last: bool = False
) -> tf.Tensor:
    """In place of an index that no training example has the one that stands in for it, see `stand_ins`; of any shape."""
    return tf.gather(stand_ins(index, number_of_values, cyclic, missing_is_last), index)


def stand_ins(
    index: tf.Tensor, number_of_values: int, cyclic: bool = False, missing_is_last: bool = False
) -> tf.Tensor:
    """By index the one whose row is read: where no training example has it, and so none trains its row, the nearest that one has.

    Args:
      index: of the training examples, any shape.
      number_of_values: how many there are from FIRST_INDEX on; where training has none of them, all are PADDING_INDEX.
      cyclic: whether the first value follows the last one, as of hours.
      missing_is_last: whether PADDING_INDEX is nearest to the largest value, as of the time since what never was. Otherwise,
        and OOV_INDEX always, it is left as it is.

    Returns:
      int64 `[FIRST_INDEX + number_of_values]`.
    """
    rows = fields.rows(number_of_values)
    each = tf.one_hot(tf.reshape(index, [-1]), rows, dtype=tf.int64)
    counts = tft.sum(each, reduce_instance_dims=False)
    values = tf.range(names.FIRST_INDEX, rows, dtype=tf.int64)
    has = counts[names.FIRST_INDEX :] > 0
    apart = tf.abs(values[:, tf.newaxis] - values)
    if cyclic:
        apart = tf.minimum(apart, number_of_values - apart)
    nearest = tf.argmin(tf.where(has, apart, number_of_values), axis=1) + names.FIRST_INDEX
    padding, unknown = (tf.constant(one, tf.int64) for one in (names.PADDING_INDEX, names.OOV_INDEX))
    missing = padding
    if missing_is_last:
        last = tf.reduce_max(tf.where(has, values, padding))
        missing = tf.where(counts[names.PADDING_INDEX] > 0, padding, last)
    return tf.concat([[missing, unknown], tf.where(tf.reduce_any(has), nearest, padding)], axis=0)
