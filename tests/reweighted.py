"""A SavedModel that answers otherwise than another by the same signatures, without being traced and exported itself."""

import os
import pathlib
import shutil

import numpy as np
import tensorflow as tf


def copy(model: str | os.PathLike, target: str | os.PathLike, seed: int = 1) -> pathlib.Path:
    """Copies a SavedModel, with other numbers in its variables; returns the copy's folder."""
    shutil.copytree(model, target)
    variables = pathlib.Path(target, "variables")
    reader = tf.train.load_checkpoint(str(variables / "variables"))
    rng, values = np.random.default_rng(seed), {}
    for name in sorted(reader.get_variable_to_shape_map()):
        value = reader.get_tensor(name)
        is_float = isinstance(value, np.ndarray) and value.dtype == np.float32
        values[name] = rng.normal(size=value.shape).astype(np.float32) if is_float else value
    shutil.rmtree(variables)
    variables.mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(variables / "variables"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
    return pathlib.Path(target)
