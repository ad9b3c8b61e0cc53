"""Gives a model the network of users that another one has pretrained.

The network's weights are the first of both models, in the same order and by the same names. Unlike a warm start, where what
does not fit is left as it is, a pretrained network fits as a whole or is refused. Rows of embedding tables go by their
values: one that the pretraining has not met keeps its initial row, as those of out-of-vocabulary values it has trained.
Rows of a number's buckets go by their place: the third twentieth of the one training's numbers is that of the other's, but
where `boundaries` say what it is.
"""

import json
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from schemas import errors
from serving import export
from trainer import warm_start
from trainer.settings import users as users_settings

# Beside a SavedModel: the settings of its model, which its weights do not tell.
SETTINGS = posixpath.join(export.EXTRA, "model.json")
# Settings of the network that do not change what it is.
_FREE = {"name", "dropout"}
# What a model's name is in front of the names of its weights.
_OWNER = re.compile(r"^[^/]+/(?=users/)")


def note(settings: Any, folder: str) -> None:
    """Writes the settings of a model beside its SavedModel."""
    with tf.io.gfile.GFile(posixpath.join(folder, SETTINGS), "w") as stream:
        stream.write(settings.to_json())


def start(model: Any, saved: str, vocabularies: Mapping[str, Sequence[bytes]]) -> dict[str, Any]:
    """Gives a model a pretrained network.

    Args:
      model: with its variables made; `users` is the network.
      saved: the folder of a SavedModel with such a network, as of a `pretraining.Pretraining`.
      vocabularies: the values of each of the model's vocabularies, by its name.

    Returns:
      As `warm_start.start`.

    Raises:
      errors.InputError: if the network is another one.
    """
    _check_settings(model.settings, saved)
    reader = tf.train.load_checkpoint(posixpath.join(saved, "variables", "variables"))
    tables = {table.variable.ref(): table.vocabulary for table in warm_start.tables(model)}
    variables = list(model.users.variables)
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
        before = warm_start.vocabulary_of(saved, vocabulary) if vocabulary in vocabularies else None
        if before is not None and value.shape[1:] == tuple(variable.shape[1:]):
            kept = warm_start.carry(variable, value, before, vocabularies[vocabulary])
            rows[vocabulary] = {"kept": kept, "new": len(vocabularies[vocabulary]) - kept}
        elif value.shape == tuple(variable.shape):
            variable.assign(value)
        else:
            raise errors.InputError(
                f"model.base_model: {saved} has {wanted[place]}{f' ({vocabulary})' if vocabulary else ''} of shape "
                f"{list(value.shape)}, this model {list(variable.shape)}: window.past, the buckets of numbers and the "
                "settings of the network have to be those of the pretraining"
            )
    return {"from": saved, "weights": len(variables), "of": len(variables), "rows": rows}


def _check_settings(settings: Any, saved: str) -> None:
    """Refuses a network with other settings, as far as the pretrained model tells its own."""
    path = posixpath.join(saved, SETTINGS)
    if not tf.io.gfile.exists(path):
        return
    with tf.io.gfile.GFile(path) as stream:
        told = json.loads(stream.read())
    for name in users_settings.UserEncoderSettings.model_fields:
        own = getattr(settings, name)
        if name not in _FREE and name in told and told[name] != own:
            raise errors.InputError(
                f"model.{name} is {own}, and {told[name]} of the pretrained model {saved}: set it to the same"
            )


def _listed(found: Sequence[str]) -> str:
    shown = ", ".join(os.path.basename(name) for name in found[:8])
    return f"{len(found)} ({shown}, ...)" if len(found) > 8 else f"{len(found)} ({shown})"
