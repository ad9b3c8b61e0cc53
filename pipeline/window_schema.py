"""The schema of an experiment's windows, with its bounds on skew and drift."""

import os

from pipeline import config
from schemas import load


def write(experiment: config.Experiment, path: str) -> None:
    """Writes the schema as text; an equal file stays untouched, so that what depends on it stays cached."""
    columns = experiment.log.columns
    text = load.to_text(
        load.next_window_schema(
            bool(columns.behavior),
            bool(columns.scene),
            sorted(columns.item),
            sorted(columns.user),
            max_skew=experiment.validation.max_skew,
            max_drift=experiment.validation.max_drift,
            target_behaviors_differ=experiment.split.target_behaviors is not None,
        )
    )
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            if stream.read() == text:
                return
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
