"""Tuner: TFX's, which also says what came of every trial."""

from tfx.components.tuner import component
from tfx.dsl.components.base import executor_spec

from components.tuner import executor


class Tuner(component.Tuner):
    """As `tfx.components.Tuner`; see `executor.Executor` for what `tuner_results` holds besides."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
