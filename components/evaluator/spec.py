"""What is measured on the test examples, and what a model must reach to be blessed."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import pydantic

from components.behavior_example_gen.spec import Duration
from schemas import embeddings, names, settings

Slice = Literal["user_frequency", "item_frequency", "history_length", "user_status", "user_group"]
# What history_length tells more finely is given where it is asked for.
_SLICES: tuple[Slice, ...] = tuple(name for name in names.SLICES if name != names.USER_GROUP)

MRR = "mrr"
# Of what is only for comparison with papers; the number of negatives follows.
SAMPLED_PREFIX = "sampled"
AUC = "auc"
# How many labels of a step have the rarer value.
RARER_LABELS = "rarer_labels"
CHAIN_VIOLATIONS = "chain_violations"
# Of exposures: metrics that also have a mean over the steps, and those of single steps alone.
_MEANS = (AUC, "auc_pr", "log_loss", "ks")
_OF_STEPS = ("ece", "calibration")
# What "worse" is known of: a calibration is best at 1, neither high nor low.
_COMPARED = (*_MEANS, "ece")
# What has no highest value.
_UNBOUNDED = ("log_loss", "calibration")
_LOWER_IS_BETTER = ("log_loss", "ece", CHAIN_VIOLATIONS)
NO_LIFT = 0.0
# What the gate asks of a lift, by the objective.
LIFT_OVER_FLOOR, LIFT_OVER_BASE_RATE = "min_lift_over_floor", "min_lift_over_base_rate"
_FORMER_LIFT = "min_lift_over_popularity"

# Rankings that need no model, by which output of `evaluate` has their rank. The gate asks for more than the best
# of those that fit.
POPULARITY, RECENT_POPULARITY = "popularity", "recent_popularity"
OWN_FREQUENT, OWN_RECENT = "own_frequent", "own_recent"
FLOOR_RANKS = {
    POPULARITY: names.POPULARITY_RANK,
    RECENT_POPULARITY: names.RECENT_POPULARITY_RANK,
    OWN_FREQUENT: names.OWN_FREQUENT_RANK,
    OWN_RECENT: names.OWN_RECENT_RANK,
}
# Of users' embeddings: any two users.
RANDOM_USER = "random"
# A floor's name in texts.
FLOOR_TITLES = {
    RANDOM_USER: "a random other user",
    POPULARITY: "popularity",
    RECENT_POPULARITY: "recent popularity",
    OWN_FREQUENT: "the user's most frequent items",
    OWN_RECENT: "the user's latest items",
}


class EvaluationSpec(settings.Settings):
    """What is measured on the test examples.

    Attributes:
    exclude_seen: leave the items that the user has met before the target out of the ranking, as the model that
      is served does; a target among them is a miss. Of models of next items.
    cutoffs: the K of HR@K and NDCG@K. Of models of next items; with windows of a period also of period_recall@K (the share
      of all its items), period_capped_recall@K (of the K best that it could be) and period_ndcg@K; with models that
      rank scenes also of scene_hr@K and scene_ndcg@K of the next scene.
    sampled_negatives: give every metric of next items among the target and this many items that the user has not met,
      drawn uniformly, as well (`sampled99_ndcg@10`): its expectation, without a draw. With `exclude_seen: false` a
      target may be one that was met, negatives never are.
      Only for comparison with papers that rank so; see `components.evaluator.sampled`.
    candidates_within: of models of next items on windows of a period: rank among the items that anybody had an event
      with in this time before the moment, as `24h`, and no others: a target that is none of them is a miss. The
      same holds for floors and the live model. None ranks the whole catalogue. A change cuts the windows again.
    slices: features by whose values every metric is given as well. `user_group` is thirds of the users by number of
      training events (of a user without, by those before the target): low, medium and high. `item_frequency` is of
      the target, or, where windows may have none (`min_future: 0`), of the last event before the moment.
    confidence_intervals: 95 % intervals by Poisson bootstrap over users. Those that the gate goes by are
      there in any case; see `gate.confidence`.
    """

    exclude_seen: bool = True
    cutoffs: tuple[pydantic.PositiveInt, ...] = (5, 10, 20)
    sampled_negatives: pydantic.PositiveInt | None = None
    candidates_within: Duration | None = None
    slices: tuple[Slice, ...] = _SLICES
    confidence_intervals: bool = True


class GateSpec(settings.Settings):
    """A model is blessed when every condition that is set holds on the test examples.

    A difference counts only beyond its own interval, which is of `confidence` and by bootstrap over users: the
    whole split must show the lift that is asked (the lower bound reaches it), a slice blocks a model
    when it shows less (the upper bound does not reach it), and a drop is one if its interval is without zero.
    `min` and `max` apply to the estimates. Without an interval, as where one user has nearly all examples, or of an AUC
    nearly all with the label, or without it, a lift or a drop fails its condition on the whole split, and decides nothing
    on a slice.

    A metric of labels that has no value (no example with a known label of a step, or all labels
    alike) fails its condition on the whole split, and decides nothing on a slice.

    Attributes:
      min: lowest allowed value by metric, as in `{ndcg@10: 0.05}` or `{auc/buy: 0.7}`; of sampled
        metrics, too, where `evaluation.sampled_negatives` is set.
      max: highest allowed value by metric, as in `{ece/buy: 0.02, chain_violations: 0.01}`; the latter of steps
        that are a chain.
      min_lift_over_floor: of next items: by how much the metric must exceed that of the best floor (see
        `floors`) on the same examples; with 0 it must be above. None asks for nothing. Also under its
        former name, min_lift_over_popularity. Of users' embeddings the floor is what any two users have in common.
      min_lift_over_base_rate: of labels (steps of exposures, labels of periods): by how much the log loss of each must be
        below that of the best constant, its share of positives on the same examples (in nats); with 0 it must
        be below. None asks for nothing. Ranking alone cannot pass it: probabilities must be worth more
        than a constant.
      max_drop: by how much the metric may be worse than the live model's; None asks for
        nothing.
      max_relative_drop: the same as a share of the live model's metric, where more of it is better; both have to hold, since of
        a small metric little is half. None asks for nothing.
      metric: the one that `max_drop` and `min_lift_over_floor` apply to, never a sampled one; None is ndcg@10,
        of labels the mean AUC over them (auc), and of users' embeddings neighbor_agreement. A lower
        log_loss or ece is the better one.
      confidence: of the intervals of lift and drop; None or 0 asks for the estimates alone.
      min_examples: fewer test examples bless nothing. With 100, the interval of a hit rate of 0.2 is still
        0.08 to both sides.
      min_positives: of labels: at least this many positive labels of each step, and as many negative ones,
        must be known, else nothing is blessed (and a slice decides nothing). With 50, the interval of an AUC
        of 0.75 is still 0.07 to both sides.
      slices: the conditions of lift and drop hold for each value of these features as well.
      min_slice_examples: a slice with fewer examples decides nothing.
    """

    min: dict[str, float] = {}
    max: dict[str, float] = {}
    min_lift_over_floor: float | None = pydantic.Field(
        default=NO_LIFT, validation_alias=pydantic.AliasChoices(LIFT_OVER_FLOOR, _FORMER_LIFT)
    )
    min_lift_over_base_rate: float | None = NO_LIFT
    max_drop: float | None = pydantic.Field(default=0.005, ge=0)
    max_relative_drop: float | None = pydantic.Field(default=0.1, ge=0, le=1)
    metric: str | None = None
    confidence: float | None = pydantic.Field(default=0.95, ge=0, lt=1)
    min_examples: int = pydantic.Field(default=100, ge=0)
    min_positives: int = pydantic.Field(default=50, ge=0)
    slices: tuple[Slice, ...] = ()
    min_slice_examples: int = pydantic.Field(default=50, ge=1)

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            settings.Reads(("min_slice_examples",), bool(self.slices), "slices"),
            settings.Reads(("max_relative_drop",), self.max_drop is not None, "max_drop"),
        )


def floors(evaluation: EvaluationSpec) -> tuple[str, ...]:
    """The floors of next items: what could be recommended without a model.

    The most popular items of all training targets, and of the recent ones (`window.recent_share`); where seen
    items may be recommended, the items that the user's window has most often, and last (then the most popular
    ones).
    """
    of_all = (POPULARITY, RECENT_POPULARITY)
    return of_all if evaluation.exclude_seen else (*of_all, OWN_FREQUENT, OWN_RECENT)


def ranking_metrics(cutoffs: Iterable[int], sampled_negatives: int | None = None) -> tuple[str, ...]:
    """Metrics of next items: `hr@K` and `ndcg@K` for each cutoff, and `mrr`.

    With `sampled_negatives`, 99 say, the same follow as `sampled99_hr@K` and so on.

    >>> ranking_metrics([5, 10])
    ('hr@5', 'hr@10', 'ndcg@5', 'ndcg@10', 'mrr')
    """
    cutoffs = tuple(cutoffs)
    full = (*(f"hr@{k}" for k in cutoffs), *(f"ndcg@{k}" for k in cutoffs), MRR)
    if sampled_negatives is None:
        return full
    return (*full, *(f"{SAMPLED_PREFIX}{sampled_negatives}_{name}" for name in full))


def period_metrics(cutoffs: Iterable[int]) -> tuple[str, ...]:
    """Metrics of all items of a period: recall, capped recall and NDCG for each cutoff; see `schemas.ranks.set_values`.

    >>> period_metrics([10])
    ('period_recall@10', 'period_capped_recall@10', 'period_ndcg@10')
    """
    cutoffs = tuple(cutoffs)
    return tuple(f"period_{name}@{k}" for name in ("recall", "capped_recall", "ndcg") for k in cutoffs)


def scene_metrics(cutoffs: Iterable[int]) -> tuple[str, ...]:
    """Metrics of the next scene, of models that rank scenes: those of next items.

    >>> scene_metrics([10])
    ('scene_hr@10', 'scene_ndcg@10', 'scene_mrr')
    """
    return tuple(f"scene_{name}" for name in ranking_metrics(cutoffs))


def conversion_metrics(steps: Sequence[str], chain: bool = True) -> tuple[str, ...]:
    """Metrics of labels: means over them (`auc`), then those of each (`auc/buy`), then of the order of all.

    Args:
      steps: names of the labels.
      chain: whether they are steps of a chain; only then can two or more of them violate its order.
    """
    order = (CHAIN_VIOLATIONS,) if chain and len(steps) > 1 else ()
    return (
        *_MEANS,
        *(f"{metric}/{step}" for metric in (*_MEANS, *_OF_STEPS) for step in steps),
        *order,
    )


# Of models of users' embeddings, see `schemas.embeddings`.
EMBEDDING_METRICS = (embeddings.AGREEMENT, embeddings.EFFECTIVE_RANK, embeddings.SPREAD)


def is_metric(name: str) -> bool:
    """Whether a name, as training measures it on `eval`, is a metric's rather than a time's or a rate's."""
    if name in EMBEDDING_METRICS or name.split("/")[0] == embeddings.PROBE_AUC:
        return True
    return "@" in name or name.endswith(MRR) or name.split("/")[0] in (*_MEANS, *_OF_STEPS, CHAIN_VIOLATIONS)


def metric_range(metric: str) -> tuple[float, float]:
    """The lowest and the highest value that a metric can have.

    >>> metric_range("auc/buy"), metric_range("log_loss")
    ((0.0, 1.0), (0.0, inf))
    """
    if metric == embeddings.EFFECTIVE_RANK:
        return 1.0, math.inf
    return 0.0, math.inf if metric.split("/")[0] in _UNBOUNDED else 1.0


def lower_is_better(metric: str) -> bool:
    """Whether a lower value of a metric is the better one."""
    return metric.split("/")[0] in _LOWER_IS_BETTER


def has_direction(metric: str) -> bool:
    """Whether more, or less, of a metric of labels is better."""
    return metric.split("/")[0] in _COMPARED
