"""Reads transformed windows into batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from schemas import errors, kinds, names
from trainer import grouping

_PARSE = 1024
# Where columns are. An operation on them outside of a graph would prefer an accelerator, and take whole columns there.
_HOST = "CPU:0"


def files(patterns: Sequence[str]) -> list[str]:
    """The files that match, sorted.

    Raises:
      ValueError: if there are none.
    """
    found = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    if not found:
        raise ValueError(f"no transformed examples match {', '.join(patterns)}")
    return found


def in_order(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same, always in one order, and with a parallelism that stays as it is.

    The thread that would tune it sleeps for longer and longer, and to let go of an iterator waits until it
    wakes up: half of the iterators that were in use for 1.5 s kept an epoch waiting for another second
    (TensorFlow 2.15), longer ones for longer.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return batches.with_options(options)


def read(
    patterns: Sequence[str],
    transform_output: tft.TFTransformOutput,
    features: Sequence[str],
    share: float = 1.0,
    seed: int = 0,
) -> tf.data.Dataset:
    """Windows in the order of the files, parsed many at a time.

    Args:
      patterns: of gzip TFRecord files.
      features: which features to parse; others cost nothing.
      share: of the windows that are kept, each by a draw of its own.
      seed: of the draw: with the same one the same windows are kept, whatever is parsed of them.

    Returns:
      Elements are blocks of windows: dense features `[b, ...]`, sparse ones as SparseTensors.
    """
    spec = transform_output.transformed_feature_spec()
    wanted = {name: spec[name] for name in features}
    # One file at a time: the order of the windows must not depend on how fast a file is read.
    records = tf.data.TFRecordDataset(files(patterns), compression_type="GZIP")
    blocks = records.batch(_PARSE)
    if share < 1:
        blocks = blocks.enumerate().map(lambda place, block: _kept(block, share, [seed, place]))
    return in_order(
        blocks.map(
            lambda serialized: tf.io.parse_example(serialized, wanted), num_parallel_calls=tf.data.AUTOTUNE
        )
    )


def _kept(block: tf.Tensor, share: float, seed: Sequence[Any]) -> tf.Tensor:
    """A share of the elements of a block `[b]`, drawn by a seed of two numbers."""
    drawn = tf.random.stateless_uniform(tf.shape(block), [tf.cast(part, tf.int64) for part in seed])
    return tf.boolean_mask(block, drawn < share)


def per_place(held: dict[str, tf.Tensor]) -> list[str]:
    """The features of `columns` that have a value for each place of a window, as their kind says by name.

    A name means the same in every kind, so which one it is need not be known. Attributes of events have one each, too.
    """
    named = {name for kind in kinds.WINDOW_KINDS.values() for name in kind.per_place}
    return [name for name in held if name in named or name.startswith(names.HISTORY_ATTRIBUTES)]


def epochs(
    order: Callable[[int], tuple[np.ndarray, ...]], numbers: Sequence[int], done: int = 0
) -> tf.data.Dataset:
    """What the steps of several epochs are made of, one after the other.

    One dataset for all of them: to make one, and an iterator of it, takes a tenth of a second, which is much of an epoch of
    some thousand windows; and what the next epoch has is ready when it begins.

    Args:
      order: of the number of an epoch what its steps are made of, `[steps, ...]` for each part.
      numbers: of the epochs, at least one.
      done: how many steps of the first one to leave out.

    Returns:
      Elements are tuples of the parts `[...]` of a step.
    """
    first = order(numbers[0])

    def each() -> Iterator[tuple[np.ndarray, ...]]:
        yield tuple(part[done:] for part in first)
        for number in numbers[1:]:
            yield order(number)

    spec = tuple(tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in first)
    whole = tf.data.Dataset.from_generator(each, output_signature=spec).prefetch(1)
    return whole.flat_map(lambda *parts: tf.data.Dataset.from_tensor_slices(parts))


def training_batches(
    held: dict[str, tf.Tensor],
    steps: tf.data.Dataset,
    choice: Sequence[int],
    shares: int = 1,
    fill: bool = False,
) -> tf.data.Dataset:
    """Batches of windows in the given order, without the padding that all windows of one have.

    Args:
      held: of `columns`.
      steps: of each batch its windows, `[b]` with `grouping.NOTHING` after them, and how many places of these it keeps, at
        most L.
      choice: the numbers of places that there are; a single one is known to the graph.
      shares: a batch becomes so many elements, one after the other, of about as many windows.
      fill: elements have b / shares windows, rounded up, of which the missing ones are all padding.

    Returns:
      Elements are dicts of `[n, width, ...]` for features of `per_place`, `[n, ...]` for others.
    """
    length, cut = held[names.HISTORY_ITEM_INDEX].shape[1], per_place(held)

    def gather(chosen: tf.Tensor, width: tf.Tensor) -> dict[str, tf.Tensor]:
        real = chosen != grouping.NOTHING
        chosen = tf.maximum(chosen, 0) if fill else tf.boolean_mask(chosen, real)
        kept = choice[0] if len(choice) == 1 else width
        found = {}
        for name, values in held.items():
            value = tf.gather(values, chosen)
            if name in cut:
                value = value[:, length - kept :]
            if fill:
                mask = tf.reshape(real, [-1] + [1] * (value.shape.rank - 1))
                value = tf.where(mask, value, tf.zeros([], value.dtype))
            found[name] = value
        return found

    return _gathered(_in_shares(steps, shares), gather)


def _gathered(steps: tf.data.Dataset, gather: Callable[..., dict[str, tf.Tensor]]) -> tf.data.Dataset:
    batches = steps.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    return in_order(batches.prefetch(tf.data.AUTOTUNE))


def _in_shares(steps: tf.data.Dataset, shares: int) -> tf.data.Dataset:
    """Steps of rows `[b]` and what else there is, each cut into so many of as many rows or one more, one after the other."""
    if shares == 1:
        return steps

    def cut(rows: tf.Tensor, *rest: tf.Tensor) -> tf.data.Dataset:
        # Neighbours go to different shares, so that all have as much to do.
        rows = tf.pad(rows, [[0, -rows.shape[0] % shares]], constant_values=grouping.NOTHING)
        rows = tf.transpose(tf.reshape(rows, [-1, shares]))
        return tf.data.Dataset.from_tensor_slices((rows, *(tf.repeat(one, shares) for one in rest)))

    return steps.flat_map(cut)


def of_worker(shares: tf.data.Dataset, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """The elements of a worker's own replicas, of a dataset with one for each replica of all workers in turn."""
    workers = context.num_input_pipelines
    if workers == 1:
        return shares
    own = context.num_replicas_in_sync // workers

    def is_own(number: tf.Tensor, _: dict[str, tf.Tensor]) -> tf.Tensor:
        return number // own % workers == context.input_pipeline_id

    return in_order(shares.enumerate().filter(is_own).map(_second))


def _second(_: tf.Tensor, element: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return element


class Rows:
    """Columns beside each other, one tensor for each type: a random row is read from one place.

    Args:
      held: of `columns`, dense.
    """

    def __init__(self, held: dict[str, tf.Tensor]):
        self._shapes = {name: values.shape[1:] for name, values in held.items()}
        self._groups: dict[tf.DType, list[str]] = {}
        for name, values in held.items():
            self._groups.setdefault(values.dtype, []).append(name)
        self.count = len(next(iter(held.values())))
        with tf.device(_HOST):
            self._blocks = {
                dtype: tf.concat(
                    [tf.reshape(held[name], [self.count, self._width(name)]) for name in group], axis=1
                )
                for dtype, group in self._groups.items()
            }

    def gather(self, chosen: tf.Tensor) -> dict[str, tf.Tensor]:
        """The rows `[b]` of all columns, `[b, ...]`, on the host."""
        found = {}
        with tf.device(_HOST):
            for dtype, group in self._groups.items():
                rows = tf.gather(self._blocks[dtype], chosen)
                parts = tf.split(rows, [self._width(name) for name in group], axis=1)
                for name, part in zip(group, parts):
                    found[name] = tf.reshape(part, [tf.size(chosen), *self._shapes[name]])
        return {name: found[name] for name in self._shapes}

    def mapped(self, function: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]) -> "Rows":
        """Rows of what a function makes of these, many at a time."""
        starts = range(0, self.count, _PARSE)
        parts = [function(self.gather(tf.range(at, min(at + _PARSE, self.count)))) for at in starts]
        return Rows(joined(parts))

    def _width(self, name: str) -> int:
        return self._shapes[name].num_elements()


def exposure_batches(held: Rows, steps: tf.data.Dataset, shares: int = 1) -> tf.data.Dataset:
    """Batches of exposures in the given order.

    Args:
      held: all exposures.
      steps: of each batch its rows, `[b]` with `grouping.NOTHING` after them, in a tuple.
      shares: a batch becomes so many elements, one after the other, of about as many rows.

    Returns:
      Elements are dicts of `[n, ...]`.
    """

    def gather(chosen: tf.Tensor) -> dict[str, tf.Tensor]:
        return held.gather(tf.boolean_mask(chosen, chosen != grouping.NOTHING))

    return _gathered(_in_shares(steps, shares), gather)


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The rows of each batch of an epoch, in an order that `seed` and `epoch` alone decide.

    Returns:
      `[batches, batch_size]` int64; the last batch has `grouping.NOTHING` after what there is.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    rows = np.pad(order, [0, -count % batch_size], constant_values=grouping.NOTHING)
    return rows.reshape([-1, batch_size])


def base_rates(blocks: tf.data.Dataset, steps: Sequence[str], key: str) -> tuple[float, ...]:
    """The share of positives of each label among the examples of which it is known.

    Args:
      blocks: of `read` with the labels.
      steps: their names.
      key: the setting that says which labels or examples there are.

    Raises:
      errors.InputError: if a label is known of no example.
    """
    examples = 0
    positives, known = np.zeros(len(steps), np.int64), np.zeros(len(steps), np.int64)
    for block in blocks.as_numpy_iterator():
        labels = np.stack([block[names.LABEL_PREFIX + step] for step in steps])
        examples += labels.shape[1]
        positives += (labels > 0).sum(axis=1)
        known += (labels >= 0).sum(axis=1)
    for step, number in zip(steps, known):
        if not number:
            raise errors.InputError(
                f"{key}: label {step} must be known of at least one training example, found none of {examples:,}"
            )
    return tuple((positives / known).tolist())


def columns(blocks: tf.data.Dataset) -> dict[str, tf.Tensor]:
    """All windows in memory, for reading them in any order.

    Args:
      blocks: of `read`.

    Returns:
      `[W, ...]` for each feature, in the order of the files, on the host; of a sparse one as wide as the longest row,
      with 0 (PADDING_INDEX) behind shorter ones.
    """
    with tf.device(_HOST):
        found = list(blocks)
        return {name: _joined([block[name] for block in found]) for name in blocks.element_spec}


def joined(parts: Sequence[Mapping[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
    """Columns of parts `[w, ...]`, one after the other, on the host."""
    with tf.device(_HOST):
        return {name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]}


def taken(held: Mapping[str, tf.Tensor], rows: np.ndarray) -> dict[str, tf.Tensor]:
    """Some windows `[w]` of `columns`, on the host."""
    with tf.device(_HOST):
        return {name: tf.gather(value, rows) for name, value in held.items()}


def in_parts(held: Mapping[str, tf.Tensor], size: int) -> Iterator[dict[str, tf.Tensor]]:
    """All windows of `columns` in their order, at most `size` at a time, on the host."""
    for start in range(0, len(next(iter(held.values()))), size):
        # Not around the yield: who is given the part has devices of its own.
        with tf.device(_HOST):
            part = {name: value[start : start + size] for name, value in held.items()}
        yield part


def _joined(parts: Sequence[tf.Tensor | tf.SparseTensor]) -> tf.Tensor:
    if not isinstance(parts[0], tf.SparseTensor):
        return tf.concat(parts, axis=0)
    width = max(part.dense_shape[1] for part in parts)
    return tf.concat(
        [tf.sparse.to_dense(tf.sparse.reset_shape(part, [part.dense_shape[0], width])) for part in parts],
        axis=0,
    )


def evaluation_features(model_features: Sequence[str]) -> list[str]:
    """What full-ranking evaluation reads besides the model's own features."""
    return [*model_features, names.TARGET_ITEM_INDEX, names.SEEN_ITEM_INDEX]


def training_features(model_features: Sequence[str]) -> list[str]:
    """What the loss reads besides the model's own features."""
    return list(dict.fromkeys([*model_features, names.HISTORY_ITEM_INDEX, names.TARGET_ITEM_INDEX]))


def user_features() -> list[str]:
    """What loops that group windows by user read besides."""
    return [names.USER_HASH, names.USER_HEAD]
