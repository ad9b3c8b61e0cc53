"""Gives a model the network of users that another one has pretrained.

The network's weights are the first of both models, in the same order and by the same names. Unlike a warm start, where what
does not fit is left as it is, a pretrained network fits as a whole or is refused: it is of the same columns, by their names
in an event, of the same past, and knows some value of each column. Rows of embedding tables go by their values: one that the
pretraining has not met keeps its initial row, or, where the network is frozen, is that of unknown values.
Rows of a number's buckets go by their place: the third twentieth of the one training's numbers is that of the other's, but
where `boundaries` say what it is.
"""

import json
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components.transform import vocabulary as vocabulary_lib
from schemas import errors, figures, names
from serving import export
from trainer import warm_start
from trainer.settings import users as users_settings

# Beside a SavedModel: the settings of its model, and of what its network of users is, which its weights do not tell.
SETTINGS = posixpath.join(export.EXTRA, "model.json")
_NETWORK, _LENGTH = "network", "length"
# Settings of the network that do not change what it is.
_FREE = {"name", "dropout"}
# What a model's name is in front of the names of its weights.
_OWNER = re.compile(r"^[^/]+/(?=users/)")


def note(model: Any, folder: str, learnt: Mapping[str, Any] | None = None) -> None:
    """Writes what a model is beside its SavedModel.

    Args:
      model: that is saved.
      folder: of the SavedModel.
      learnt: of `learnt.told`.
    """
    described = json.loads(model.settings.to_json())
    if model.network is not None:
        described[_NETWORK] = _kept(model.network)
    with tf.io.gfile.GFile(posixpath.join(folder, SETTINGS), "w") as stream:
        stream.write(json.dumps({**described, **warm_start.described(model), **(learnt or {})}))


def told(saved: str) -> dict[str, Any]:
    """What `note` wrote beside a SavedModel; nothing of a version before there was such a file."""
    path = posixpath.join(saved, SETTINGS)
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path) as stream:
        return json.loads(stream.read())


def start(model: Any, saved: str, vocabularies: Mapping[str, Sequence[bytes]]) -> dict[str, Any]:
    """Gives a model a pretrained network.

    Args:
      model: with its variables made and a `network`.
      saved: the folder of a SavedModel with such a network, as of a `pretraining.Pretraining`.
      vocabularies: the values of each of the model's vocabularies, by its name.

    Returns:
      As `warm_start.start`.

    Raises:
      errors.InputError: if the network is another one.
    """
    _check_told(model, saved)
    reader = tf.train.load_checkpoint(posixpath.join(saved, "variables", "variables"))
    tables = {table.variable.ref(): table.vocabulary for table in warm_start.tables(model)}
    variables = list(model.network.variables)
    found = [_OWNER.sub("", name) for name in warm_start.names_of(saved)[: len(variables)]]
    wanted = [_OWNER.sub("", warm_start.plain(variable.name)) for variable in variables]
    if found != wanted:
        raise errors.InputError(
            f"model.base_model: {saved} was pretrained on other columns of the log, or with other settings: its weights are "
            f"{_listed(found)}, those of this model {_listed(wanted)}"
        )
    rows = {}
    for place, variable in enumerate(variables):
        value = reader.get_tensor(warm_start.KEY.format(place))
        vocabulary = tables.get(variable.ref())
        if vocabulary in vocabularies and value.shape[1:] == tuple(variable.shape[1:]):
            now = vocabularies[vocabulary]
            kept = _carry(variable, value, vocabulary, saved, now, frozen=not model.network.trainable)
            rows[vocabulary] = {"kept": kept, "new": len(now) - kept}
        elif value.shape == tuple(variable.shape):
            variable.assign(value)
        else:
            raise errors.InputError(
                f"model.base_model: {saved} has {wanted[place]}{f' ({vocabulary})' if vocabulary else ''} of shape "
                f"{list(value.shape)}, this model {list(variable.shape)}: window.past, with encoder: causal window.length, the "
                "buckets of numbers and the settings of the network have to be those of the pretraining"
            )
    return {"from": saved, "weights": len(variables), "of": len(variables), "rows": rows}


def _carry(
    variable: tf.Variable, value: np.ndarray, vocabulary: str, saved: str, now: Sequence[bytes], frozen: bool
) -> int:
    """Writes a table's rows; returns how many of its values the pretraining knew."""
    before = warm_start.vocabulary_of(saved, vocabulary)
    if before is None or len(value) != len(before) + names.FIRST_INDEX:
        raise errors.InputError(
            f"model.base_model: {saved} was pretrained on other columns of the log: it has "
            f"{'no vocabulary' if before is None else 'another vocabulary in place'} of {vocabulary}"
        )
    if frozen:
        # As the pretrained network has them: it trains no row any more.
        variable.assign(tf.broadcast_to(value[names.OOV_INDEX], variable.shape))
    kept = warm_start.carry(variable, value, before, now)
    # A column without any value has TFT's word for nothing.
    if not kept and [vocabulary_lib.NOTHING] not in (before, list(now)):
        raise errors.InputError(
            f"model.base_model: of the {len(now):,} values of {vocabulary} ({_shown(now)}) {saved} has met none in its "
            f"pretraining, but {len(before):,} others ({_shown(before)}): log.columns has to name the same columns"
        )
    return kept


def _shown(values: Sequence[bytes]) -> str:
    shown = ", ".join(value.decode("utf-8", "replace") for value in values[:3])
    return f"{shown}, ..." if len(values) > 3 else shown


def _check_told(model: Any, saved: str) -> None:
    """Refuses a network with other settings or of other data, as far as the pretrained model tells its own."""
    before = told(saved)
    # Nor those that its encoder does not read.
    free = _FREE | {one.key for one in model.settings.idle()}
    for name in users_settings.UserEncoderSettings.model_fields:
        own = getattr(model.settings, name)
        if name not in free and name in before and before[name] != own:
            raise errors.InputError(
                f"model.{name} is {own}, and {before[name]} of the pretrained model {saved}: set it to the same"
            )
    before, now = before.get(_NETWORK), _kept(model.network)
    if before is None:
        # Of a version that did not tell.
        return
    if before["columns"] != now["columns"]:
        raise errors.InputError(
            f"model.base_model: {saved} was pretrained on events with {', '.join(before['columns'])}, those of this model "
            f"have {', '.join(now['columns'])}: log.columns has to name the same"
        )
    for name, buckets in before["numbers"].items():
        if buckets != now["numbers"].get(name):
            raise errors.InputError(
                f"model.base_model: {saved} was pretrained with other buckets of {name}: {buckets}, found "
                f"{now['numbers'].get(name)}: features.options has to say the same"
            )
    if before["past_seconds"] != now["past_seconds"]:
        raise errors.InputError(
            f"model.base_model: {saved} was pretrained on a past of {figures.duration(before['past_seconds'])}, found "
            f"window.past of {figures.duration(now['past_seconds'])}: set it to the same"
        )
    # Which a version before did not tell.
    if before.get(_LENGTH, now[_LENGTH]) != now[_LENGTH]:
        raise errors.InputError(
            f"model.base_model: {saved} was pretrained with a window.length of {before[_LENGTH]}, found {now[_LENGTH]}: with "
            "encoder: causal it has a vector for each place, so set it to the same"
        )


def _kept(network: Any) -> dict[str, Any]:
    return {**network.known.kept, _LENGTH: network.length}


def _listed(found: Sequence[str]) -> str:
    shown = ", ".join(os.path.basename(name) for name in found[:8])
    return f"{len(found)} ({shown}, ...)" if len(found) > 8 else f"{len(found)} ({shown})"
