"""The values of a vocabulary of a transform graph, and the catalogue rows that they are."""

import tensorflow as tf
import tensorflow_transform as tft


class Values(tf.Module):
    """Looks values up by row, and rows by value.

    Args:
      transform_output: of TFX Transform.
      vocabulary: its name there.

    Attributes:
      size: how many values there are.
    """

    def __init__(self, transform_output: tft.TFTransformOutput, vocabulary: str):
        super().__init__()
        path = transform_output.vocabulary_file_by_name(vocabulary)
        self.size = transform_output.vocabulary_size_by_name(vocabulary)
        line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        self._row_of_value = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.string, line, tf.int64, number), default_value=-1
        )
        self._value_of_row = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.int64, number, tf.string, line), default_value=""
        )

    def rows(self, values: tf.Tensor) -> tf.Tensor:
        """The rows of values, int64 of their shape; -1 for unknown ones."""
        return self._row_of_value.lookup(values)

    def of(self, rows: tf.Tensor) -> tf.Tensor:
        """The values of rows; empty for those that there are not."""
        return self._value_of_row.lookup(tf.cast(rows, tf.int64))
