"""Where a training, or a search, keeps what a second run of it goes on from."""

import logging
import os
import time

import tensorflow as tf

_PROGRESS = logging.getLogger("footfall.progress")
# Of what nobody has gone on with for so long, nothing is kept.
_STALE_SECONDS = 7 * 24 * 3600.0


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
        """Copies what the last run of others has left, if this one has nothing yet."""
        if not self._owned or _touched(self.folder):
            return
        left = [(touched, folder) for folder in _folders(self._shared) if (touched := _touched(folder))]
        if left:
            _, newest = max(left)
            _PROGRESS.info("goes on from a copy of what another run has left: %s", newest)
            _copy(newest, self.folder)

    def leave(self) -> None:
        """Takes away this run's folder, and what nobody has gone on with for a week."""
        if tf.io.gfile.exists(self.folder):
            tf.io.gfile.rmtree(self.folder)
        before = time.time() - _STALE_SECONDS
        others = [*(_folders(self._shared) if self._owned else ()), *_folders(self._root)]
        for folder in others:
            if 0 < _touched(folder) < before:
                tf.io.gfile.rmtree(folder)


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


def _touched(folder: str) -> float:
    """When the newest file below a folder was written, in seconds since 1970; 0 where there is none."""
    times = [0.0]
    for path in _files(folder):
        # Another run may be at work there.
        try:
            times.append(tf.io.gfile.stat(path).mtime_nsec / 1e9)
        except tf.errors.NotFoundError:
            continue
    return max(times)


def _copy(source: str, target: str) -> None:
    """Copies what is below a folder; of what its owner takes away meanwhile, nothing."""
    for path in _files(source):
        wanted = os.path.join(target, os.path.relpath(path, source))
        tf.io.gfile.makedirs(os.path.dirname(wanted))
        try:
            tf.io.gfile.copy(path, wanted, overwrite=True)
        except tf.errors.NotFoundError:
            continue
