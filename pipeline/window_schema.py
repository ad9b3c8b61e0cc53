"""The schema of an experiment's windows, with its bounds on skew and drift."""

import os

from tensorflow_metadata.proto.v0 import schema_pb2

from components.behavior_example_gen import spec
from pipeline import config
from schemas import load


def write(experiment: config.Experiment, path: str) -> None:
    """Writes the schema as text; an equal file stays untouched, so that what depends on it stays cached."""
    text = load.to_text(_schema(experiment))
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            if stream.read() == text:
                return
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def _schema(experiment: config.Experiment) -> schema_pb2.Schema:
    columns, window, bounds = experiment.log.columns, experiment.window, experiment.validation
    if isinstance(window, spec.ExposureWindow):
        return load.exposure_window_schema(
            window.steps,
            {name: attribute.type for name, attribute in columns.attributes().items()},
            has_scene=bool(columns.scene),
            has_history=window.history > 0,
            has_behavior=bool(columns.behavior),
            max_skew=bounds.max_skew,
            max_drift=bounds.max_drift,
        )
    return load.next_window_schema(
        bool(columns.behavior),
        bool(columns.scene),
        sorted(columns.item),
        sorted(columns.user),
        max_skew=bounds.max_skew,
        max_drift=bounds.max_drift,
        target_behaviors_differ=experiment.split.target_behaviors is not None,
    )
