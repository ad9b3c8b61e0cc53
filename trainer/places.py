"""Where a training, or a search, keeps what a second run of it goes on from."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator

import tensorflow as tf

from components import whole
from trainer import fingerprint

_PROGRESS = logging.getLogger("footfall.progress")
# Of what nobody has gone on with for so long, nothing is kept.
_STALE_SECONDS = 7 * 24 * 3600.0
# A file of a folder that is not yet all of a copy; an object store renames no folder at once.
_UNFINISHED = "copying"
# How often a copy is made of what its owner writes to meanwhile.
_TRIES = 3


class Place:
    """A folder that a second run of the same training finds again.

    On a cluster two runs may train the same at once. Each then has a folder of its own, below one of the training, and a
    new one begins with a copy of what the last has left: neither overwrites, or takes away, what the other goes by.

    Args:
      root: of all trainings of a pipeline.
      key: of the training, see `fingerprint.of`.
      owner: of the run, the same for all attempts of its step; None where no other run can be at work.
    """

    def __init__(self, root: str, key: str, owner: str | None = None):
        self._root, self._shared = root, os.path.join(root, key)
        self._owned = owner is not None
        self.folder = os.path.join(self._shared, owner) if owner is not None else self._shared

    def claim(self) -> None:
        """Copies what the last run of others has left, if this one has nothing yet or died while it copied."""
        unfinished = os.path.join(self.folder, _UNFINISHED)
        if not self._owned or (_touched(self.folder) and not tf.io.gfile.exists(unfinished)):
            return
        for _ in range(_TRIES):
            left = [
                (touched, folder)
                for folder in _folders(self._shared)
                if not tf.io.gfile.exists(os.path.join(folder, _UNFINISHED)) and (touched := _touched(folder))
            ]
            if not left:
                break
            _, newest = max(left)
            _PROGRESS.info("goes on from a copy of what another run has left: %s", newest)
            if _copied(newest, self.folder):
                break
        # Of what the other one has taken away, or keeps writing to, there is what there is: a checkpoint that is not whole is
        # none to its reader.
        if tf.io.gfile.exists(unfinished):
            tf.io.gfile.remove(unfinished)

    def leave(self) -> None:
        """Takes away this run's folder, and what nobody has gone on with for a week; says where that fails."""
        with _told(self.folder):
            if tf.io.gfile.exists(self.folder):
                tf.io.gfile.rmtree(self.folder)
        before = time.time() - _STALE_SECONDS
        for parent in (self._shared, self._root) if self._owned else (self._root,):
            others: list[str] = []
            with _told(parent):
                others = _folders(parent)
            for folder in others:
                with _told(folder):
                    if 0 < _touched(folder) < before:
                        tf.io.gfile.rmtree(folder)


@contextlib.contextmanager
def _told(folder: str) -> Iterator[None]:
    """Says that a folder cannot be looked at or removed, and goes on: what is over stays so."""
    try:
        yield
    except whole.FAILS as error:
        # Another run may have removed it at the same time.
        if not _is_gone(folder):
            _PROGRESS.warning("%s cannot be removed: %s", folder, error)


def _is_gone(folder: str) -> bool:
    """Whether it is known that a folder is not there."""
    try:
        return not tf.io.gfile.exists(folder)
    except whole.FAILS:
        return False


def _folders(parent: str) -> list[str]:
    """The folders in one, none where it is not there."""
    if not tf.io.gfile.isdir(parent):
        return []
    found = (os.path.join(parent, name.rstrip("/")) for name in sorted(tf.io.gfile.listdir(parent)))
    return [path for path in found if tf.io.gfile.isdir(path)]


def _files(folder: str) -> list[str]:
    """The paths of all files below a folder."""
    return [
        os.path.join(parent, name) for parent, _, names in tf.io.gfile.walk(folder) for name in names if name
    ]


def _states(folder: str) -> dict[str, tuple[int, int]]:
    """Size and time (ns) of each file below a folder, by its path."""
    found = {}
    for path in _files(folder):
        # Another run may be at work there.
        try:
            found[path] = fingerprint.state(path)
        except (tf.errors.NotFoundError, FileNotFoundError):
            continue
    return found


def _touched(folder: str) -> float:
    """When the newest file below a folder was written, in seconds since 1970; 0 where there is none."""
    return max((time_ns for _, time_ns in _states(folder).values()), default=0) / 1e9


def _copied(source: str, target: str) -> bool:
    """Has a folder hold what is below another one; whether that stayed as it was meanwhile.

    The folder has `_UNFINISHED` from then on.
    """
    if tf.io.gfile.exists(target):
        tf.io.gfile.rmtree(target)
    tf.io.gfile.makedirs(target)
    with tf.io.gfile.GFile(os.path.join(target, _UNFINISHED), "w") as stream:
        stream.write(source)
    before = _states(source)
    for path in before:
        wanted = os.path.join(target, os.path.relpath(path, source))
        tf.io.gfile.makedirs(os.path.dirname(wanted))
        try:
            tf.io.gfile.copy(path, wanted, overwrite=True)
        except tf.errors.NotFoundError:
            continue
    return _states(source) == before
