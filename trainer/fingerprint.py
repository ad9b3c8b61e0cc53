"""What tells trainings apart: their settings, and the artifacts that they read."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

# Where a training keeps what it goes on from; no part of what it is.
_PLACE = ("checkpoint_root", "beside_others", "owner")
# How often it does: whoever has lost too much of a training changes that.
_OFTEN = "checkpoint_seconds"


def of(fn_args: Any, tuned: Mapping[str, Any]) -> str:
    """Tells trainings (or searches) apart: by their settings and by the artifacts they read.

    Args:
      fn_args: of TFX.
      tuned: what a search has chosen, by key.
    """
    custom = {name: text for name, text in sorted(fn_args.custom_config.items()) if name not in _PLACE}
    training = json.loads(custom["training"])
    custom["training"] = json.dumps({name: value for name, value in training.items() if name != _OFTEN})
    inputs: dict[str, Any] = {
        "custom_config": custom,
        "transform": fn_args.transform_graph_path,
        "train": list(fn_args.train_files),
        "eval": list(fn_args.eval_files),
        # A metadata store that was lost counts anew, so that other artifacts have the same paths.
        "files": _examples(fn_args),
        "base_models": [(base, _within(base)) for base in _base_models(fn_args)],
        "tuned": dict(tuned),
    }
    return digest(inputs)


def parts(fn_args: Any, tuned: Mapping[str, Any]) -> dict[str, str]:
    """Digests of what a training depends on, by the words for it; see `reasons`."""
    custom = dict(fn_args.custom_config)
    code, base = custom.pop("code", ""), custom.pop("base_model", "")
    pretrained = custom.pop("pretrained", "")
    # Of the windows, and of the base model, which are compared.
    for name in ("split", "tested_from", "pretrained_digest"):
        custom.pop(name, None)
    for name in _PLACE:
        custom.pop(name, None)
    found = {
        "windows": _examples(fn_args),
        "settings": [sorted(custom.items()), dict(tuned)],
        "code": code,
        "live model": base,
        **({"base model": pretrained} if pretrained else {}),
    }
    return {name: digest(part) for name, part in found.items()}


def digest(value: Any) -> str:
    """Tells JSON values apart, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _examples(fn_args: Any) -> list[list[tuple[str, int, int]]]:
    """Name, size and time of the examples' files, by pattern."""
    return [_matching(path) for path in (*fn_args.train_files, *fn_args.eval_files)]


def _base_models(fn_args: Any) -> list[str]:
    """Folders of models to start from: of an artifact that TFX names, and what the settings name."""
    named = (
        getattr(fn_args, "base_model", None),
        *(fn_args.custom_config.get(name) for name in ("base_model", "pretrained")),
    )
    return [folder for folder in named if folder]


def _matching(pattern: str) -> list[tuple[str, int, int]]:
    """Name, size and time of the files that match a pattern."""
    return [(os.path.basename(path), *state(path)) for path in sorted(tf.io.gfile.glob(pattern))]


def _within(folder: str) -> list[tuple[str, int, int]]:
    """Path, size and time of all files below a folder."""
    return sorted(
        (path.removeprefix(folder), *state(path))
        for parent, _, files in tf.io.gfile.walk(folder)
        for path in (os.path.join(parent, name) for name in files)
    )


def state(path: str) -> tuple[int, int]:
    """Size and time (ns) of a file."""
    if "://" in path:
        stat = tf.io.gfile.stat(path)
        return stat.length, stat.mtime_nsec
    # Of which TensorFlow tells whole seconds.
    local = os.stat(path)
    return local.st_size, local.st_mtime_ns
