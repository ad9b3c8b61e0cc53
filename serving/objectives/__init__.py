"""What a served model answers: one module for each objective, found by its name or by a model's signatures."""

import os
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

from schemas import errors, kinds

# Modules that import TensorFlow are named, so that what only asks for names does without it.
OBJECTIVES = {
    "ranking": "serving.objectives.ranking",
    "labels": "serving.objectives.labels",
    "user_embedding": "serving.objectives.user_embedding",
}

# Signatures of a model, and the names of the outputs of each.
Outputs = Mapping[str, Collection[str]]


def get(name: str) -> ModuleType:
    """The module of an objective.

    Raises:
      errors.InputError: if there is none.
    """
    return kinds.objective_module(OBJECTIVES, name)


def of_outputs(outputs: Outputs) -> str | None:
    """The objective of a model by its signatures alone; None for a model that is none of Footfall's."""
    return next((name for name in OBJECTIVES if get(name).is_of(outputs)), None)


def of_signatures(definitions: Mapping[str, Any]) -> str | None:
    """As `of_outputs`, of a model's `SignatureDef` by name."""
    return of_outputs({name: set(definition.outputs) for name, definition in definitions.items()})


def signatures_of(folder: str) -> dict[str, Any]:
    """The signatures of a SavedModel, whose graph is not loaded: `SignatureDef` by name.

    Raises:
      errors.InputError: if there is no SavedModel, or its file is damaged.
    """
    import tensorflow as tf
    from google.protobuf import message
    from tensorflow.core.protobuf import saved_model_pb2

    path = os.path.join(folder, "saved_model.pb")
    try:
        with tf.io.gfile.GFile(path, "rb") as stream:
            found = saved_model_pb2.SavedModel.FromString(stream.read())
    except tf.errors.NotFoundError as error:
        raise errors.InputError(f"{folder}: no SavedModel") from error
    except message.DecodeError as error:
        raise errors.InputError(f"{path}: damaged: not a SavedModel ({error})") from error
    return {
        name: definition for graph in found.meta_graphs for name, definition in graph.signature_def.items()
    }


def of_saved_model(folder: str) -> str:
    """The objective of a SavedModel, whose graph is not loaded.

    Raises:
      errors.InputError: if there is no SavedModel, or it has none of the signatures of an objective.
    """
    found = signatures_of(folder)
    objective = of_signatures(found)
    if objective is None:
        raise errors.InputError(
            f"{folder}: its signatures ({', '.join(sorted(found)) or 'none'}) are of no objective: "
            f"{', '.join(OBJECTIVES)}"
        )
    return objective
