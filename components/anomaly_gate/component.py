"""AnomalyGate: no training on data that break their schema, or differ too much from earlier data."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.anomaly_gate import executor


class AnomalyGateSpec(component_spec.ComponentSpec):
    """Inputs and outputs of AnomalyGate."""

    PARAMETERS = {
        "accepted_root": component_spec.ExecutionParameter(type=str, optional=True),
        "log_path": component_spec.ExecutionParameter(type=str, optional=True),
        "usual_path": component_spec.ExecutionParameter(type=str, optional=True),
        "error_rate": component_spec.ExecutionParameter(type=float, optional=True),
        "max_shrink": component_spec.ExecutionParameter(type=float, optional=True),
        "code": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"comparisons": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class AnomalyGate(base_component.BaseComponent):
    """Stops the pipeline on an anomaly of severity ERROR, and names it.

    It reads ExampleValidator's anomalies, and compares the features that have comparators in the
    schema: windows of the other splits against training windows (skew), and these against
    those of the span before (drift), of which they may not be far fewer. A difference stops the run when
    it is beyond its bound, and chance does not explain it; see `shifts`. Downstream nodes wait for it with `add_upstream_node`.

    Args:
      anomalies: of ExampleValidator.
      statistics: of StatisticsGen.
      schema: with the comparators.
      accepted_root: a folder that all runs of the pipeline share: the gate keeps there the
        statistics of each span that it lets pass, and finds those of the one before. A
        Resolver would not do: the newest statistics are those of the span itself as soon as
        it is tried a second time, and a span that was stopped would then pass. None, for a
        log without spans, measures no drift.
      log_path: of the log that a run reads: a text, a runtime parameter, or None. One that is not `usual_path` has
        statistics of its own: its spans are compared with each other, and replace none of the usual log's.
      usual_path: of the log that runs read which name none.
      error_rate: the probability that a difference stops a run although none is beyond its bound;
        None or 0: the distances alone decide.
      max_shrink: which share of the training windows of the span before may be missing; None: any.
      code: that compares, of `pipeline.code`: the verdict of other code is not taken from the cache.

    Outputs:
      comparisons: anomalies of skew and drift, a folder a split.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        anomalies: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        accepted_root: str | None = None,
        log_path: Any = None,
        usual_path: str | None = None,
        error_rate: float | None = None,
        max_shrink: float | None = None,
        code: str | None = None,
    ):
        super().__init__(
            AnomalyGateSpec(
                anomalies=anomalies,
                statistics=statistics,
                schema=schema,
                accepted_root=accepted_root,
                log_path=log_path,
                usual_path=usual_path,
                error_rate=error_rate,
                max_shrink=max_shrink,
                code=code,
                comparisons=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
