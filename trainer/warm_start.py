"""Starts a training from the weights of a model that was exported, although the vocabularies have grown since.

An embedding table has a row for each value of a vocabulary, in the order of how often it is met, which changes from day to
day. Rows are therefore carried over by their values: that of a value which both models know, and the reserved ones, are the
earlier model's; one of a new value stays as it was initialised. All other weights are the earlier model's where their shapes
agree.
"""

import dataclasses
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from schemas import names

# Where `serving.module.HeldModel` keeps the variables of a model, in the order of its `serving_variables`.
KEY = "_weights/{}/.ATTRIBUTES/VARIABLE_VALUE"
_HELD = "_weights"
# What `described` tells, beside a model.
_WEIGHTS = "weights"
# What Keras appends to the name of a layer or variable of which a process has made others before.
_COUNTED = re.compile(r"_\d+(?=[/:]|$)")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose rows are those of a vocabulary behind the reserved ones.

    Attributes:
      variable: `[FIRST_INDEX + values, D]`.
      vocabulary: its name in the transform graph.
    """

    variable: tf.Variable
    vocabulary: str


def tables(model: Any) -> list[Table]:
    """The tables of a model and its layers that say which vocabulary their rows are."""
    found = {}
    for part in model.submodules:
        for variable, vocabulary in getattr(part, "vocabulary_rows", ()):
            found[variable.ref()] = Table(variable, vocabulary)
    return list(found.values())


def described(model: Any) -> dict[str, Any]:
    """What `start` has to know of an exported model that its weights do not tell.

    A model of labels has equal layers for its fields and labels, whose names differ by a number alone: which is which is told
    by the order of both.
    """
    exposures = getattr(model, "exposures", None)
    if exposures is None:
        return {}
    of = {table.variable.ref(): table.vocabulary for table in tables(model)}
    places: dict[str, list[int]] = {}
    for place, variable in enumerate(model.serving_variables):
        if variable.ref() in of:
            places.setdefault(of[variable.ref()], []).append(place)
    return {_WEIGHTS: {"inputs": list(model.inputs_read), "labels": list(exposures.steps), "tables": places}}


def start(
    model: Any, saved: str, vocabularies: Mapping[str, Sequence[bytes]], told: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Gives a model the weights of an exported one, as far as they fit.

    Weights are found by their place among those that are exported, and must have the same name there, so that
    a model of another kind gives none. Of a model of labels with other fields or labels, or the same in another order, tables
    alone are carried over, where a vocabulary has one.

    Args:
      model: with its variables made.
      saved: the folder of a SavedModel of Footfall's.
      vocabularies: the values of each of the model's vocabularies, by its name.
      told: what is beside the exported one, with `described`.

    Returns:
      `from`: the folder; `weights`: how many were carried over, `of`: how many there are; `rows`: by vocabulary, how many
      rows were `kept` and how many are `new`.
    """
    reader = tf.train.load_checkpoint(posixpath.join(saved, "variables", "variables"))
    named = names_of(saved)
    of = {table.variable.ref(): table.vocabulary for table in tables(model)}
    trainable = {variable.ref() for variable in model.trainable_variables}
    carried, rows = 0, {}
    exported = list(model.serving_variables)
    for place, variable in _places(model, exported, (told or {}).get(_WEIGHTS)):
        key = KEY.format(place)
        if variable.ref() not in trainable or place >= len(named) or named[place] != plain(variable.name):
            continue
        value = reader.get_tensor(key)
        vocabulary = of.get(variable.ref())
        before = vocabulary_of(saved, vocabulary) if vocabulary in vocabularies else None
        if before is not None:
            if value.shape[1:] != tuple(variable.shape[1:]) or len(value) != len(before) + names.FIRST_INDEX:
                continue
            kept = carry(variable, value, before, vocabularies[vocabulary])
            rows[vocabulary] = {"kept": kept, "new": len(vocabularies[vocabulary]) - kept}
        elif value.shape == tuple(variable.shape):
            variable.assign(value)
        else:
            continue
        carried += 1
    count = sum(variable.ref() in trainable for variable in exported)
    return {"from": saved, "weights": carried, "of": count, "rows": rows}


def _places(
    model: Any, exported: Sequence[tf.Variable], before: Mapping[str, Any] | None
) -> Iterator[tuple[int, tf.Variable]]:
    """The variables that may be carried over, each with its place in the exported model."""
    now = described(model).get(_WEIGHTS)
    if now is None or before is not None and all(now[key] == before[key] for key in ("inputs", "labels")):
        yield from enumerate(exported)
        return
    found = (before or {}).get("tables", {})
    for vocabulary, places in now["tables"].items():
        # Of several, as of a model for each label, it is not known which is which.
        if len(places) == len(found.get(vocabulary, ())) == 1:
            yield found[vocabulary][0], exported[places[0]]


def carry(variable: tf.Variable, value: np.ndarray, before: Sequence[bytes], now: Sequence[bytes]) -> int:
    """Writes the reserved rows and those of values that were known before; returns how many values were."""
    place = {one: row for row, one in enumerate(before)}
    known = [(row, place[one]) for row, one in enumerate(now) if one in place]
    table = variable.numpy()
    table[: names.FIRST_INDEX] = value[: names.FIRST_INDEX]
    if known:
        to, source = (np.array(column) + names.FIRST_INDEX for column in zip(*known))
        table[to] = value[source]
    variable.assign(table)
    return len(known)


def vocabulary_of(saved: str, name: str) -> list[bytes] | None:
    """The values of a vocabulary of a SavedModel, in their order; None if it has none of that name."""
    path = os.path.join(saved, "assets", name)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as stream:
        text = stream.read().removesuffix(b"\n")
    return text.split(b"\n") if text else []


def names_of(saved: str) -> list[str]:
    """The plain names of the weights of a SavedModel, by their place."""
    parsed = saved_model_pb2.SavedModel()
    with tf.io.gfile.GFile(os.path.join(saved, "saved_model.pb"), "rb") as stream:
        parsed.ParseFromString(stream.read())
    nodes = parsed.meta_graphs[0].object_graph_def.nodes
    held = next((child.node_id for child in nodes[0].children if child.local_name == _HELD), None)
    if held is None:
        return []
    places = {int(child.local_name): child.node_id for child in nodes[held].children}
    return [plain(nodes[places[place]].variable.name) for place in sorted(places)]


def plain(name: str) -> str:
    """A variable's name without what depends on the process."""
    return _COUNTED.sub("", name.removesuffix(":0"))
