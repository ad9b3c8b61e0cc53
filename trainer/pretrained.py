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

import tensorflow as tf

from components.transform import vocabulary as vocabulary_lib
from schemas import errors, names
from serving import networks
from trainer import network as network_lib
from trainer import warm_start

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
        described[networks.NETWORK] = model.network.described
    with tf.io.gfile.GFile(posixpath.join(folder, networks.SETTINGS), "w") as stream:
        stream.write(json.dumps({**described, **warm_start.described(model), **(learnt or {})}))


def start(
    model: Any,
    saved: str,
    vocabularies: Mapping[str, Sequence[bytes]],
    counts: Mapping[str, Mapping[bytes, int]] | None = None,
) -> dict[str, Any]:
    """Gives a model a pretrained network.

    Args:
      model: with its variables made and a `network`.
      saved: the folder of a SavedModel with such a network, as of a `pretraining.Pretraining`.
      vocabularies: the values of each of the model's vocabularies, by its name.
      counts: how many events have each value, of those vocabularies of which it is known.

    Returns:
      As `warm_start.start`; where counts are known, also which share of the events have new values, `new_events`; and
      whether the network is `frozen`.

    Raises:
      errors.InputError: if the network is another one; the message has all that differs.
    """
    network = model.network
    asked = {**network_lib.settings_of(model.settings), networks.NETWORK: network.described}
    networks.check(saved, asked)
    reader = tf.train.load_checkpoint(posixpath.join(saved, "variables", "variables"))
    tables = {table.variable.ref(): table.vocabulary for table in warm_start.tables(model)}
    variables = list(network.variables)
    found = [_OWNER.sub("", name) for name in warm_start.names_of(saved)[: len(variables)]]
    wanted = [_OWNER.sub("", warm_start.plain(variable.name)) for variable in variables]
    if found != wanted:
        raise errors.InputError(
            f"model.base_model: {saved} was pretrained on other columns of the log, or with other settings: its weights are "
            f"{_listed(found)}, those of this model {_listed(wanted)}"
        )
    of = [tables.get(variable.ref()) for variable in variables]
    before = {name: warm_start.vocabulary_of(saved, name) for name in of if name in vocabularies}
    shapes = reader.get_variable_to_shape_map()
    wrong = []
    for place, (variable, vocabulary) in enumerate(zip(variables, of)):
        shape, own = shapes[warm_start.KEY.format(place)], list(variable.shape)
        by_value = vocabulary in before
        if shape[1:] != own[1:] or not by_value and shape != own:
            named = f"{wanted[place]}{f' ({vocabulary})' if vocabulary else ''}"
            wrong.append(f"{named} is of shape {shape}, found {own}")
        elif by_value:
            wrong += _unlike(vocabulary, shape[0], before[vocabulary], vocabularies[vocabulary])
    if wrong:
        raise errors.InputError(
            f"model.base_model: {saved} was pretrained on other columns of the log, or with other settings: "
            f"{'; '.join(wrong)}: log.columns has to name the same columns, and window.past, with encoder: causal "
            "window.length, the buckets of numbers and the settings of the network have to be those of the pretraining"
        )
    rows: dict[str, dict[str, Any]] = {}
    for place, (variable, vocabulary) in enumerate(zip(variables, of)):
        value = reader.get_tensor(warm_start.KEY.format(place))
        if vocabulary not in before:
            variable.assign(value)
            continue
        if not network.trainable:
            # As the pretrained network has them: it trains no row any more.
            variable.assign(tf.broadcast_to(value[names.OOV_INDEX], variable.shape))
        kept = warm_start.carry(variable, value, before[vocabulary] or (), vocabularies[vocabulary])
        now = vocabularies[vocabulary]
        rows[vocabulary] = {"kept": kept, "new": len(now) - kept}
        share = _share(set(now) - set(before[vocabulary] or ()), now, (counts or {}).get(vocabulary, {}))
        if share is not None:
            rows[vocabulary]["new_events"] = share
    number = len(variables)
    return {"from": saved, "weights": number, "of": number, "rows": rows, "frozen": not network.trainable}


def _share(new: set[bytes], known: Sequence[bytes], counts: Mapping[bytes, int]) -> float | None:
    """Which share of the events of known values have new ones; None where they are not counted."""
    events = sum(counts.get(value, 0) for value in known)
    return sum(counts.get(value, 0) for value in new) / events if events else None


def _unlike(vocabulary: str, rows: int, before: Sequence[bytes] | None, now: Sequence[bytes]) -> list[str]:
    """Why a table's rows cannot be carried over by their values, if they cannot."""
    if before is None or rows != len(before) + names.FIRST_INDEX:
        return [
            f"it has {'no vocabulary' if before is None else 'another vocabulary in place'} of {vocabulary}"
        ]
    # A column without any value has TFT's word for nothing.
    if not set(before) & set(now) and [vocabulary_lib.NOTHING] not in (list(before), list(now)):
        return [
            f"of the {len(now):,} values of {vocabulary} ({_shown(now)}) it has met none in its pretraining, but "
            f"{len(before):,} others ({_shown(before)})"
        ]
    return []


def _shown(values: Sequence[bytes]) -> str:
    shown = ", ".join(value.decode("utf-8", "replace") for value in values[:3])
    return f"{shown}, ..." if len(values) > 3 else shown


def _listed(found: Sequence[str]) -> str:
    shown = ", ".join(os.path.basename(name) for name in found[:8])
    return f"{len(found)} ({shown}, ...)" if len(found) > 8 else f"{len(found)} ({shown})"
