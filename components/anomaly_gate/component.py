"""AnomalyGate: no training on data that break their schema, or differ too much from earlier data."""

from typing import Optional

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.anomaly_gate import executor


class AnomalyGateSpec(component_spec.ComponentSpec):
    """Inputs and outputs of AnomalyGate."""

    PARAMETERS = {"accepted_root": component_spec.ExecutionParameter(type=str, optional=True)}
    INPUTS = {
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"comparisons": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)}


class AnomalyGate(base_component.BaseComponent):
    """Stops the pipeline on an anomaly of severity ERROR, and names it.

    It reads ExampleValidator's anomalies, and compares distributions as the schema's
    comparators ask: training windows against those of the other splits (skew), and against
    those of the span before (drift). Downstream nodes wait for it with `add_upstream_node`.

    Args:
      anomalies: of ExampleValidator.
      statistics: of StatisticsGen.
      schema: with the comparators.
      accepted_root: a folder that all runs of the pipeline share: the gate keeps there the
        statistics of each span that it lets pass, and finds those of the one before. A
        Resolver would not do: the newest statistics are those of the span itself as soon as
        it is tried a second time, and a span that was stopped would then pass. None, for a
        log without spans, measures no drift.

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
        accepted_root: Optional[str] = None,
    ):
        super().__init__(
            AnomalyGateSpec(
                anomalies=anomalies,
                statistics=statistics,
                schema=schema,
                accepted_root=accepted_root,
                comparisons=types.Channel(type=standard_artifacts.ExampleAnomalies),
            )
        )
