"""Embeds the fields of an exposure, a token each."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from components.transform import fields as fields_lib
from schemas import names
from trainer.layers import embedding


class FieldEmbedding(tf.keras.layers.Layer):
    """Fields to tokens of one width.

    An `index` is a row of its table (a missing value has one of its own); `indices` are the mean of the
    rows that are no padding, 0 if there are none; a `value` scales a learnt vector and adds another. All
    fields of a table are looked up at once, and gradients of tables are sparse.

    Args:
      fields: F of them, in the order of the tokens.
      dim: D.
      stddev: of the initial rows, see `embedding.Rows`, and of scales of values.

    Raises:
      ValueError: if fields of one table name different sizes, or a kind is not known.
    """

    def __init__(self, fields: Sequence[fields_lib.Field], dim: int, stddev: float = 0.05):
        # Numbers come as they are: one of many digits is no longer itself in bfloat16.
        super().__init__(autocast=False)
        self._fields, self._dim = tuple(fields), dim
        self._stddev = stddev
        groups: dict[str, list[fields_lib.Field]] = {}
        for field in self._fields:
            if field.kind not in ("index", "indices", "value"):
                raise ValueError(f"field {field.name}: kind is index, indices or value, found {field.kind!r}")
            if field.kind != "value":
                groups.setdefault(field.table, []).append(field)
        self._values = tuple(field for field in self._fields if field.kind == "value")
        # Tuples, which Keras does not want to save.
        self._groups = tuple((name, tuple(group)) for name, group in groups.items())
        self._tables = {name: self._table(name, group) for name, group in self._groups}
        if self._values:
            shape = [len(self._values), dim]
            normal = tf.keras.initializers.RandomNormal(stddev=stddev)
            self._scales = self._weight("value_scales", shape, normal)
            self._shifts = self._weight("value_shifts", shape, "zeros")

    def _table(self, name: str, group: Sequence[fields_lib.Field]) -> tf.Variable:
        sizes = {field.size for field in group}
        if len(sizes) > 1:
            raise ValueError(
                f"fields of table {name} have one size, found "
                + ", ".join(f"{field.name}: {field.size}" for field in group)
            )
        rows = embedding.Rows(stddev=self._stddev)
        return self._weight(f"table_{name}", [sizes.pop(), self._dim], rows)

    def _weight(self, name: str, shape: Sequence[int], initializer: Any) -> tf.Variable:
        # In mixed precision a table would be cast as a whole where a few of its rows are read.
        return self.add_weight(
            name=name, shape=shape, dtype=tf.float32, initializer=initializer, experimental_autocast=False
        )

    @property
    def vocabulary_rows(self) -> tuple[tuple[tf.Variable, str], ...]:
        """The tables, and the vocabularies that their rows may be, see `trainer.warm_start`."""
        return tuple((table, fields_lib.vocabulary_name(name)) for name, table in self._tables.items())

    def call(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Transformed features by key to `[B, F, D]`."""
        tokens: dict[str, tf.Tensor] = {}
        for name, group in self._groups:
            indices = [_as_matrix(features[field.key]) for field in group]
            widths = [tf.shape(index)[1] if index.shape[1] is None else index.shape[1] for index in indices]
            rows = tf.gather(self._tables[name], tf.concat(indices, axis=1))
            parts = tf.split(tf.cast(rows, self.compute_dtype), widths, axis=1, num=len(group))
            for field, index, part in zip(group, indices, parts):
                tokens[field.name] = part[:, 0] if field.kind == "index" else _mean(part, index)
        if self._values:
            numbers = tf.stack([features[field.key] for field in self._values], axis=1)
            scaled = tf.cast(numbers[:, :, tf.newaxis] * self._scales + self._shifts, self.compute_dtype)
            tokens.update(zip((f.name for f in self._values), tf.unstack(scaled, len(self._values), axis=1)))
        return tf.stack([tokens[field.name] for field in self._fields], axis=1)


def _as_matrix(index: tf.Tensor) -> tf.Tensor:
    return index[:, tf.newaxis] if index.shape.rank == 1 else index


def _mean(rows: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """`[B, M, D]` to the mean `[B, D]` of those whose index `[B, M]` is no padding."""
    present = tf.cast(index != names.PADDING_INDEX, rows.dtype)[:, :, tf.newaxis]
    return tf.math.divide_no_nan(tf.reduce_sum(rows * present, axis=1), tf.reduce_sum(present, axis=1))
