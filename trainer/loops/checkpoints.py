"""Which checkpoint an interrupted training goes on from: the newest that can be read, whole."""

import json
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from schemas import errors

_PROGRESS = logging.getLogger("footfall.progress")
# The number of the best epoch of a history, 0 for what it started from; None where none is fit.
BestEpoch: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], "int | None"]
_KEPT = 2
# Where TensorFlow keeps `state` of `loop.Loop`, the history so far.
_STATE = "state/.ATTRIBUTES/VARIABLE_VALUE"
# What its readers raise of damaged and of missing files.
_UNREADABLE = (tf.errors.OpError, ValueError, IndexError, RuntimeError)


class Checkpoints:
    """What a training has to keep, and the weights of its best epoch.

    The best weights are in files of their epoch, and stay while a checkpoint needs them: a kill between them and the checkpoint
    of their epoch leaves those that the one before it needs.

    Args:
      folder: that a second run of the same training finds again.
      model: whose best weights are kept, too.
      own: a folder that this process writes to, if it is another one that keeps what is in `folder`.
      objects: all else that a training goes on from, by name; `state` is the history so far.
    """

    def __init__(self, folder: str, model: Any, own: str | None = None, **objects: Any):
        self._folder, self._own = folder, own
        self._written = own or folder
        self._checkpoint = tf.train.Checkpoint(model=model, **objects)
        self._manager = manager(self._checkpoint, self._written)
        self._best = tf.train.Checkpoint(model=model)
        # The best epochs of the checkpoints that are kept, the newest one's last.
        self._needed: list[int | None] = []

    def save(self, best: int | None) -> None:
        """Keeps all that there is now, and of the best weights what some checkpoint needs.

        Args:
          best: the best epoch so far; None for none.
        """
        self._manager.save()
        self._needed = [*self._needed, best][-_KEPT:]
        _remove_best(self._written, but=self._needed)

    def save_best(self, epoch: int) -> None:
        """Keeps the model's weights as those of an epoch that is the best one so far."""
        self._best.write(_best_of(self._written, epoch))

    def restore_best(self, epoch: int) -> None:
        """Gives the model the weights of the best epoch."""
        self._best.restore(_best_of(self._written, epoch)).expect_partial()

    def restore(self, best_epoch: BestEpoch) -> bool:
        """Goes back to the newest moment that was kept whole, and warns of newer ones that were not.

        Args:
          best_epoch: see `newest`.

        Returns:
          Whether there was one.
        """
        prefix, best, damaged = newest(self._folder, best_epoch)
        for why in damaged:
            _PROGRESS.warning(
                "checkpoint %s: going on from %s", why, "the one before it" if prefix else "the start"
            )
        if prefix is None:
            if damaged and self._own is None:
                tf.io.gfile.rmtree(self._folder)
                self._manager = manager(self._checkpoint, self._folder)
            return False
        if self._own is not None and best is not None:
            self._best.restore(_best_of(self._folder, best)).expect_partial()
            self.save_best(best)
        self._needed = [best]
        self._checkpoint.restore(prefix).assert_existing_objects_matched()
        return True


def _best_of(folder: str, epoch: int) -> str:
    """The prefix of the weights of an epoch that is or was the best one."""
    return os.path.join(folder, f"best-{epoch}")


def _remove_best(folder: str, but: Collection[int | None]) -> None:
    """Removes weights of epochs that were the best ones until no checkpoint needed them."""
    for name in tf.io.gfile.listdir(folder):
        found = re.fullmatch(r"best-(\d+)\..+", name)
        if found and int(found[1]) not in but:
            tf.io.gfile.remove(os.path.join(folder, name))


def manager(checkpoint: tf.train.Checkpoint, folder: str) -> tf.train.CheckpointManager:
    """TensorFlow's own, also where its list of checkpoints is damaged: what there is is read from the folder."""
    try:
        return tf.train.CheckpointManager(checkpoint, folder, max_to_keep=_KEPT)
    except UnicodeDecodeError:
        tf.io.gfile.remove(os.path.join(folder, "checkpoint"))
        return tf.train.CheckpointManager(checkpoint, folder, max_to_keep=_KEPT)


def newest(folder: str, best_epoch: BestEpoch) -> tuple[str | None, int | None, list[str]]:
    """The newest checkpoint of which every value can be read, those of the best epoch until then included.

    Args:
      folder: with checkpoints of `loop.Loop`.
      best_epoch: the best one of a history; where there is none, no weights of one are needed.

    Returns:
      The checkpoint's prefix, None if there is none; its best epoch, None for none; and for each newer checkpoint why it cannot
      be used.
    """
    damaged: list[str] = []
    for prefix in _prefixes(folder):
        why, reader = _read(prefix)
        best = None if why else best_epoch(json.loads(reader.get_tensor(_STATE)))
        if best is not None:
            why, _ = _read(_best_of(folder, best))
        if why is None:
            return prefix, best, damaged
        damaged.append(why)
    return None, None, damaged


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
