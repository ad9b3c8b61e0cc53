"""The schema of an experiment's windows, with its bounds on skew and drift."""

import hashlib
import os

from tensorflow_metadata.proto.v0 import schema_pb2

from components.behavior_example_gen import windows
from pipeline import config
from pipeline.runners import whole
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
    whole.write(path, text(experiment))
    return path


def _schema(experiment: config.Experiment) -> schema_pb2.Schema:
    window, bounds = experiment.window, experiment.validation
    return windows.get(window.kind).schema(
        window,
        experiment.log.columns,
        experiment.split,
        max_skew=bounds.max_skew,
        max_drift=bounds.max_drift,
    )
