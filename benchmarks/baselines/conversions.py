"""What the systems of `benchmarks.conversion_speed` have in common: sizes of the data and of the models."""

import os
from typing import Any

import numpy as np

MMOE, PLE, AITM = "mmoe", "ple", "aitm"
MODELS = (MMOE, PLE, AITM)
STEPS = ("click", "buy")
# Values of the fields, evenly spaced in their logarithm.
FIELDS, SMALLEST, LARGEST = 20, 10, 10_000
DIM = 16
EXPERTS = 4
LEVELS, STEP_EXPERTS, SHARED_EXPERTS = 2, 2, 2
EXPERT = (64,)
TOWER = (32,)
# AITM's towers are below the transfer; above it there is only the linear output.
AITM_TOWER = (64, 32)
DROPOUT = 0.1
LEARNING_RATE = 1e-3
ARRAYS = "exposures.npz"
# Of Footfall's step; see `run_conversions`.
PARTS = ("batches", "embedding", "gradients", "step")


def sizes() -> np.ndarray:
    """How many values each field has, `[FIELDS]`."""
    return np.geomspace(SMALLEST, LARGEST, FIELDS).round().astype(int)


def load(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """The fields `[N, FIELDS]` int64 from 0 and the labels `[N, T]` int64 of the prepared exposures."""
    with np.load(os.path.join(folder, ARRAYS)) as arrays:
        return arrays["fields"], arrays["labels"]


def prepare(folder: str, rows: int, seed: int = 0) -> dict[str, Any]:
    """Writes exposures that are drawn: values by Zipf's law, labels from an additive score of the values.

    Args:
      folder: where to.
      rows: N.
      seed: of all.

    Returns:
      `rows` and the `base_rates` of the steps.
    """
    rng = np.random.default_rng(seed)
    columns, score = [], np.zeros(rows)
    for size in sizes():
        share = 1.0 / np.arange(1, size + 1)
        values = rng.choice(size, rows, p=share / share.sum())
        score += rng.normal(0, 0.4, size)[values]
        columns.append(values)
    chance = 1.0 / (1.0 + np.exp(1.5 - score))
    labels = np.cumprod(rng.random([len(STEPS), rows]) < chance, axis=0).T
    np.savez(os.path.join(folder, ARRAYS), fields=np.stack(columns, axis=1), labels=labels)
    return {"rows": rows, "base_rates": labels.mean(axis=0).tolist()}
