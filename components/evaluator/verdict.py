"""What the Evaluator decided, in plain words."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import eval_config_writer
from tfx.components.evaluator import constants

from components.evaluator import config, objectives, ranks, sentences, slice_results
from components.evaluator.objectives import objective as objective_lib
from components.evaluator.slice_results import OVERALL, Slice, SliceResult

# Of an evaluation that does not tell.
_FORMER_OBJECTIVE = "ranking"
_PASSED, _FAILED, _UNDECIDED = "passed", "failed", "undecided"


@dataclasses.dataclass(frozen=True)
class Condition:
    """One condition of the gate on one slice.

    Attributes:
      slice: as in `SliceResult`.
      outcome: `passed`, `failed`, or `undecided` where the slice has too few examples, or no value.
      sentence: what was found and what was asked.
    """

    slice: Slice
    outcome: str
    sentence: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The gate's decision.

    Attributes:
      blessed: what the blessing artifact says; None where there is none.
      conditions: every condition of the gate, the failed ones first, the whole split before slices.
      slices: results by slice, the whole split first.
      has_baseline: whether a blessed model was there to compare with.
      objective: of the models.
      steps: the labels, where these are learnt.
      chain: whether they are steps of a chain, in their order.
      notes: what a reader should know before believing the decision, in sentences.
      candidates: what is ranked, in a sentence, where that is not the whole catalogue.
    """

    blessed: bool | None
    conditions: tuple[Condition, ...]
    slices: tuple[SliceResult, ...]
    has_baseline: bool
    objective: str = _FORMER_OBJECTIVE
    steps: tuple[str, ...] = ()
    chain: bool = True
    notes: tuple[str, ...] = ()
    candidates: str | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that explain the decision: the failed conditions, or the passed ones if none failed."""
        wanted = _PASSED if self.blessed else _FAILED
        return tuple(condition.sentence for condition in self.conditions if condition.outcome == wanted)

    @property
    def overall(self) -> SliceResult | None:
        """Results on the whole split; None where it had no examples."""
        return next((result for result in self.slices if result.slice == OVERALL), None)


def read(evaluation_uri: str, blessing_uri: str | None = None) -> Verdict:
    """Reads the artifacts of the Evaluator.

    Args:
      evaluation_uri: of the ModelEvaluation artifact, on any file system of `tf.io.gfile`.
      blessing_uri: of the ModelBlessing artifact.

    Raises:
      FileNotFoundError: if there is no evaluation at `evaluation_uri`.
    """
    eval_config = eval_config_writer.load_eval_run(evaluation_uri)[0]
    if eval_config is None:
        raise FileNotFoundError(f"no evaluation at {evaluation_uri}")
    validation = tfma.load_validation_result(evaluation_uri)
    slices = slice_results.read(evaluation_uri)
    has_baseline = any(spec.is_baseline for spec in eval_config.model_specs)
    conditions = _conditions(eval_config, slices, _failures(validation))
    if not slices:
        conditions.append(Condition(OVERALL, _FAILED, "the test split has no examples"))
    else:
        conditions.extend(
            Condition(OVERALL, _FAILED, f"no test example has {', '.join(missing.feature_keys)}")
            for missing in validation.missing_slices
        )
    order = (_FAILED, _PASSED, _UNDECIDED)
    whole = next((result for result in slices if result.slice == OVERALL), None)
    learnt, settings = _metric(eval_config)
    return Verdict(
        blessed=_blessed(blessing_uri),
        conditions=tuple(sorted(conditions, key=lambda c: (order.index(c.outcome), len(c.slice)))),
        slices=tuple(slices),
        has_baseline=has_baseline,
        objective=learnt.name if learnt else _FORMER_OBJECTIVE,
        steps=tuple(settings.get("steps", ())),
        chain=settings.get("chain", True),
        notes=_notes(whole) if whole else (),
        candidates=_candidates(settings, whole) if whole else None,
    )


def _blessed(blessing_uri: str | None) -> bool | None:
    if blessing_uri is None:
        return None
    for name, value in ((constants.BLESSED_FILE_NAME, True), (constants.NOT_BLESSED_FILE_NAME, False)):
        if tf.io.gfile.exists(os.path.join(blessing_uri, name)):
            return value
    return None


def _failures(validation) -> dict[tuple[Slice, str, bool], float]:
    """Failed metrics, by slice, name and whether it is the change that failed."""
    failures = {}
    for message in validation.metric_validations_per_slice:
        for failure in message.failures:
            key = (
                slice_results.slice_of(message.slice_key),
                failure.metric_key.name,
                failure.metric_key.is_diff,
            )
            failures[key] = failure.metric_value.double_value.value
    return failures


def _conditions(
    eval_config: config_pb2.EvalConfig,
    slices: Sequence[SliceResult],
    failures: Mapping[tuple[Slice, str, bool], float],
) -> list[Condition]:
    conditions = []
    # Evaluations of before have no confidence: they were judged by estimates.
    _, settings = _metric(eval_config)
    for metrics_spec in eval_config.metrics_specs:
        for name, thresholds in sorted(metrics_spec.per_slice_thresholds.items()):
            for item in thresholds.thresholds:
                asked = sentences.Asked(
                    name,
                    item.threshold,
                    settings.get("confidence"),
                    settings.get("min_slice_examples", 1),
                    settings.get("min_positives", 0),
                )
                if not asked.is_change and not item.threshold.HasField("value_threshold"):
                    continue  # TFX cleared it, there being no baseline
                if name == ranks.EXAMPLE_COUNT and asked.least <= 0:
                    continue
                for result in slices:
                    if any(_matches(wanted, result.slice) for wanted in item.slicing_specs):
                        failed = (result.slice, name, asked.is_change) in failures
                        conditions.append(_condition(asked, result, failed))
    return conditions


def _condition(asked: sentences.Asked, result: SliceResult, failed: bool) -> Condition:
    outcome = _FAILED if failed else _PASSED
    if asked.name == ranks.EXAMPLE_COUNT:
        return Condition(result.slice, outcome, sentences.of_count(round(asked.least), result.examples))
    if sentences.is_count(asked.name):
        step = asked.name.partition("/")[2]
        sentence = sentences.of_labels(step, round(asked.least), result.labels[step])
        return Condition(result.slice, outcome, sentence)
    if result.slice and not failed and not asked.decides(result):
        outcome = _UNDECIDED
    return Condition(result.slice, outcome, sentences.of_condition(asked, result, outcome))


def _notes(whole: SliceResult) -> tuple[str, ...]:
    unreachable = sentences.unreachable(whole)
    large = sum(whole.unreachable.values()) >= sentences.LARGE_SHARE
    return (unreachable,) if unreachable and large else ()


def _candidates(settings: Mapping[str, Any], whole: SliceResult) -> str | None:
    within = settings.get(config.CANDIDATES_WITHIN)
    return None if within is None else sentences.candidates(within, whole)


def _metric(eval_config: config_pb2.EvalConfig) -> tuple[objective_lib.Objective | None, dict[str, Any]]:
    """The objective whose metrics were computed, and what these were made with."""
    for metrics_spec in eval_config.metrics_specs:
        for metric in metrics_spec.metrics:
            found = objectives.of_metrics(metric.module, metric.class_name)
            if found is not None:
                return found, json.loads(metric.config)
    return None, {}


def _matches(wanted: config_pb2.SlicingSpec, value: Slice) -> bool:
    return tuple(wanted.feature_keys) == tuple(feature for feature, _ in value)
