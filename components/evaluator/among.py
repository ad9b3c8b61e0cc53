"""Models that rank among the candidates of each window's moment, see `evaluation.candidates_within`."""

import os
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.behavior_example_gen import candidates
from components.evaluator import config
from schemas import errors, names
from serving import signatures

# Stands behind all moments, with nothing seen before it.
_NEVER = np.iinfo(np.int64).max


def check(model: str, examples_uri: str) -> None:
    """Checks that a model can rank among candidates, and that examples have some.

    Args:
      model: the folder of a SavedModel.
      examples_uri: of the Examples artifact.

    Raises:
      errors.InputError: if one does not.
    """
    candidates.check(examples_uri)
    path = os.path.join(model, tf.saved_model.SAVED_MODEL_FILENAME_PB)
    with tf.io.gfile.GFile(path, "rb") as stream:
        saved = saved_model_pb2.SavedModel.FromString(stream.read())
    objects = (graph.object_graph_def.nodes for graph in saved.meta_graphs)
    known = {child.local_name for nodes in objects for child in (nodes[0].children if nodes else ())}
    if signatures.EVALUATE_AMONG not in known:
        raise errors.InputError(
            f"evaluation.candidates_within: {model}: this model ranks the whole catalogue alone, as it was exported by "
            "an earlier Footfall. If it is the live one, push a new model without the setting first"
        )


class RankedAmong:
    """A loaded model whose `evaluate` ranks among candidates: `signatures` has that one in place of its own.

    Args:
      model: of a SavedModel.
      examples_uri: of the Examples artifact, which has the candidates; see `check`.
    """

    def __init__(self, model: Any, examples_uri: str):
        self._model = model
        moments, places, items = candidates.read(examples_uri)
        rows = getattr(self._model, signatures.CATALOGUE_ROWS)(
            tf.constant(items.to_pylist(), tf.string)
        ).numpy()
        rows = rows[places]
        # What training does not know is no candidate.
        moments, rows = moments[rows >= 0], rows[rows >= 0]
        known, first = np.unique(moments, return_index=True)
        # Variables, as constants would be read with every graph.
        self._moments = _variable(np.append(known, _NEVER))
        self._splits = _variable(np.concatenate([first, [len(rows)] * 2]))
        self._rows = _variable(rows)
        spec = tf.TensorSpec([None], tf.string, name=signatures.EXAMPLES)
        function = tf.function(self._evaluate, autograph=False).get_concrete_function(examples=spec)
        self.signatures = {**self._model.signatures, config.SIGNATURE: function}

    def _evaluate(self, *, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        feature = {names.MOMENT: tf.io.FixedLenFeature([], tf.int64)}
        moments = tf.io.parse_example(examples, feature)[names.MOMENT]
        place = tf.searchsorted(self._moments, moments)
        missing = tf.gather(self._moments, place) != moments
        # A batch has few moments: their sets are read once, and not for each window.
        chosen, which = tf.unique(tf.where(missing, tf.size(self._moments) - 1, place), tf.int64)
        first = tf.gather(self._splits, chosen)
        sets = tf.ragged.range(first, tf.gather(self._splits, chosen + 1))
        rows = tf.ragged.map_flat_values(lambda at: tf.gather(self._rows, at), sets)
        return getattr(self._model, signatures.EVALUATE_AMONG)(examples, rows.to_tensor(-1), which)


def _variable(values: np.ndarray) -> tf.Variable:
    return tf.Variable(values.astype(np.int64), trainable=False)
