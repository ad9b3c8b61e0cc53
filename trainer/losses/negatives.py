"""Where the negatives of a sampled loss come from.

A sampler draws `n` items for each target `[T]` and computes on no other items. All draws come
from the model's generator. q is the probability of an item in one draw, N the size of the
catalogue; corrections are relative to uniform draws, log(N q), so they are 0 for those.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import errors
from trainer.models import scoring
from trainer.settings import losses as loss_settings


@dataclasses.dataclass(frozen=True)
class Sample:
    """Logits of targets and of what was drawn for them.

    Attributes:
      positive: `[T]` float32, of the targets.
      negative: `[T, n]` float32.
      positive_q: `[T]` float32, q of the targets; None if all items have the same.
      negative_q: `[T, n]` or `[1, n]` float32, q of the negatives; None likewise.
      used: `[T, n]` bool, False where what was drawn is no negative, as the target itself; None: that cannot be.
    """

    positive: tf.Tensor
    negative: tf.Tensor
    positive_q: tf.Tensor | None = None
    negative_q: tf.Tensor | None = None
    used: tf.Tensor | None = None


def _in_float32(query: scoring.Query) -> scoring.Query:
    return tf.nest.map_structure(lambda value: tf.cast(value, tf.float32), query)


def _of_drawn(
    model: Any, states: scoring.Query, labels: tf.Tensor, drawn: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits `[T]` of the targets and `[T, n]` of the drawn rows `[T, n]`."""
    states = _in_float32(states)
    return model.pair_scores(states, labels), model.pair_scores(states, drawn)


def _check(size: int) -> None:
    if size < 2:
        raise errors.InputError(
            f"a loss with negatives needs at least two items that training has as targets, found {size}"
        )


class Sampler:
    """A way to draw negatives."""

    # Whether `draw` wants the items of the windows.
    reads_windows: bool = False

    def draw(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        negatives: int,
        counted: tf.Tensor | None = None,
    ) -> Sample:
        """Draws for states `[T, D]` with labels `[T]`, catalogue rows.

        Args:
          negatives: n.
          counted: `[T]` bool, which of the targets are real; None: all.

        Raises:
          errors.InputError: if the catalogue has one item.
        """
        raise NotImplementedError


class Uniform(Sampler):
    """All items but the target, with equal probability."""

    def draw(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        negatives: int,
        counted: tf.Tensor | None = None,
    ) -> Sample:
        """As `Sampler.draw`."""
        size = model.catalogue.size
        _check(size)
        shape = [tf.shape(labels)[0], negatives]
        drawn = model.generator.uniform(shape, maxval=size - 1, dtype=tf.int64)
        # Stepping over the target keeps the draw uniform over all others.
        drawn += tf.cast(drawn >= labels[:, tf.newaxis], tf.int64)
        return Sample(*_of_drawn(model, states, labels, drawn))


class Unmet(Sampler):
    """All items but those of the target's window, with equal probability.

    The draws of a window that has the whole catalogue are not used.
    """

    reads_windows = True

    def draw(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        negatives: int,
        counted: tf.Tensor | None = None,
        windows: tf.Tensor | None = None,
    ) -> Sample:
        """As `Sampler.draw`.

        Args:
          windows: `[T, W]` int64 catalogue rows of the items of each target's window, the target among them;
            negative ones say nothing.

        Raises:
          errors.InputError: if the catalogue has one item.
          ValueError: without `windows`.
        """
        size = model.catalogue.size
        _check(size)
        if windows is None:
            raise ValueError("negative_sampling: unmet needs the windows of the targets")
        drawn, used = _outside(windows, negatives, size, model.generator)
        return Sample(*_of_drawn(model, states, labels, drawn), used=used)


def _outside(
    windows: tf.Tensor, negatives: int, size: int, generator: tf.random.Generator
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws of the rows below `size` that a window `[T, W]` does not have, and which are any: `[T, n]` each."""
    # Behind all others, also less its place.
    nothing = tf.constant(windows.dtype.max // 2, windows.dtype)
    own = tf.sort(tf.where(windows < 0, nothing, windows), axis=1)
    again = tf.concat([tf.zeros_like(own[:, :1], tf.bool), own[:, 1:] == own[:, :-1]], axis=1)
    own = tf.sort(tf.where(again, nothing, own), axis=1)
    left = size - tf.math.count_nonzero(own < size, axis=1, keepdims=True)
    point = generator.uniform([tf.shape(windows)[0], negatives], dtype=tf.float64)
    nth = tf.cast(point * tf.cast(left, tf.float64), tf.int64)
    # The nth of the others has stepped over all own rows of which at most n others stand before them.
    others_before = own - tf.range(tf.shape(own, out_type=tf.int64)[1])
    nth += tf.searchsorted(others_before, nth, side="right", out_type=tf.int64)
    return tf.minimum(nth, size - 1), tf.broadcast_to(left > 0, tf.shape(nth))


def probabilities(counts: np.ndarray, exponent: float) -> np.ndarray:
    """q, proportional to the counts (at least 1) to the power of `exponent`: `[N]` float64."""
    weights = np.maximum(counts, 1).astype(np.float64) ** exponent
    return weights / weights.sum()


class Popularity(Sampler):
    """All items but the target, with probabilities that grow with their number of training targets.

    Args:
      exponent: see `probabilities`.
    """

    def __init__(self, exponent: float):
        self._exponent = exponent

    def draw(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        negatives: int,
        counted: tf.Tensor | None = None,
    ) -> Sample:
        """As `Sampler.draw`."""
        size = model.catalogue.size
        _check(size)
        q = probabilities(model.catalogue.counts, self._exponent)
        # In float64: the steps of float32 near 1 are as large as the q of a rare item.
        ends = np.cumsum(q)
        starts = np.concatenate([[0.0], ends[:-1]])
        start, end = tf.gather(starts, labels)[:, tf.newaxis], tf.gather(ends, labels)[:, tf.newaxis]
        # The target's interval is cut out of [0, 1), and what lies above it moves down.
        point = model.generator.uniform([tf.shape(labels)[0], negatives], dtype=tf.float64) * (
            1.0 - (end - start)
        )
        point += tf.where(point >= start, end - start, tf.zeros([], tf.float64))
        drawn = _rows_at(ends, point, counted is not None)
        small = tf.constant(q, tf.float32)
        positive, negative = _of_drawn(model, states, labels, drawn)
        return Sample(positive, negative, tf.gather(small, labels), tf.gather(small, drawn))


def _rows_at(ends: np.ndarray, points: tf.Tensor, static: bool) -> tf.Tensor:
    """The rows in whose intervals, which end at `ends` `[N]`, points of [0, 1) are: int64 of their shape.

    Args:
      static: whether shapes are, so that XLA may compile it.
    """
    if static:
        found = _search(ends, points)
    else:
        flat = tf.reshape(points, [-1])
        found = tf.searchsorted(tf.constant(ends), flat, side="right", out_type=tf.int64)
        found = tf.reshape(found, tf.shape(points))
    # The last end may be a rounding error below 1.
    return tf.minimum(found, len(ends) - 1)


def _search(ends: np.ndarray, points: tf.Tensor) -> tf.Tensor:
    """How many of the rising `ends` `[N]` are at most each point: int64 of the points' shape.

    As `tf.searchsorted`, for static shapes, which XLA compiles: there that compares each point with
    all N. This halves, with a gather for each binary digit of N.
    """
    digits = int(len(ends)).bit_length()
    padded = tf.constant(np.concatenate([ends, np.full(2**digits - len(ends), np.inf)]))
    found = tf.zeros(tf.shape(points), tf.int64)
    for digit in reversed(range(digits)):
        further = found + 2**digit
        found = tf.where(tf.gather(padded, further - 1) <= points, further, found)
    return found


class _SharedDraw(Sampler):
    """`n` items that are drawn once, the same for all targets of a step: one product for all logits.

    Draws that are the target itself are left out.
    """

    def _sample(
        self, model: Any, states: tf.Tensor, labels: tf.Tensor, drawn: tf.Tensor, q: np.ndarray | None
    ) -> Sample:
        """What was drawn, rows `[n]`, with probabilities `[N]`; None: all have the same."""
        states = _in_float32(states)
        small = None if q is None else tf.constant(q, tf.float32)
        return Sample(
            model.pair_scores(states, labels),
            model.shared_scores(states, drawn),
            None if small is None else tf.gather(small, labels),
            None if small is None else tf.gather(small, drawn)[tf.newaxis, :],
            labels[:, tf.newaxis] != drawn[tf.newaxis, :],
        )


class Shared(_SharedDraw):
    """Items of the catalogue, drawn once for all targets of a step.

    A vector is read once and not for each target, so that many more negatives cost less; in return the
    targets of a step err in the same direction.

    Args:
      exponent: see `probabilities`; None draws uniformly.
    """

    def __init__(self, exponent: float | None = None):
        self._exponent = exponent

    def draw(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        negatives: int,
        counted: tf.Tensor | None = None,
    ) -> Sample:
        """As `Sampler.draw`."""
        size = model.catalogue.size
        _check(size)
        if self._exponent is None:
            drawn = model.generator.uniform([negatives], maxval=size, dtype=tf.int64)
            return self._sample(model, states, labels, drawn, None)
        q = probabilities(model.catalogue.counts, self._exponent)
        point = model.generator.uniform([negatives], dtype=tf.float64)
        return self._sample(model, states, labels, _rows_at(np.cumsum(q), point, counted is not None), q)


class InBatch(_SharedDraw):
    """`n` targets of the same batch, of a replica's own share of it.

    Where all places of windows are targets, an item is one as often as training counts it, and q is its share of the
    counts (Yi et al., RecSys 2019). Models with one target a window are not trained with this correction, see
    `SceneSettings.miscorrected`.

    `tfrs.tasks.Retrieval` is not used: it subtracts log q from the target's logit too, which
    is there in any case and not by chance, so that its negatives weigh q(target) instead of
    1 / n and a rare target learns next to nothing. It also needs T x T logits, where all
    positions of all sequences are targets, and clips q at 1e-6.
    """

    def draw(
        self,
        model: Any,
        states: tf.Tensor,
        labels: tf.Tensor,
        negatives: int,
        counted: tf.Tensor | None = None,
    ) -> Sample:
        """As `Sampler.draw`; targets that are not real are not drawn."""
        _check(model.catalogue.size)
        # One more, for a replica whose share of a small batch is empty.
        rows = tf.concat([labels, tf.zeros([1], labels.dtype)], axis=0)
        if counted is None:
            number = tf.maximum(tf.shape(labels)[0], 1)
            places = model.generator.uniform([negatives], maxval=number, dtype=tf.int32)
        else:
            real = tf.cast(counted, tf.int32)
            order, number = tf.cumsum(real), tf.maximum(tf.reduce_sum(real), 1)
            nth = model.generator.uniform([negatives], maxval=number, dtype=tf.int32) + 1
            places = tf.searchsorted(order, nth, side="left")
        drawn = tf.gather(rows, places)
        return self._sample(model, states, labels, drawn, probabilities(model.catalogue.counts, 1.0))


def build(settings: Any) -> Any:
    """The sampler of a loss's settings; see `loss_settings.NegativeSettings`."""
    if settings.negative_sampling == loss_settings.IN_BATCH:
        return InBatch()
    if settings.negative_sampling == loss_settings.UNMET:
        return Unmet()
    exponent = settings.exponent if settings.negative_sampling == loss_settings.POPULARITY else None
    if settings.shared_negatives:
        return Shared(exponent)
    return Uniform() if exponent is None else Popularity(exponent)
