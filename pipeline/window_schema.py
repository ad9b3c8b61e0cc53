"""The schema of an experiment's windows, with its bounds on skew and drift."""

import hashlib
import os

from tensorflow_metadata.proto.v0 import schema_pb2

from components.behavior_example_gen import spec
from pipeline import config
from schemas import load


def text(experiment: config.Experiment) -> str:
    """The schema as text."""
    return load.to_text(_schema(experiment))


def file_name(experiment: config.Experiment) -> str:
    """The name of the schema's file; another schema has another, since TFX tells them apart by their paths."""
    return f"schema-{hashlib.sha256(text(experiment).encode()).hexdigest()[:8]}.pbtxt"


def write(experiment: config.Experiment, folder: str) -> str:
    """Writes the schema into a folder, under its `file_name`; returns the path."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, file_name(experiment))
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text(experiment))
    return path


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
