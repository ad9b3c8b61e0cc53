"""When the events were that a model is trained on: counted by day in the transform graph, read when a model is exported."""

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.behavior_example_gen import time_span
from schemas import times as times_lib

# With frequencies, and not for lookups.
VOCABULARY = "training_days"


def count(times: tf.Tensor) -> None:
    """Has Transform count the days of the training events.

    Args:
      times: `[N]` int64, ms since the epoch.
    """
    tft.vocabulary(times // times_lib.DAY_MS, vocab_filename=VOCABULARY, store_frequency=True)


def load(transform_output: tft.TFTransformOutput) -> time_span.Bulk | None:
    """The first and the last moment (ms, at the borders of days) of all training events but lonely ones.

    Returns:
      None of a transform graph that does not count days, as an older one.
    """
    if not transform_output.vocabulary_file_by_name(VOCABULARY):
        return None
    pairs = [line.split(b" ", 1) for line in transform_output.vocabulary_by_name(VOCABULARY)]
    if not pairs:
        return None
    counts, days = np.array([[int(number) for number in pair] for pair in pairs], np.int64).T
    order = np.argsort(days)
    bulk = time_span.TimeHistogram(days[order], counts[order]).bulk()
    return time_span.Bulk(bulk.first * times_lib.DAY_MS, (bulk.last + 1) * times_lib.DAY_MS - 1)
