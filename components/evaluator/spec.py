"""What is measured on the test windows, and what a model must reach to be blessed."""

from typing import Dict, Literal, Optional, Tuple

import pydantic

from schemas import names, settings

Slice = Literal["user_frequency", "item_frequency", "history_length", "user_status"]


class EvaluationSpec(settings.Settings):
    """Attributes:
    exclude_seen: leave the items that the user has met before the target out of the
      ranking (the target itself always stays in).
    cutoffs: the K of HR@K and NDCG@K.
    sampled_negatives: give every metric among the target and so many other candidates
      drawn uniformly as well (`sampled99_ndcg@10`): its expectation, without a draw.
      Only for comparison with papers that rank so; see `components.evaluator.sampled`.
    slices: features by whose values every metric is given as well.
    confidence_intervals: 95 % intervals by Poisson bootstrap over users.
    """

    exclude_seen: bool = True
    cutoffs: Tuple[pydantic.PositiveInt, ...] = (5, 10, 20)
    sampled_negatives: Optional[pydantic.PositiveInt] = None
    slices: Tuple[Slice, ...] = names.SLICES
    confidence_intervals: bool = True


class GateSpec(settings.Settings):
    """A model is blessed when every condition that is set holds on the test windows.

    Attributes:
      min: lowest allowed value by metric, as in `{ndcg@10: 0.05}`; of sampled metrics, too,
        where `evaluation.sampled_negatives` is set.
      min_lift_over_popularity: by how much the metric must exceed the popularity
        ranking's, on the same examples; None asks for nothing.
      max_drop: by how much it may fall below the last blessed model's; None asks for
        nothing.
      metric: the metric of the last two conditions; never a sampled one.
      slices: the last two conditions hold for each value of these features as well.
      min_slice_examples: a slice with fewer examples decides nothing.
    """

    min: Dict[str, float] = {}
    min_lift_over_popularity: Optional[float] = 0.0
    max_drop: Optional[float] = pydantic.Field(default=0.005, ge=0)
    metric: str = pydantic.Field(default="ndcg@10", pattern=r"^(hr|ndcg)@[1-9][0-9]*$|^mrr$")
    slices: Tuple[Slice, ...] = ()
    min_slice_examples: int = pydantic.Field(default=50, ge=1)
