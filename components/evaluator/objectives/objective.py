"""What an objective is to the Evaluator: which metrics there are, and which differences the gate goes by."""

import abc
from typing import Any, ClassVar

from components.evaluator import spec
from schemas import kinds


class Objective(abc.ABC):
    """An objective. It has no state: settings come with every call.

    Attributes:
      name: as in `schemas.kinds`.
      metrics: dotted name of the class of the TFMA metric that computes all of its metrics.
      lift: the gate's setting that says by how much the floor must be exceeded.
      ranks: whether items are ranked, so that `evaluation.candidates_within` says which.
      own: settings of `evaluation`, `gate` and `window` that its models alone have a use for, as keys of an experiment.
      models: what these models are called.
      highest_lift: no model exceeds a floor by more.
      hint: what a message about a metric that is not measured adds.
    """

    name: ClassVar[str]
    metrics: ClassVar[str]
    lift: ClassVar[str]
    ranks: ClassVar[bool] = False
    own: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[str]
    highest_lift: ClassVar[float] = 1.0
    hint: ClassVar[str] = ""

    @abc.abstractmethod
    def measured(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """The names of all metrics; `scenes`: of a model that ranks scenes, too."""

    @abc.abstractmethod
    def compared(self, evaluation: spec.EvaluationSpec, window: Any, scenes: bool = False) -> tuple[str, ...]:
        """Those by which one model can be better than another."""

    @abc.abstractmethod
    def settings(
        self, evaluation: spec.EvaluationSpec, gate: spec.GateSpec, window: Any, scenes: bool = False
    ) -> dict[str, Any]:
        """What the class of `metrics` takes besides what it takes for every objective."""

    @abc.abstractmethod
    def lifts(self, gate: spec.GateSpec, window: Any) -> tuple[str, ...]:
        """The differences to a floor that the gate goes by, each a metric (`ndcg@10`)."""

    def least(self, gate: spec.GateSpec, window: Any) -> dict[str, float]:
        """The lowest values of numbers without which nothing is decided, by metric."""
        return {}

    def gate_metric(self, gate: spec.GateSpec) -> str:
        """The metric of the gate's conditions on lift and drop."""
        return gate.metric or kinds.objective(self.name).metric
