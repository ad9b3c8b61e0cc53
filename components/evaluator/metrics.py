"""Ranking metrics for TFMA, from the ranks that the `evaluate` signature gives; see `ranks`."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import bootstrap, gating, ranks, spec

# Examples that a slice holds before it folds them into sums.
_FOLD_AT = 8192


class _Example(NamedTuple):
    """One example: a 64-bit hash of its user, and what `ranks.Asked` takes of each model's answer."""

    user: int
    answers: tuple[float, ...]


class _AnswersPreprocessor(tfma.metrics.Preprocessor):
    """Takes the ranks and the user out of an example's extracts."""

    def __init__(self, asked: dict[str, ranks.Asked], users: bool):
        super().__init__(name=f"footfall_ranks({asked},{users})")
        self._asked, self._users = asked, users

    def process(self, extracts: dict[str, Any]) -> Iterator[_Example]:
        answers: list[float] = []
        for model_name, asked in self._asked.items():
            outputs = extracts[tfma.PREDICTIONS_KEY]
            if len(self._asked) > 1:
                outputs = outputs[model_name]
            answers.extend(asked.of(outputs))
        yield _Example(bootstrap.user_hash(extracts) if self._users else 0, tuple(answers))


@dataclasses.dataclass
class _Sums:
    """What a slice has seen: exact sums, sums per resample, and examples not yet folded in."""

    count: int
    total: np.ndarray  # [M]
    weight: np.ndarray  # [R], examples in each resample
    weighted: np.ndarray  # [R, M]
    pending: list[_Example]


def _standard_errors(sums: _Sums, differences: np.ndarray) -> tuple[np.ndarray, int]:
    """Standard errors `[M]` of the means, and their degrees of freedom (0: no interval can be given).

    Of differences (`[M]` bool) they are those with one user more on either side for whom all is a hit (as
    Agresti and Caffo, The American Statistician 54, 2000, add them to two proportions): five hits against
    none would else look surer than a sign test finds them.
    """
    taken = sums.weight > 0
    if np.count_nonzero(taken) < 2:
        return np.zeros_like(sums.total), 0
    means = sums.weighted[taken] / sums.weight[taken, None]
    # The variance of a resample's size is the sum of squares of the users' numbers of examples:
    # Kish's effective number of users follows from it without counting users.
    users = sums.count**2 / max(float(np.var(sums.weight, ddof=1)), 1e-9)
    errors = np.sqrt(means.var(axis=0, ddof=1) + 2.0 * differences / users**2)
    return errors, int(min(bootstrap.RESAMPLES - 1, max(round(users) - 1, 0)))


class _RankingCombiner(beam.CombineFn):
    """Means of all metrics over a slice, with standard errors by `bootstrap`.

    It works on thousands of examples at once.
    """

    def __init__(self, columns: ranks.Columns, resampled: bool):
        self._columns = columns
        self._resamples = bootstrap.RESAMPLES if resampled else 0

    def create_accumulator(self) -> _Sums:
        size = self._columns.size
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

    def extract_output(self, accumulator: _Sums) -> dict[tfma.metrics.MetricKey, Any]:
        sums = self._fold(accumulator)
        errors, freedom = np.full(self._columns.size, np.nan), 0
        if self._resamples:
            errors, freedom = _standard_errors(sums, self._columns.differences)
        return self._columns.results(sums.count, sums.total / max(sums.count, 1), errors, freedom)

    def _fold(self, accumulator: _Sums) -> _Sums:
        if not accumulator.pending:
            return accumulator
        values = self._columns.values(np.array([example.answers for example in accumulator.pending]))
        accumulator.count += len(values)
        accumulator.total += values.sum(axis=0)
        if self._resamples:
            weights = bootstrap.poisson_weights(
                np.array([example.user for example in accumulator.pending], np.uint64)
            )
            accumulator.weight += weights.sum(axis=0)
            accumulator.weighted += weights.T @ values
        accumulator.pending = []
        return accumulator


def _computations(
    cutoffs: Sequence[int],
    intervals: bool,
    gate_metric: str | None,
    min_slice_examples: int,
    sampled_negatives: int | None,
    floors: Sequence[str],
    confidence: float | None,
    period: bool,
    scenes: bool,
    candidates_within: float | None,
    candidates_of: str | None,
    name: str,
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: Sequence[str] = ("",),
) -> list[tfma.metrics.MetricComputation]:
    del name, candidates_of
    baseline = None
    if eval_config is not None:
        baseline = next((spec.name for spec in eval_config.model_specs if spec.is_baseline), None)
    gate = gating.Gate(gate_metric, min_slice_examples, confidence) if gate_metric else None
    columns = ranks.Columns(
        model_names,
        baseline,
        cutoffs,
        floors,
        gate,
        sampled_negatives,
        intervals,
        period,
        scenes,
        candidates_within is not None,
    )
    resampled = intervals or bool(gate and confidence)
    return [
        tfma.metrics.MetricComputation(
            keys=columns.all_keys(),
            preprocessors=[_AnswersPreprocessor(columns.asked, resampled)],
            combiner=_RankingCombiner(columns, resampled),
        )
    ]


class RankingMetrics(tfma.metrics.Metric):
    """All ranking metrics of all models, in one computation.

    Results, by name, for each model and slice:
      `hr@10`, `ndcg@10`, `mrr`: of the model.
      With `sampled_negatives`, `sampled99_hr@10` and so on, and all that follows of these, too.
      With `period`, `period_recall@10` and so on, and with `scenes`, `scene_hr@10` and so on, as well.
      `example_count`: examples in the slice.
    And of each model but the baseline:
      `popularity/ndcg@10`: of each floor's ranking, on the same examples; see `spec.floors`.
      `lift/ndcg@10`: the model's minus that of the floor that has most of the metric in the slice, paired by
        example.
      `unreachable/catalogue`, `unreachable/seen`: shares of targets that cannot be recommended, as they are not
        in the catalogue, or left out as seen. With `candidates_within` also `unreachable/candidates`, as they are
        no candidates, and `candidates/share` and `candidates/size`: which share of targets is among the
        candidates (also such that are left out as seen), and how many these are.
      With a baseline, the model's metrics minus the baseline's (TFMA's diff keys).
      With `gate_metric`, `gate/lift/ndcg@10` and the difference `gate/ndcg@10`, and the same with `slice/`: see
        `gating`. A model without any hit has no `gate/lift/ndcg@10`: it is not a number.

    Made for `MetricConfig(class_name="RankingMetrics", module=<this module>, config=<JSON>)`.
    Thresholds go into `MetricsSpec.per_slice_thresholds` by the names above.

    Args:
      cutoffs: K of HR@K and NDCG@K.
      intervals: give 95 % intervals by a Poisson bootstrap over users (none for a slice of
        one user). For TFMA's own
        methods (`Options.confidence_intervals`), which resample examples, leave it False, and `confidence`
        None.
      gate_metric: metric for the `gate/` and `slice/` results.
      min_slice_examples: size below which a slice passes the `slice/` thresholds.
      sampled_negatives: give the metrics of a ranking among so many negatives as well.
      floors: of `spec.FLOOR_RANKS`, those that the signature has the ranks of.
      confidence: of the intervals that the gate goes by; None or 0: it goes by the estimates.
      period: whether the signature has the ranks of all items of a period; see `spec.period_metrics`.
      scenes: whether it has those of the next scene; see `spec.scene_metrics`. Of a baseline that has none, these are not
        a number.
      candidates_within: how many seconds before its moment an item was seen that is a candidate of an example; None:
        the ranks of the signature are in the whole catalogue.
      candidates_of: where the candidates are, which is for `loading`.
      name: unused by the results; TFMA wants one.

    Raises:
      ValueError: for no cutoff, a cutoff or a number of negatives below 1, or a gate metric
        that is not one of the whole catalogue; for negatives and candidates together.
    """

    def __init__(
        self,
        cutoffs: Sequence[int],
        intervals: bool = False,
        gate_metric: str | None = None,
        min_slice_examples: int = 1,
        sampled_negatives: int | None = None,
        floors: Sequence[str] = (spec.POPULARITY,),
        confidence: float | None = None,
        period: bool = False,
        scenes: bool = False,
        candidates_within: float | None = None,
        candidates_of: str | None = None,
        name: str = "ranking",
    ):
        if not cutoffs or min(cutoffs) < 1:
            raise ValueError(f"cutoffs must be positive, found {list(cutoffs)}")
        gated = (
            *spec.ranking_metrics(cutoffs),
            *(spec.period_metrics(cutoffs) if period else ()),
            *(spec.scene_metrics(cutoffs) if scenes else ()),
        )
        if gate_metric is not None and gate_metric not in gated:
            raise ValueError(f"gate_metric must be one of {gated}, found {gate_metric}")
        if sampled_negatives is not None and sampled_negatives < 1:
            raise ValueError(f"sampled_negatives must be positive, found {sampled_negatives}")
        if sampled_negatives is not None and candidates_within is not None:
            raise ValueError(
                "sampled_negatives are of the whole catalogue: leave them out with candidates_within"
            )
        unknown = set(floors) - set(spec.FLOOR_RANKS)
        if unknown:
            raise ValueError(
                f"floors are of {', '.join(spec.FLOOR_RANKS)}, found {', '.join(sorted(unknown))}"
            )
        super().__init__(
            _computations,
            cutoffs=sorted(set(cutoffs)),
            intervals=intervals,
            gate_metric=gate_metric,
            min_slice_examples=min_slice_examples,
            sampled_negatives=sampled_negatives,
            floors=list(floors),
            confidence=confidence,
            period=period,
            scenes=scenes,
            candidates_within=candidates_within,
            candidates_of=candidates_of,
            name=name,
        )
