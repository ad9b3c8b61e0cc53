"""Metrics of users' embeddings for TFMA, from what the `evaluate` signature gives; see `schemas.embeddings`.

What they are of is pairs of users, whose number grows with the square of that of the examples: a slice keeps a sample of
`embeddings.MOST` examples, those with the smallest hashes, which is the same on any number of workers.
"""

import dataclasses
import hashlib
import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import bootstrap, gating, ranks, spec
from schemas import embeddings, names

# Tells the items of a heap apart.
_NUMBERS = itertools.count()


class _Example(NamedTuple):
    """One example: a hash that orders the sample, one of its user, what follows it, and each model's embedding."""

    order: int
    user: int
    following: np.ndarray
    vectors: tuple[np.ndarray, ...]


class _Preprocessor(tfma.metrics.Preprocessor):
    """Takes embeddings, what follows and the user out of an example's extracts."""

    def __init__(self, model_names: Sequence[str]):
        super().__init__(name=f"footfall_embeddings({','.join(model_names)})")
        self._model_names = tuple(model_names)

    def process(self, extracts: dict[str, Any]) -> Iterator[_Example]:
        vectors, following = [], np.zeros(0, np.int64)
        for model_name in self._model_names:
            outputs = extracts[tfma.PREDICTIONS_KEY]
            if len(self._model_names) > 1:
                outputs = outputs[model_name]
            missing = {names.EMBEDDING, names.FOLLOWING} - set(outputs if isinstance(outputs, dict) else ())
            if missing:
                found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
                raise ValueError(
                    f"the evaluate signature must give {' and '.join(sorted(missing))}, found {found}"
                )
            vector = np.asarray(outputs[names.EMBEDDING], np.float64).reshape(-1)
            if not np.isfinite(vector).all():
                raise ValueError("the evaluate signature gave an embedding that is not finite")
            vectors.append(vector)
            following = np.unique(np.asarray(outputs[names.FOLLOWING], np.int64))
        following = following[following != names.NOTHING_FOLLOWS]
        user = bootstrap.user_hash(extracts)
        moment = np.asarray(extracts[tfma.FEATURES_KEY].get(names.MOMENT, ())).reshape(-1).astype(np.int64)
        told = user.to_bytes(8, "little") + moment.tobytes() + following.tobytes()
        order = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little")
        yield _Example(order, user, following, tuple(vectors))


@dataclasses.dataclass
class _Sample:
    """What a slice keeps: the number of its examples, and some of them, as a heap by `-order`."""

    count: int
    kept: list[tuple[int, int, _Example]]


class _Combiner(beam.CombineFn):
    """Keeps a sample of a slice's examples, and measures it at the end."""

    def __init__(self, results: "Results"):
        self._results = results

    def create_accumulator(self) -> _Sample:
        return _Sample(0, [])

    def add_input(self, accumulator: _Sample, element: _Example) -> _Sample:
        _keep(accumulator.kept, element)
        accumulator.count += 1
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sample]) -> _Sample:
        result = self.create_accumulator()
        for part in accumulators:
            result.count += part.count
            for *_, element in part.kept:
                _keep(result.kept, element)
        return result

    def extract_output(self, accumulator: _Sample) -> dict[tfma.metrics.MetricKey, Any]:
        kept = sorted((one[-1] for one in accumulator.kept), key=lambda one: (one.order, one.user))
        return self._results.of(accumulator.count, kept)


def _keep(kept: list[tuple[int, int, _Example]], element: _Example) -> None:
    # Examples with one hash are as good as each other.
    item = (-element.order, next(_NUMBERS), element)
    if len(kept) < embeddings.MOST:
        heapq.heappush(kept, item)
    elif item[0] > kept[0][0]:
        heapq.heapreplace(kept, item)


class Results:
    """What is given of a slice.

    Args:
      model_names: of the models, in the order of an example's embeddings.
      baseline: the one that the others are compared with, or None.
      gate: makes the `gate/` and `slice/` results; None: there are none.
      intervals: whether the agreement has an interval in any case, or only what the gate asks for.
    """

    def __init__(
        self, model_names: Sequence[str], baseline: str | None, gate: gating.Gate | None, intervals: bool
    ):
        self._models, self._gate, self._intervals = tuple(model_names), gate, intervals
        self._baseline = baseline if baseline in model_names else None

    def keys(self) -> list[tfma.metrics.MetricKey]:
        """Keys of everything that `of` gives."""
        return list(self.of(0, []))

    def of(self, count: int, kept: Sequence[_Example]) -> dict[tfma.metrics.MetricKey, Any]:
        """Numbers or, where there is an interval, TFMA's values with one.

        Args:
          count: of the slice's examples.
          kept: those that are measured.
        """
        users = np.array([one.user for one in kept], np.uint64)
        weights = bootstrap.poisson_weights(users) if len(kept) else np.zeros([0, bootstrap.RESAMPLES])
        sizes = weights.sum(axis=0)
        result: dict[tfma.metrics.MetricKey, Any] = {}
        agreement: dict[str, _Means] = {}
        for place, model in enumerate(self._models):
            vectors = np.array([one.vectors[place] for one in kept]).reshape(len(kept), -1 if kept else 0)
            following = [one.following for one in kept]
            found = embeddings.Agreements(vectors, users, following)
            nearest = _Means(found.nearest, found.nearest_means(weights))
            agreement[model] = nearest
            result[ranks.metric_key(ranks.EXAMPLE_COUNT, model)] = float(count)
            self._put(result, embeddings.AGREEMENT, model, _estimate(nearest, sizes))
            for name, measure in (
                (embeddings.EFFECTIVE_RANK, embeddings.effective_rank),
                (embeddings.SPREAD, embeddings.spread),
            ):
                result[ranks.metric_key(name, model)] = measure(vectors)
            if model != self._baseline:
                of_all = _Means(found.of_all, found.of_all_means(weights))
                self._put(
                    result, f"{spec.RANDOM_USER}/{embeddings.AGREEMENT}", model, _estimate(of_all, sizes)
                )
                lift = _estimate(nearest.above(of_all), sizes, True)
                # Where no two users have an item in common, no model can show anything.
                alike = bool((found.of_all > 0).any())
                self._add_lift(result, model, lift, count, alike)
        self._add_changes(result, agreement, sizes, count)
        return result

    def _put(
        self,
        result: dict[Any, Any],
        name: str,
        model: str,
        found: gating.Difference,
        is_diff: bool = False,
        always: bool = False,
    ) -> None:
        told = found.freedom and (self._intervals or always)
        value = tfma.types.ValueWithTDistribution(*found, found.value) if told else found.value
        result[ranks.metric_key(name, model, is_diff)] = value

    def _add_lift(
        self, result: dict[Any, Any], model: str, lift: gating.Difference, count: int, alike: bool
    ) -> None:
        name = ranks.LIFT_PREFIX + embeddings.AGREEMENT
        self._put(result, name, model, lift, always=self._gate is not None)
        if self._gate is not None:
            decides = alike and count >= self._gate.min_examples
            result[ranks.metric_key(gating.GATE_PREFIX + name, model)] = self._gate.lift(lift)
            result[ranks.metric_key(gating.SLICE_PREFIX + name, model)] = self._gate.slice_lift(lift, decides)

    def _add_changes(
        self, result: dict[Any, Any], agreement: dict[str, "_Means"], sizes: np.ndarray, count: int
    ) -> None:
        """The models' differences from the baseline, if there is one."""
        if self._baseline is None:
            return
        for model in self._models:
            if model == self._baseline:
                continue
            for name in (embeddings.EFFECTIVE_RANK, embeddings.SPREAD):
                own, other = (result[ranks.metric_key(name, one)] for one in (model, self._baseline))
                result[ranks.metric_key(name, model, True)] = own - other
            name = embeddings.AGREEMENT
            change = _estimate(agreement[model].above(agreement[self._baseline]), sizes, True)
            self._put(result, name, model, change, True, always=self._gate is not None)
            if self._gate is not None:
                decides = count >= self._gate.min_examples
                result[ranks.metric_key(gating.GATE_PREFIX + name, model, True)] = self._gate.drop(change)
                result[ranks.metric_key(gating.SLICE_PREFIX + name, model, True)] = self._gate.slice_drop(
                    change, decides
                )
                live = float(result[ranks.metric_key(name, self._baseline)])
                result.update(ranks.lost_of(self._gate, self._baseline, live))


class _Means(NamedTuple):
    """Values of the examples, `[N]`, and the mean of each resample, `[R]`; not a number where there is none."""

    values: np.ndarray
    means: np.ndarray

    def above(self, other: "_Means") -> "_Means":
        """The differences from others of the same examples."""
        return _Means(self.values - other.values, self.means - other.means)


def _estimate(found: _Means, sizes: np.ndarray, difference: bool = False) -> gating.Difference:
    """The mean of the values that are numbers, and its standard error over users; see `bootstrap`, `metrics`.

    Args:
      found: of the examples, and of resamples of the users, who are on both sides of a pair.
      sizes: the number of examples in each resample, `[R]`.
      difference: whether they are differences, whose error is that with one user more on either side, whose
        difference is as large as the largest there is.
    """
    values = found.values[np.isfinite(found.values)]
    if not len(values):
        return gating.Difference(np.nan)
    means = found.means[np.isfinite(found.means)]
    if len(means) < 2:
        return gating.Difference(float(values.mean()))
    users = len(values) ** 2 / max(float(np.var(sizes, ddof=1)), 1e-9)
    # Agreements are some hundredths, where the imaginary users of hit rates would hide all.
    imagined = float(np.abs(values).max()) if difference else 0.0
    error = float(np.sqrt(means.var(ddof=1) + 2.0 * (imagined / users) ** 2))
    freedom = int(min(bootstrap.RESAMPLES - 1, max(round(users) - 1, 0)))
    return gating.Difference(float(values.mean()), error, freedom)


def _computations(
    intervals: bool,
    gate_metric: str | None,
    min_slice_examples: int,
    confidence: float | None,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: Sequence[str] = ("",),
) -> list[tfma.metrics.MetricComputation]:
    del name
    baseline = None
    if eval_config is not None:
        baseline = next((found.name for found in eval_config.model_specs if found.is_baseline), None)
    gate = gating.Gate(gate_metric, min_slice_examples, confidence) if gate_metric else None
    results = Results(model_names, baseline, gate, intervals)
    return [
        tfma.metrics.MetricComputation(
            keys=results.keys(), preprocessors=[_Preprocessor(model_names)], combiner=_Combiner(results)
        )
    ]


class EmbeddingMetrics(tfma.metrics.Metric):
    """All metrics of users' embeddings of all models in one computation; see `schemas.embeddings`.

    Results, by name, for each model and slice:
      `neighbor_agreement`, `effective_rank`, `spread`: of the model.
      `example_count`: examples in the slice.
    And of each model but the baseline:
      `random/neighbor_agreement`: what any two users of the slice have in common.
      `lift/neighbor_agreement`: the model's minus that, paired by example.
      With a baseline, the model's metrics minus the baseline's (TFMA's diff keys).
      With `gate_metric`, `gate/lift/neighbor_agreement` and the difference `gate/neighbor_agreement`, and the same with
        `slice/`: see `gating`.

    Made for `MetricConfig(class_name="EmbeddingMetrics", module=<this module>, config=<JSON>)`.

    Args:
      intervals: give 95 % intervals of the agreement by a Poisson bootstrap over users.
      gate_metric: metric for the `gate/` and `slice/` results.
      min_slice_examples: size below which a slice passes the `slice/` thresholds.
      confidence: of the intervals that the gate goes by; None or 0: it goes by the estimates.
      name: unused by the results; TFMA wants one.

    Raises:
      ValueError: for a gate metric that models are not compared by.
    """

    def __init__(
        self,
        intervals: bool = False,
        gate_metric: str | None = None,
        min_slice_examples: int = 1,
        confidence: float | None = None,
        name: str = "embeddings",
    ):
        if gate_metric not in (None, embeddings.AGREEMENT):
            raise ValueError(f"gate_metric must be {embeddings.AGREEMENT}, found {gate_metric}")
        super().__init__(
            _computations,
            intervals=intervals,
            gate_metric=gate_metric,
            min_slice_examples=min_slice_examples,
            confidence=confidence,
            name=name,
        )
