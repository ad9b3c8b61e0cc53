"""The model that is asked for embeddings: where it is, what it takes, and asking it."""

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
from pipeline.runners import local
from schemas import errors, names, versions
from serving import objectives, published, requests, signatures

SIGNATURE = "embed"
_TRANSFORM = "transform_features"
# Of a history that is asked about: later than any period is long.
_LATE_MS = 1 << 51
_LONGEST_MS = 1 << 50


def find(path: str) -> tuple[str, str | None]:
    """The SavedModel that a path stands for.

    Args:
      path: the folder of a run, one with versions of a model, or a SavedModel; also in a bucket.

    Returns:
      Its folder, of versions that of the one that answers requests; and, in a run's folder, the experiment it is of.

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
    candidates = (
        local.pushed_experiment(path, posixpath.basename(version)),
        os.path.join(path, local.EXPERIMENT),
    )
    return version, next(filter(os.path.isfile, candidates), None)


def inputs_of(folder: str) -> dict[str, str]:
    """What the signature of a SavedModel takes: the name of the input, by the feature of a history, and MOMENT.

    Raises:
      errors.InputError: if the model has no such signature, or it takes other things than histories.
    """
    known = objectives.signatures_of(folder)
    definition = known.get(SIGNATURE)
    if definition is None or signatures.EMBEDDING not in definition.outputs:
        # TensorFlow's own are no requests.
        told = sorted(name for name in known if not name.startswith("__"))
        raise errors.InputError(
            f"{folder}: the model has no signature {SIGNATURE!r}; models that rank items and models of users' embeddings "
            f"(byb, user_*) have it, also the model.base_model that byb_labels is finetuned from; this one has "
            f"{', '.join(told) or 'none'}"
        )
    # A model that was exported when a history had no prefix takes the second name.
    taken = {
        name: next((key for key in (name, requests.key_of_event(name)) if key in definition.inputs), None)
        for name in names.HISTORY
    }
    found = {name: key for name, key in taken.items() if key is not None}
    found |= {name: name for name in definition.inputs if requests.is_of_history(name)}
    if names.MOMENT in definition.inputs:
        found[names.MOMENT] = names.MOMENT
    other = sorted(set(definition.inputs) - set(found.values()))
    if other or names.HISTORY_ITEM_ID not in found:
        raise errors.InputError(
            f"{folder}: signature {SIGNATURE!r} takes {', '.join(sorted(definition.inputs))}; expected features of a "
            f"history and its moment alone: {', '.join((*names.HISTORY, names.MOMENT))}"
        )
    return found


def numbers_of(folder: str, inputs: Mapping[str, str]) -> list[str]:
    """Those of the features of `inputs_of` that are numbers of events: not texts, and no times."""
    takes = objectives.signatures_of(folder)[SIGNATURE].inputs
    number = tf.float32.as_datatype_enum
    return sorted(name for name, key in inputs.items() if takes[key].dtype == number)


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
      inputs: of `inputs_of`.
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


class Embedder:
    """A SavedModel that is asked for the embeddings of histories.

    Args:
      folder: of the SavedModel.
      inputs: of `inputs_of`.
    """

    def __init__(self, folder: str, inputs: Mapping[str, str]):
        # Variables and tables live as long as the model does.
        self._model = load(folder)
        self._function = self._model.signatures[SIGNATURE]
        self._inputs = dict(inputs)

    def __call__(self, histories: Mapping[str, Any]) -> np.ndarray:
        """The embeddings `[B, D]`, float32, of histories `[B, T]` by feature, padded with empty item ids.

        MOMENT is `[B]`, of a model that takes it.
        """
        given = {key: tf.convert_to_tensor(histories[name]) for name, key in self._inputs.items()}
        return self._function(**given)[signatures.EMBEDDING].numpy()
