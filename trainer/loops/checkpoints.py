"""Which checkpoint an interrupted training goes on from: the newest that can be read, whole."""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from schemas import errors

_PROGRESS = logging.getLogger("footfall.progress")
# Of an epoch of the history.
MayBeBest: TypeAlias = Callable[[Mapping[str, Any]], bool]
# Where TensorFlow keeps `state` of `loop.Loop`, the history so far.
_STATE = "state/.ATTRIBUTES/VARIABLE_VALUE"
# What its readers raise of damaged and of missing files.
_UNREADABLE = (tf.errors.OpError, ValueError, IndexError, RuntimeError)


class Checkpoints:
    """What a training has to keep, and the weights of its best epoch.

    Args:
      folder: that a second run of the same training finds again.
      model: whose best weights are kept, too.
      own: a folder that this process writes to, if it is another one that keeps what is in `folder`.
      objects: all else that a training goes on from, by name; `state` is the history so far.
    """

    def __init__(self, folder: str, model: Any, own: str | None = None, **objects: Any):
        self._folder, self._own = folder, own
        self._checkpoint = tf.train.Checkpoint(model=model, **objects)
        self._manager = manager(self._checkpoint, own or folder)
        self._best = tf.train.Checkpoint(model=model)
        self._best_prefix = os.path.join(own or folder, "best")

    def save(self) -> None:
        """Keeps all that there is now."""
        self._manager.save()

    def save_best(self) -> None:
        """Keeps the model's weights as the best ones."""
        self._best.write(self._best_prefix)

    def restore_best(self) -> None:
        """Gives the model the best weights."""
        self._best.restore(self._best_prefix).expect_partial()

    def restore(self, may_be_best: MayBeBest) -> bool:
        """Goes back to the newest moment that was kept whole, and warns of newer ones that were not.

        Args:
          may_be_best: see `newest`.

        Returns:
          Whether there was one.
        """
        kept = os.path.join(self._folder, "best")
        prefix, damaged = newest(self._folder, kept, may_be_best)
        for why in damaged:
            _PROGRESS.warning(
                "checkpoint %s: going on from %s", why, "the one before it" if prefix else "the start"
            )
        if prefix is None:
            if damaged and self._own is None:
                tf.io.gfile.rmtree(self._folder)
                self._manager = manager(self._checkpoint, self._folder)
            return False
        if self._own is not None and tf.io.gfile.exists(f"{kept}.index"):
            self._best.restore(kept).expect_partial()
            self.save_best()
        self._checkpoint.restore(prefix).assert_existing_objects_matched()
        return True


def manager(checkpoint: tf.train.Checkpoint, folder: str) -> tf.train.CheckpointManager:
    """TensorFlow's own, also where its list of checkpoints is damaged: what there is is read from the folder."""
    try:
        return tf.train.CheckpointManager(checkpoint, folder, max_to_keep=2)
    except UnicodeDecodeError:
        tf.io.gfile.remove(os.path.join(folder, "checkpoint"))
        return tf.train.CheckpointManager(checkpoint, folder, max_to_keep=2)


def newest(folder: str, best: str, may_be_best: MayBeBest) -> tuple[str | None, list[str]]:
    """The newest checkpoint of which every value can be read, those of the best epoch until then included.

    Args:
      folder: with checkpoints of `loop.Loop`.
      best: the prefix of the weights of the best epoch.
      may_be_best: whether an epoch of the history may be the best one: without any there are no such weights.

    Returns:
      The checkpoint's prefix, None if there is none; and for each newer one why it cannot be used.
    """
    damaged: list[str] = []
    for prefix in _prefixes(folder):
        why, reader = _read(prefix)
        if why is None and any(map(may_be_best, json.loads(reader.get_tensor(_STATE)))):
            why, _ = _read(best)
        if why is None:
            return prefix, damaged
        damaged.append(why)
    return None, damaged


def _prefixes(folder: str) -> list[str]:
    """Those in a folder, newest first."""
    if not tf.io.gfile.exists(folder):
        return []
    found = (re.fullmatch(r"ckpt-(\d+)\.index", name) for name in tf.io.gfile.listdir(folder))
    numbers = sorted((int(match[1]) for match in found if match), reverse=True)
    return [os.path.join(folder, f"ckpt-{number}") for number in numbers]


def _read(prefix: str) -> tuple[str | None, Any]:
    """Reads all values, whose checksums TensorFlow compares; why that fails, or the reader."""
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except _UNREADABLE as error:
        return f"{prefix} cannot be read ({errors.first_line(error)[:200]})", None
    return None, reader
