"""The model that is asked about users: where it is, what it takes, and asking it."""

import bisect
import dataclasses
import os
import posixpath
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from components.pusher import verify
from pipeline import ask
from pipeline.batch_inference import questions
from pipeline.runners import local
from schemas import errors, names, versions
from serving import objectives, published, requests, training_times

_TRANSFORM = "transform_features"
# Of a history that is asked about: later than any period is long.
_LATE_MS = 1 << 51
_LONGEST_MS = 1 << 50


def find(path: str) -> tuple[str, str | None]:
    """The SavedModel that a path stands for.

    Args:
      path: the folder of a run, one with versions of a model, or a SavedModel; also in a bucket.

    Returns:
      Its folder, of versions that of the one that answers requests; and, if the run whose folder it is has pushed it, the
      experiment it is of.

    Raises:
      errors.InputError: if there is no model, or the version is damaged.
    """
    path = path.rstrip("/") or path
    if tf.io.gfile.exists(posixpath.join(path, "saved_model.pb")):
        return path, None
    base = path if "://" in path else ask.model_dir(path)
    said = published.read(base)
    found = said.versions if said else versions.found(tf.io.gfile.listdir(base))
    if not found:
        raise errors.InputError(f"{base}: no version of a model there")
    version = posixpath.join(base, str(max(found)))
    problem = verify.check(version)
    if problem:
        raise errors.InputError(f"{version} is damaged: {problem}")
    candidates = [local.pushed_experiment(path, posixpath.basename(version))]
    # To a place outside of its folder another run may have pushed, of a log that is read otherwise.
    if os.path.realpath(base).startswith(os.path.realpath(path) + os.sep):
        candidates.append(os.path.join(path, local.EXPERIMENT))
    return version, next(filter(os.path.isfile, candidates), None)


@dataclasses.dataclass(frozen=True)
class Takes:
    """What a signature takes of a log, by the feature's name.

    Attributes:
      inputs: the names of the inputs.
      numbers: those that are numbers, all of events; others are texts, times or the moment.
      objective: of the model.
    """

    inputs: dict[str, str]
    numbers: frozenset[str] = frozenset()
    objective: str | None = None

    @property
    def of_events(self) -> list[str]:
        """Attributes of events: what a history has besides `names.HISTORY`."""
        return sorted(
            name for name in self.inputs if requests.is_of_history(name) and name not in names.HISTORY
        )

    @property
    def of_users(self) -> list[str]:
        return sorted(filter(requests.is_of_user, self.inputs))


def takes(folder: str, question: questions.Question) -> Takes:
    """What the signature of a SavedModel takes: a history, MOMENT, and of some models USER_ID and attributes of users.

    Args:
      folder: of the SavedModel.
      question: what is asked.

    Raises:
      errors.InputError: if the model has no such signature, or it takes other things than what a log says of users.
    """
    known = objectives.signatures_of(folder)
    definition = known.get(question.signature)
    if definition is None or not question.suits(definition.inputs, definition.outputs):
        # TensorFlow's own are no requests.
        told = sorted(name for name in known if not name.startswith("__"))
        lacks = "no signature" if definition is None else "nothing for users in its signature"
        raise errors.InputError(
            f"{folder}: the model has {lacks} {question.signature!r}; {question.needs}; this one has "
            f"{', '.join(told) or 'none'}"
        )
    # A model that was exported when a history had no prefix takes the second name.
    taken = {
        name: next((key for key in (name, requests.key_of_event(name)) if key in definition.inputs), None)
        for name in names.HISTORY
    }
    found = {name: key for name, key in taken.items() if key is not None}
    found |= {
        name: name
        for name in definition.inputs
        if requests.is_of_history(name) or name == names.MOMENT or requests.is_of_user(name)
    }
    other = sorted(set(definition.inputs) - set(found.values()) - set(question.constants(0)))
    if other or names.HISTORY_ITEM_ID not in found:
        raise errors.InputError(
            f"{folder}: signature {question.signature!r} takes {', '.join(sorted(definition.inputs))}; expected features of "
            f"a user, of a history and its moment alone: {', '.join((*names.HISTORY, names.MOMENT))}"
        )
    number = tf.float32.as_datatype_enum
    return Takes(
        found,
        frozenset(name for name, key in found.items() if definition.inputs[key].dtype == number),
        objectives.of_signatures(known),
    )


@dataclasses.dataclass(frozen=True)
class History:
    """What a model takes for a user's history.

    Attributes:
      length: how many events, the last ones.
      past: how far back from the moment they are, in ms; None of a model that is asked at no moment.
    """

    length: int
    past: int | None


_LOADED: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
_LOADING = threading.Lock()


def load(folder: str) -> Any:
    """A SavedModel: the one that this process has in memory, as long as somebody holds it."""
    with _LOADING:
        loaded = _LOADED.get(folder)
        if loaded is None:
            loaded = _LOADED[folder] = tf.saved_model.load(folder)
        return loaded


def history_of(loaded: Any, inputs: Mapping[str, str]) -> History | None:
    """What a SavedModel cuts a history to, as its transform graph shows; None of one that does not tell.

    Args:
      loaded: of `load`.
      inputs: of `takes`.
    """
    transform = loaded.signatures[_TRANSFORM] if _TRANSFORM in loaded.signatures else None
    if transform is None or names.HISTORY_ITEM_INDEX not in transform.structured_outputs:
        return None

    def kept(age: int) -> np.ndarray:
        """Of an event that is so many ms before the moment, which places of a history have it: `[L]` bool."""
        example = tf.train.Example()
        feature = example.features.feature
        feature[inputs[names.HISTORY_ITEM_ID]].bytes_list.value.append(b"?")
        if names.HISTORY_TIMESTAMP in inputs:
            feature[inputs[names.HISTORY_TIMESTAMP]].int64_list.value.append(_LATE_MS - age)
        if names.MOMENT in inputs:
            feature[names.MOMENT].int64_list.value.append(_LATE_MS)
        found = transform(tf.constant([example.SerializeToString()]))[names.HISTORY_ITEM_INDEX]
        return found.numpy()[0] != names.PADDING_INDEX

    length = len(kept(1))
    if names.MOMENT not in inputs:
        return History(length, None)
    return History(
        length, bisect.bisect_left(range(_LONGEST_MS), True, lo=1, key=lambda age: not kept(age).any()) - 1
    )


def trained_on(loaded: Any) -> training_times.Range | None:
    """Between which times a SavedModel was trained; None of one that does not tell.

    Args:
      loaded: of `load`.
    """
    if training_times.SIGNATURE not in loaded.signatures:
        return None
    found = loaded.signatures[training_times.SIGNATURE](**{names.TIMESTAMP: tf.zeros([1], tf.int64)})
    return training_times.Range(
        *(int(found[name][0]) for name in (training_times.FIRST, training_times.LAST))
    )


class Asker:
    """A SavedModel that is asked about users.

    Args:
      folder: of the SavedModel.
      inputs: of `takes`.
      question: what is asked.
    """

    def __init__(self, folder: str, inputs: Mapping[str, str], question: questions.Question):
        # Variables and tables live as long as the model does.
        self._model = load(folder)
        self._function = self._model.signatures[question.signature]
        self._inputs, self._question = dict(inputs), question

    def __call__(self, users: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The answers `[B, ...]` by output, of what the log says of users.

        Args:
          users: by feature; of histories `[B, T]`, padded with empty item ids, of users and MOMENT `[B]`.
        """
        given = {key: tf.convert_to_tensor(users[name]) for name, key in self._inputs.items()}
        more = self._question.constants(len(users[names.HISTORY_ITEM_ID]))
        given |= {key: tf.convert_to_tensor(value) for key, value in more.items()}
        return {name: value.numpy() for name, value in self._function(**given).items()}
