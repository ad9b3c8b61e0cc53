"""What the models of runs say of each of their test examples: asked once, then kept beside the run.

The Evaluator keeps metrics, not ranks or probabilities: the `evaluate` signature of each run's model is asked again.
"""

import gc
import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparing import runs
from schemas import errors, kinds, names

_CACHE = "compare"
CANDIDATES_WITHIN = "evaluation.candidates_within"


def kept(
    name: str, run: runs.Trained, asked: str, ask: Callable[[runs.Trained], pd.DataFrame]
) -> pd.DataFrame:
    """The answer that is kept beside a run, or else a new one, which is kept.

    Args:
      name: of the file.
      run: of the model and its examples.
      asked: what is asked of the model, as text: another question has another answer.
      ask: gives the answer.
    """
    path = os.path.join(run.folder, _CACHE, f"{name}-{_fingerprint(run, asked)}.parquet")
    if os.path.exists(path):
        return pd.read_parquet(path)
    table = ask(run)
    # A loaded model holds itself in cycles: without this, all models of a study stay in memory for long, and
    # those that are there at exit print tracebacks.
    gc.collect()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = f"{path}.{os.getpid()}.tmp"
    table.to_parquet(partial, index=False)
    os.replace(partial, path)
    return table


def _fingerprint(run: runs.Trained, asked: str) -> str:
    """Of a model, its windows and what is asked; trained again in the same place it is another model."""
    import tensorflow as tf

    stat = tf.io.gfile.stat(os.path.join(run.model_dir, "saved_model.pb"))
    # A table that was kept before a slice was known lacks its column.
    columns = ",".join(sorted(features(run.kind)))
    text = f"{run.model_dir}\n{stat.length}\n{stat.mtime_nsec}\n{run.examples_uri}\n{asked}\n{columns}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def evaluate(run: runs.Trained) -> tuple[Any, Any, list[str]]:
    """The model (which must outlive its signature), its `evaluate` signature, and the files of test examples."""
    import tensorflow as tf

    from components.evaluator import among, config

    model = tf.saved_model.load(run.model_dir)
    if run.settings.get(CANDIDATES_WITHIN) is not None:
        among.check(run.model_dir, run.examples_uri)
        model = among.RankedAmong(model, run.examples_uri)
    if config.SIGNATURE not in model.signatures:
        raise errors.InputError(
            f"{run.folder}: its model has no signature {config.SIGNATURE!r}, only "
            f"{', '.join(sorted(model.signatures))}"
        )
    return model, model.signatures[config.SIGNATURE], run.test_files()


def features(kind: kinds.WindowKind) -> dict[str, Any]:
    """How the key and the slices of an example are read."""
    import tensorflow as tf

    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    found = {name: text for name in (kind.user, kind.item, *names.SLICES)}
    found[kind.time] = tf.io.FixedLenFeature([], tf.int64, default_value=0)
    return found


def parsed(examples: Any, wanted: dict[str, Any]) -> dict[str, np.ndarray]:
    """Features of serialized examples `[B]`, of which `wanted` says how they are read."""
    import tensorflow as tf

    return {name: values.numpy() for name, values in tf.io.parse_example(examples, wanted).items()}


def as_table(parts: list[dict[str, np.ndarray]], run: runs.Trained) -> pd.DataFrame:
    """The parts of an answer, with text where they have bytes."""
    if not parts:
        raise errors.InputError(f"{run.folder}: no test {run.kind.noun} below {run.examples_uri}")
    table = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    for name in (run.kind.user, run.kind.item, *names.SLICES):
        table[name] = table[name].str.decode("utf-8", "replace")
    return table
