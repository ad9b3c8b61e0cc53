"""Ranking metrics for TFMA, from the ranks that the `evaluate` signature gives.

A rank is all that a ranking metric of a single relevant item needs, so the report's memory
does not grow with the catalogue. With rank r, 1 being best:

  HR@K = [r <= K]        NDCG@K = [r <= K] / log2(1 + r)        MRR = 1 / r

(Jarvelin and Kekalainen, TOIS 2002, with one relevant item: the ideal DCG is 1.) With the
number of candidates as well, the same metrics are given of a sampled ranking: see `sampled`.
"""

import dataclasses
import hashlib
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import sampled
from schemas import names

# Of what is only for comparison with papers; the number of negatives follows.
SAMPLED_PREFIX = "sampled"
POPULARITY_PREFIX = "popularity/"
LIFT_PREFIX = "lift/"
GATE_PREFIX = "gate/"
EXAMPLE_COUNT = "example_count"
MRR = "mrr"

# Output of `evaluate` that is read where the signature has it: a rank beyond it is a target
# that the model cannot recommend, a miss even if the catalogue has fewer than K items.
_CATALOGUE_SIZE = "catalogue_size"

# Resamples of the bootstrap. The standard error has a relative error of 1 / sqrt(2 * 200) = 5 %.
_RESAMPLES = 200
# Examples that a slice holds before it folds them into sums.
_FOLD_AT = 8192


def metric_names(cutoffs: Iterable[int], sampled_negatives: Optional[int] = None) -> Tuple[str, ...]:
    """Names of the base metrics: `hr@K` and `ndcg@K` for each cutoff, and `mrr`.

    With `sampled_negatives`, 99 say, the same follow as `sampled99_hr@K` and so on.
    """
    cutoffs = tuple(cutoffs)
    full = (*(f"hr@{k}" for k in cutoffs), *(f"ndcg@{k}" for k in cutoffs), MRR)
    if sampled_negatives is None:
        return full
    return (*full, *(f"{SAMPLED_PREFIX}{sampled_negatives}_{name}" for name in full))


def metric_values(
    ranks: np.ndarray,
    cutoffs: Sequence[int],
    sampled_negatives: Optional[int] = None,
    candidates: Optional[np.ndarray] = None,
) -> np.ndarray:
    """The base metrics of each example.

    Args:
      ranks: `[B]`, 1 is best; infinity is a miss at any cutoff.
      cutoffs: the K's.
      sampled_negatives: give the sampled metrics, too.
      candidates: `[B]`, what is ranked in each example, the target included; for the sampled
        metrics only.

    Returns:
      float64 `[B, M]`, columns as in `metric_names`.

    Raises:
      ValueError: if sampled metrics are wanted and `candidates` is missing.
    """
    full = _full_values(ranks, cutoffs)
    if sampled_negatives is None:
        return full
    if candidates is None:
        raise ValueError(f"metrics among {sampled_negatives} negatives need the number of candidates")
    drawn = sampled.expected_values(ranks, candidates, sampled_negatives, lambda r: _full_values(r, cutoffs))
    return np.concatenate([full, drawn], axis=1)


def _full_values(ranks: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    ranks = np.asarray(ranks, np.float64)
    within = ranks[:, None] <= np.asarray(cutoffs, np.float64)[None, :]
    gain = 1.0 / np.log2(1.0 + ranks)
    return np.concatenate([within, within * gain[:, None], 1.0 / ranks[:, None]], axis=1)


class _Example(NamedTuple):
    """One example: a 64-bit hash of its user, and what `_ranks` gives of each model."""

    user: int
    ranks: Tuple[float, ...]


class _RanksPreprocessor(tfma.metrics.Preprocessor):
    """Takes the ranks and the user out of an example's extracts."""

    def __init__(self, model_names: Sequence[str], intervals: bool, candidates: bool):
        super().__init__(name=f"footfall_ranks({','.join(model_names)},{intervals},{candidates})")
        self._model_names = tuple(model_names)
        self._intervals = intervals
        self._candidates = candidates

    def process(self, extracts: Dict[str, Any]) -> Iterator[_Example]:
        ranks: List[float] = []
        for model_name in self._model_names:
            outputs = extracts[tfma.PREDICTIONS_KEY]
            if len(self._model_names) > 1:
                outputs = outputs[model_name]
            ranks.extend(_ranks(outputs, self._candidates))
        yield _Example(self._user(extracts) if self._intervals else 0, tuple(ranks))

    def _user(self, extracts: Dict[str, Any]) -> int:
        value = np.asarray(extracts[tfma.FEATURES_KEY].get(names.USER_ID, ())).reshape(-1)
        if value.size != 1:
            raise ValueError(f"intervals need one {names.USER_ID} per example, found {value.size}")
        data = value[0] if isinstance(value[0], bytes) else str(value[0]).encode()
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _ranks(outputs: Any, candidates: bool) -> List[float]:
    """Rank, popularity rank and (if asked) the number of candidates of one example.

    Ranks are infinite for a target outside the catalogue.
    """
    wanted = (names.RANK, names.POPULARITY_RANK, *((names.CANDIDATES,) if candidates else ()))
    missing = [key for key in wanted if not _has(outputs, key)]
    if missing:
        found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        why = " (evaluation.sampled_negatives needs it)" if missing == [names.CANDIDATES] else ""
        raise ValueError(f"the evaluate signature must give {' and '.join(missing)}{why}, found {found}")
    limit = np.asarray(outputs[_CATALOGUE_SIZE]).item() if _has(outputs, _CATALOGUE_SIZE) else np.inf
    values = []
    for key in (names.RANK, names.POPULARITY_RANK):
        rank = np.asarray(outputs[key]).item()
        if rank < 1:
            raise ValueError(f"ranks start at 1, the evaluate signature gave {key} {rank}")
        values.append(float(rank) if rank <= limit else np.inf)
    if candidates:
        values.append(float(np.asarray(outputs[names.CANDIDATES]).item()))
    return values


def _has(outputs: Any, key: str) -> bool:
    return isinstance(outputs, dict) and key in outputs


@dataclasses.dataclass(frozen=True)
class _Gate:
    """A metric as the gate sees it: a slice with fewer examples than `min_examples` passes."""

    metric: str
    min_examples: int


class _Columns:
    """Which metrics are computed, of which model, and how they come out of the ranks.

    The values of an example are, for each model in turn, [metrics, popularity's metrics, lift],
    then for each model but the baseline [metrics minus the baseline's].
    """

    def __init__(
        self,
        model_names: Sequence[str],
        baseline: Optional[str],
        cutoffs: Sequence[int],
        gate: Optional[_Gate],
        sampled_negatives: Optional[int],
    ):
        self._model_names = tuple(model_names)
        self._baseline = baseline if baseline in self._model_names else None
        self._cutoffs = tuple(cutoffs)
        self._gate = gate
        self._sampled = sampled_negatives
        base = metric_names(self._cutoffs, self._sampled)
        own = (*base, *(POPULARITY_PREFIX + name for name in base), *(LIFT_PREFIX + name for name in base))
        self.keys = [_key(name, model) for model in self._model_names for name in own]
        if self._baseline is not None:
            self.keys += [_key(name, model, True) for model in self._compared() for name in own]

    def _compared(self) -> Tuple[str, ...]:
        return tuple(model for model in self._model_names if model != self._baseline)

    def all_keys(self) -> List[tfma.metrics.MetricKey]:
        """Keys of everything that `results` gives."""
        keys = self.keys + [_key(EXAMPLE_COUNT, model) for model in self._model_names]
        if self._gate:
            keys += [_key(GATE_PREFIX + LIFT_PREFIX + self._gate.metric, model) for model in self._compared()]
            if self._baseline is not None:
                keys += [_key(GATE_PREFIX + self._gate.metric, model, True) for model in self._compared()]
        return keys

    def values(self, ranks: np.ndarray) -> np.ndarray:
        """Values of each example: what `_ranks` gives of each model, side by side, to `[B, M]`, as `keys`."""
        by_model = {}
        for model, part in zip(self._model_names, np.split(ranks, len(self._model_names), axis=1)):
            candidates = None if self._sampled is None else part[:, 2]
            own, popularity = (
                metric_values(part[:, column], self._cutoffs, self._sampled, candidates) for column in (0, 1)
            )
            by_model[model] = np.concatenate([own, popularity, own - popularity], axis=1)
        columns = list(by_model.values())
        if self._baseline is not None:
            columns += [by_model[model] - by_model[self._baseline] for model in self._compared()]
        return np.concatenate(columns, axis=1)

    def results(self, sums: "_Sums") -> Dict[tfma.metrics.MetricKey, Any]:
        """Means over the slice, as numbers or (with resamples) as TFMA's values with an interval."""
        means = sums.total / max(sums.count, 1)
        result: Dict[tfma.metrics.MetricKey, Any] = dict(zip(self.keys, means.tolist()))
        if self._gate:
            decides = sums.count >= self._gate.min_examples
            for model in self._compared():
                lift = LIFT_PREFIX + self._gate.metric
                result[_key(GATE_PREFIX + lift, model)] = result[_key(lift, model)] if decides else np.inf
                if self._baseline is not None:
                    drop = result[_key(self._gate.metric, model, True)]
                    result[_key(GATE_PREFIX + self._gate.metric, model, True)] = drop if decides else 0.0
        if len(sums.weight):
            errors, freedom = _standard_errors(sums)
            if freedom:
                for key, mean, error in zip(self.keys, means.tolist(), errors.tolist()):
                    result[key] = tfma.types.ValueWithTDistribution(mean, error, freedom, mean)
        for model in self._model_names:
            result[_key(EXAMPLE_COUNT, model)] = float(sums.count)
        return result


def _key(name: str, model_name: str, is_diff: bool = False) -> tfma.metrics.MetricKey:
    # Without a mark of weighting, as the keys that MetricsSpec.thresholds looks for.
    return tfma.metrics.MetricKey(name, model_name=model_name, example_weighted=None, is_diff=is_diff)


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al., OOPSLA 2014) on uint64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_STREAMS = np.arange(1, _RESAMPLES + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
# P(X <= x) for x = 0..10 of a Poisson variable with mean 1, as 32-bit fractions.
_POISSON_STEPS = np.floor(
    np.exp(-1.0) * np.cumsum(1.0 / np.concatenate([[1.0], np.cumprod(np.arange(1.0, 11.0))])) * 2.0**32
).astype(np.uint32)


def _poisson_weights(users: np.ndarray) -> np.ndarray:
    """How often each resample takes each user: Poisson(1), a function of the user's hash alone.

    Args:
      users: uint64 `[B]`.

    Returns:
      float64 `[B, _RESAMPLES]`.
    """
    uniform = (_mix(users[:, None] + _STREAMS[None, :]) >> np.uint64(32)).astype(np.uint32)
    return np.searchsorted(_POISSON_STEPS, uniform, side="right").astype(np.float64)


@dataclasses.dataclass
class _Sums:
    """What a slice has seen: exact sums, sums per resample, and examples not yet folded in."""

    count: int
    total: np.ndarray  # [M]
    weight: np.ndarray  # [R], examples in each resample
    weighted: np.ndarray  # [R, M]
    pending: List[_Example]


def _standard_errors(sums: _Sums) -> Tuple[np.ndarray, int]:
    """Standard errors `[M]` of the means, and their degrees of freedom (0: no interval can be given)."""
    taken = sums.weight > 0
    if np.count_nonzero(taken) < 2:
        return np.zeros_like(sums.total), 0
    means = sums.weighted[taken] / sums.weight[taken, None]
    # The variance of a resample's size is the sum of squares of the users' numbers of examples:
    # Kish's effective number of users follows from it without counting users.
    users = sums.count**2 / max(float(np.var(sums.weight, ddof=1)), 1e-9)
    return means.std(axis=0, ddof=1), int(min(_RESAMPLES - 1, max(round(users) - 1, 0)))


class _RankingCombiner(beam.CombineFn):
    """Means of all metrics over a slice, with standard errors by a Poisson bootstrap over users.

    The events of one user are not independent, so users are resampled, not examples; with one
    example per user the two are the same. A user's weight in a resample comes from a hash of
    the user, so workers need not meet, models are compared on the same resamples, and two runs
    give equal intervals. TFMA's own bootstrap calls Python for each example in each resample;
    this one works on thousands of examples at once.
    """

    def __init__(self, columns: _Columns, intervals: bool):
        self._columns = columns
        self._resamples = _RESAMPLES if intervals else 0

    def create_accumulator(self) -> _Sums:
        size = len(self._columns.keys)
        return _Sums(0, np.zeros(size), np.zeros(self._resamples), np.zeros((self._resamples, size)), [])

    def add_input(self, accumulator: _Sums, element: _Example) -> _Sums:
        accumulator.pending.append(element)
        return self._fold(accumulator) if len(accumulator.pending) >= _FOLD_AT else accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        result = self.create_accumulator()
        for accumulator in accumulators:
            result.count += accumulator.count
            result.total += accumulator.total
            result.weight += accumulator.weight
            result.weighted += accumulator.weighted
            result.pending.extend(accumulator.pending)
            if len(result.pending) >= _FOLD_AT:
                self._fold(result)
        return result

    def compact(self, accumulator: _Sums) -> _Sums:
        return self._fold(accumulator)

    def extract_output(self, accumulator: _Sums) -> Dict[tfma.metrics.MetricKey, Any]:
        return self._columns.results(self._fold(accumulator))

    def _fold(self, accumulator: _Sums) -> _Sums:
        if not accumulator.pending:
            return accumulator
        values = self._columns.values(np.array([example.ranks for example in accumulator.pending]))
        accumulator.count += len(values)
        accumulator.total += values.sum(axis=0)
        if self._resamples:
            weights = _poisson_weights(np.array([example.user for example in accumulator.pending], np.uint64))
            accumulator.weight += weights.sum(axis=0)
            accumulator.weighted += weights.T @ values
        accumulator.pending = []
        return accumulator


def _computations(
    cutoffs: Sequence[int],
    intervals: bool,
    gate_metric: Optional[str],
    min_slice_examples: int,
    sampled_negatives: Optional[int],
    name: str,
    eval_config: Optional[config_pb2.EvalConfig] = None,
    model_names: Sequence[str] = ("",),
) -> List[tfma.metrics.MetricComputation]:
    del name
    baseline = None
    if eval_config is not None:
        baseline = next((spec.name for spec in eval_config.model_specs if spec.is_baseline), None)
    gate = _Gate(gate_metric, min_slice_examples) if gate_metric else None
    columns = _Columns(model_names, baseline, cutoffs, gate, sampled_negatives)
    return [
        tfma.metrics.MetricComputation(
            keys=columns.all_keys(),
            preprocessors=[_RanksPreprocessor(model_names, intervals, sampled_negatives is not None)],
            combiner=_RankingCombiner(columns, intervals),
        )
    ]


class RankingMetrics(tfma.metrics.Metric):
    """All ranking metrics of all models, in one computation.

    Results, by name, for each model and slice:
      `hr@10`, `ndcg@10`, `mrr`: of the model.
      With `sampled_negatives`, `sampled99_hr@10` and so on, and all that follows of these, too.
      `popularity/ndcg@10`: of the popularity ranking, on the same examples.
      `lift/ndcg@10`: the model's minus popularity's, paired by example.
      `example_count`: examples in the slice.
      With a baseline, differences candidate minus baseline of all of these (TFMA's diff keys).
      With `gate_metric`, `gate/lift/ndcg@10` and the difference `gate/ndcg@10`: the lift, and the
      change against the baseline, where the slice has enough examples to decide; where it has
      not, values that pass any threshold (infinity, and 0).

    Made for `MetricConfig(class_name="RankingMetrics", module=<this module>, config=<JSON>)`.
    Thresholds go into `MetricsSpec.per_slice_thresholds` by the names above.

    Args:
      cutoffs: K of HR@K and NDCG@K.
      intervals: give 95 % intervals by a Poisson bootstrap over users (none for a slice of
        one user). For TFMA's own
        methods (`Options.confidence_intervals`), which resample examples, leave it False.
      gate_metric: metric for the `gate/` results.
      min_slice_examples: size below which a slice passes the `gate/` thresholds.
      sampled_negatives: give the metrics of a ranking among so many negatives as well.
      name: unused by the results; TFMA wants one.

    Raises:
      ValueError: for no cutoff, a cutoff or a number of negatives below 1, or a gate metric
        that is not one of the whole catalogue.
    """

    def __init__(
        self,
        cutoffs: Sequence[int],
        intervals: bool = False,
        gate_metric: Optional[str] = None,
        min_slice_examples: int = 1,
        sampled_negatives: Optional[int] = None,
        name: str = "ranking",
    ):
        if not cutoffs or min(cutoffs) < 1:
            raise ValueError(f"cutoffs must be positive, found {list(cutoffs)}")
        if gate_metric is not None and gate_metric not in metric_names(cutoffs):
            raise ValueError(f"gate_metric must be one of {metric_names(cutoffs)}, found {gate_metric}")
        if sampled_negatives is not None and sampled_negatives < 1:
            raise ValueError(f"sampled_negatives must be positive, found {sampled_negatives}")
        super().__init__(
            _computations,
            cutoffs=sorted(set(cutoffs)),
            intervals=intervals,
            gate_metric=gate_metric,
            min_slice_examples=min_slice_examples,
            sampled_negatives=sampled_negatives,
            name=name,
        )
