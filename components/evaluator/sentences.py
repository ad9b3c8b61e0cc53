"""The gate's conditions in plain words: what was found, how sure that is, and what was asked."""

import dataclasses
import math

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import conversion, conversion_results, gating, ranks, slice_results, spec
from schemas import figures

# From this share on, targets that cannot be recommended are named beside the verdict.
LARGE_SHARE = 0.1
# A lift of so little is asked where it must only be above.
_ABOVE = 1e-8
_MAY_BE_CHANCE = ", which may be chance"
_FEW_USERS = ", of too few users{} to tell it from chance"


@dataclasses.dataclass(frozen=True)
class Asked:
    """One condition, as it was set.

    Attributes:
      name: of TFMA's metric, as `gate/lift/ndcg@10`.
      threshold: of TFMA.
      confidence: of the gate's intervals; None: it went by the estimates.
      min_examples: of a slice that decides.
      min_positives: of a step of exposures on a slice that decides, and as many negatives.
    """

    name: str
    threshold: config_pb2.MetricThreshold
    confidence: float | None = None
    min_examples: int = 1
    min_positives: int = 0

    @property
    def is_change(self) -> bool:
        """Whether it is on the change from the live model."""
        return self.threshold.HasField("change_threshold")

    @property
    def _unprefixed(self) -> str:
        return self.name.removeprefix(gating.GATE_PREFIX).removeprefix(gating.SLICE_PREFIX)

    @property
    def is_lift(self) -> bool:
        """Whether it is on the lift over a floor."""
        return self._unprefixed.startswith(ranks.LIFT_PREFIX)

    @property
    def metric(self) -> str:
        """The metric that it is on."""
        return self._unprefixed.removeprefix(ranks.LIFT_PREFIX)

    @property
    def least(self) -> float:
        """The lowest allowed value or lift."""
        return self.threshold.value_threshold.lower_bound.value

    def found(self, result: slice_results.SliceResult) -> slice_results.Estimate:
        """What it looks at."""
        if self.is_change:
            return result.change[self.metric]
        return (result.lift if self.is_lift else result.candidate)[self.metric]

    def bounds(self, result: slice_results.SliceResult) -> tuple[float, float] | None:
        """Of the interval that the gate went by; None where it went by the estimate."""
        return self.found(result).bounds(self.confidence) if self.confidence else None

    def lacks_interval(self, result: slice_results.SliceResult) -> bool:
        """Whether the gate went by intervals, and there was none."""
        return bool(self.confidence) and self.bounds(result) is None

    def scarce(self, result: slice_results.SliceResult) -> str | None:
        """The step of which a slice has too few labels of one kind to decide, if any."""
        step = self.metric.partition("/")[2]
        for other, labels in result.labels.items():
            if step in ("", other) and labels.rarer < self.min_positives:
                return other
        return None

    def decides(self, result: slice_results.SliceResult) -> bool:
        """Whether a slice has what it takes."""
        if result.examples < self.min_examples or math.isnan(self.found(result).value):
            return False
        if self.scarce(result):
            return False
        if not (self.is_lift or self.is_change):
            return True
        if self.lacks_interval(result):
            return False
        if not self.is_lift:
            return True
        bounds = self.bounds(result)
        return not self.without_hits(result) and not (bounds and bounds[0] < self.least <= bounds[1])

    def without_hits(self, result: slice_results.SliceResult) -> bool:
        """Whether neither the model nor the best floor has any: there is nothing to compare."""
        floor = result.best_floor(self.metric)
        if floor is None:
            return False
        return not result.candidate[self.metric].value and not result.floors[floor][self.metric].value


def of_count(asked: int, examples: int) -> str:
    """Of the number of test examples."""
    few = " are too few to decide" if examples < asked else ""
    return f"{_examples(examples, 'test example')}{few} (asked: at least {asked:,})"


def of_labels(step: str, asked: int, labels: slice_results.Labels) -> str:
    """Of the labels of a step of exposures."""
    few = ": too few to decide" if labels.rarer < asked else ""
    return (
        f"{labels.positive:,} of the {labels.known:,} known labels of {step} are positive{few} (asked: at least "
        f"{asked:,} positive and {asked:,} negative ones)"
    )


def of_condition(asked: Asked, result: slice_results.SliceResult, outcome: str) -> str:
    """Of a condition on a metric, its lift or its change on one slice; see `verdict.Condition`."""
    where = f" for {slice_name(result.slice)}" if result.slice else ""
    metric, undecided = asked.metric, outcome == "undecided"
    if undecided and result.examples < asked.min_examples:
        return (
            f"{metric}{where} decides nothing: {_examples(result.examples)} (asked: at least "
            f"{asked.min_examples})"
        )
    if math.isnan(asked.found(result).value):
        decides = " and decides nothing" if undecided else ""
        return f"{metric}{where} has no {'lift' if asked.is_lift else 'value'}{decides}: {_why_none(metric, result)}"
    scarce = asked.scarce(result) if undecided else None
    if scarce:
        return f"{metric}{where} decides nothing: {of_labels(scarce, asked.min_positives, result.labels[scarce])}"
    value = f"{metric}{where} is {figures.metric(result.candidate[metric].value)}"
    if asked.is_change:
        return value + _change(asked, result, outcome)
    if asked.is_lift:
        return value + _lift(asked, result, outcome)
    bounds = asked.threshold.value_threshold
    asked_for = [f"at least {bounds.lower_bound.value:g}"] if bounds.HasField("lower_bound") else []
    asked_for += [f"at most {bounds.upper_bound.value:g}"] if bounds.HasField("upper_bound") else []
    found = result.candidate[metric]
    shown = figures.estimate(found.value, found.low, found.high)
    return f"{metric}{where} is {shown} (asked: {', '.join(asked_for)})"


def _change(asked: Asked, result: slice_results.SliceResult, outcome: str) -> str:
    metric, change = asked.metric, result.change[asked.metric].value
    lower = spec.lower_is_better(metric)
    threshold = asked.threshold.change_threshold
    limit, asked_for = abs(threshold.absolute.value), f"{abs(threshold.absolute.value):g}"
    if threshold.HasField("relative"):
        share = abs(threshold.relative.value)
        limit = min(limit, share * result.baseline[metric].value)
        asked_for += f" and {_percent(share)}"
    bounds, drop = asked.bounds(result), change if lower else -change
    shown = bounds is None or not bounds[0] <= 0 <= bounds[1]
    chance = _MAY_BE_CHANCE if drop > limit and not shown else ""
    if outcome == "undecided" or (outcome == "failed" and asked.lacks_interval(result)):
        chance = _few_users(metric)
    return (
        f", {_than(change)} the live model's {figures.metric(result.baseline[metric].value)}{chance}"
        f"{_interval(bounds)} (asked: at most {asked_for} {'above' if lower else 'below'}{_unless(asked)})"
    )


def _lift(asked: Asked, result: slice_results.SliceResult, outcome: str) -> str:
    metric, lift = asked.metric, result.lift[asked.metric].value
    bounds = asked.bounds(result)
    floor = result.best_floor(metric)
    if floor is not None:
        reference = (
            f"{_possessive(spec.FLOOR_TITLES[floor])} {figures.metric(result.floors[floor][metric].value)}"
        )
        asked_for = _beyond(asked.least, "above", "below")
    else:
        # Of a loss, lift is how far it is below.
        reference = f"the base rate's {figures.metric(result.candidate[metric].value + lift)}"
        asked_for, lift = _beyond(asked.least, "below", "above"), -lift
        bounds = bounds and (-bounds[1], -bounds[0])
    if asked.confidence and not result.slice:
        asked_for += f" with {_percent(asked.confidence)} confidence"
    else:
        asked_for += _unless(asked)
    if floor is not None and outcome == "failed" and result.candidate[metric].value == 0:
        return f", without a single hit: no lift over {reference} (asked: {asked_for})"
    if outcome == "undecided" and asked.without_hits(result):
        return f", as is {reference}: without a hit it decides nothing (asked: {asked_for})"
    reached = result.lift[metric].value >= asked.least
    chance = ""
    if (outcome == "failed" and reached) or outcome == "undecided":
        chance = _few_users(metric) if asked.lacks_interval(result) else _MAY_BE_CHANCE
    return f", {_than(lift)} {reference}{chance}{_interval(bounds)} (asked: {asked_for})"


def _few_users(metric: str) -> str:
    """What is said where there is no interval: which users count depends on the metric."""
    name, _, step = metric.partition("/")
    if name not in conversion.RANKED:
        return _FEW_USERS.format("")
    return _FEW_USERS.format(f" who have, or lack, {f'the label {step}' if step else 'one of the labels'},")


def _unless(asked: Asked) -> str:
    """What intervals do for drops, and for lifts on slices."""
    return f", but for chance at {_percent(asked.confidence)} confidence" if asked.confidence else ""


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _interval(bounds: tuple[float, float] | None) -> str:
    return (
        ""
        if bounds is None or bounds[0] == bounds[1]
        else f" [{figures.signed(bounds[0])}, {figures.signed(bounds[1])}]"
    )


def _possessive(words: str) -> str:
    return words + ("'" if words.endswith("s") else "'s")


def _why_none(name: str, result: slice_results.SliceResult) -> str:
    """Why a metric of exposures has no value: of its step, or of the first one that has none."""
    step = name.partition("/")[2]
    for other, labels in result.labels.items():
        if step not in ("", other) or 0 < labels.positive < labels.known:
            continue
        if not labels.known:
            return f"no label of {other} is known"
        which = "none" if not labels.positive else "each"
        return f"{which} of the {labels.known:,} known labels of {other} is positive"
    return "the live model has none"


def unreachable(result: slice_results.SliceResult) -> str | None:
    """Which test targets cannot be recommended, and why; None where all can."""
    total = sum(result.unreachable.values())
    if not total:
        return None
    reasons = {
        "catalogue": "{} are of items that are no target in training",
        "seen": "{} are of items that the user had before (evaluation.exclude_seen)",
        ranks.CANDIDATES: "{} are of items that nobody had shortly before (evaluation.candidates_within)",
    }
    parts = [reasons[why].format(f"{share:.1%}") for why, share in result.unreachable.items() if share]
    return f"{total:.1%} of the test targets cannot be recommended and are misses: {', '.join(parts)}"


def candidates(within: float, result: slice_results.SliceResult) -> str:
    """What is ranked, if that is not the whole catalogue.

    Args:
      within: of `evaluation.candidates_within`, seconds.
    """
    share, size = result.candidates[ranks.SHARE], result.candidates[ranks.SIZE]
    return (
        f"Ranks are among the known items seen in the {figures.duration(within)} before the moment "
        f"(evaluation.candidates_within): {size:,.1f} on average, and {share:.1%} of the test targets are among them"
    )


def is_count(name: str) -> bool:
    """Whether a condition is on a number of examples or labels."""
    return name == ranks.EXAMPLE_COUNT or name.startswith(f"{conversion_results.RARER_LABELS}/")


def slice_name(value: slice_results.Slice) -> str:
    """`user_frequency tail`, or `all` for the whole split."""
    return ", ".join(f"{feature} {text}" for feature, text in value) or "all"


def _beyond(asked: float, better: str, worse: str) -> str:
    if asked == 0:
        return f"not {worse}"
    if 0 < asked < _ABOVE:
        return better
    return f"at least {asked:g} {better}" if asked > 0 else f"at most {-asked:g} {worse}"


def _examples(count: int, noun: str = "example") -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _than(difference: float) -> str:
    if figures.metric(abs(difference)) == figures.metric(0.0):
        return "equal to"
    return f"{figures.metric(abs(difference))} {'above' if difference > 0 else 'below'}"
