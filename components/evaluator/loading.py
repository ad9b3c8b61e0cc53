"""How the Evaluator loads its models: a pushed version is a SavedModel itself, a Model artifact holds one.

The live model may be so old that it knows a history by names without a prefix. Asked as it is, it would find no history
in any window, and any candidate would beat it: it is given examples that have the old names, too.
"""

import functools
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import path_constants

from components.evaluator import among, config
from schemas import names

# What TFX puts after an artifact's place.
_WITHIN = f"/{path_constants.SERVING_MODEL_DIR}"
_EXAMPLES = "examples"


def custom_eval_shared_model(eval_saved_model_path: str, model_name: str, **options: Any) -> Any:
    """TFMA's model of a path; found by its name by TFX's Evaluator."""
    if model_name == tfma.BASELINE_KEY:
        eval_saved_model_path = eval_saved_model_path.removesuffix(_WITHIN)
    found = tfma.default_eval_shared_model(
        eval_saved_model_path=eval_saved_model_path, model_name=model_name, **options
    )
    loader = found.model_loader
    examples_uri = _candidates_of(options.get("eval_config"))
    construct: Callable[[], Any]
    if examples_uri is not None:
        among.check(eval_saved_model_path, examples_uri)
        construct = functools.partial(_among, loader.construct_fn, examples_uri)
    elif has_old_names(eval_saved_model_path):
        construct = functools.partial(_Renamed, loader.construct_fn)
    else:
        return found
    return found._replace(model_loader=tfma.types.ModelLoader(construct, loader.tags))


def with_candidates(eval_config: config_pb2.EvalConfig, examples_uri: str) -> bool:
    """Notes in a configuration where candidates are, if it asks for a ranking among them; returns whether it does."""
    asks = False
    for metric in (metric for specs in eval_config.metrics_specs for metric in specs.metrics):
        settings = json.loads(metric.config or "{}")
        if settings.get(config.CANDIDATES_WITHIN) is not None:
            metric.config = json.dumps({**settings, config.CANDIDATES_OF: examples_uri}, sort_keys=True)
            asks = True
    return asks


def _candidates_of(eval_config: config_pb2.EvalConfig | None) -> str | None:
    """The Examples artifact whose candidates are ranked; None: the whole catalogue is."""
    specs = eval_config.metrics_specs if eval_config is not None else ()
    found = (
        json.loads(metric.config or "{}").get(config.CANDIDATES_OF)
        for each in specs
        for metric in each.metrics
    )
    return next(filter(None, found), None)


def has_old_names(folder: str) -> bool:
    """Whether a SavedModel ranks items for histories without a prefix, as its signatures tell."""
    path = os.path.join(folder, tf.saved_model.SAVED_MODEL_FILENAME_PB)
    with tf.io.gfile.GFile(path, "rb") as stream:
        saved = saved_model_pb2.SavedModel.FromString(stream.read())
    inputs = {name for graph in saved.meta_graphs for name in graph.signature_def["embed"].inputs}
    return names.ITEM_ID in inputs


def with_old_names(serialized: bytes) -> bytes:
    """A serialized tf.Example that has the parts of its history without the prefix, too."""
    old = tf.train.Example()
    for name, feature in tf.train.Example.FromString(serialized).features.feature.items():
        if name in names.HISTORY:
            old.features.feature[name.removeprefix(names.HISTORY_PREFIX)].CopyFrom(feature)
    # Parts of a message that stand one behind the other are one message.
    return serialized + old.SerializeToString()


def _among(construct: Callable[[], Any], examples_uri: str) -> among.RankedAmong:
    return among.RankedAmong(construct(), examples_uri)


class _Renamed:
    """A loaded model whose `evaluate` is given examples with the old names."""

    def __init__(self, construct: Callable[[], Any]):
        self._model = construct()
        evaluate = self._model.signatures[config.SIGNATURE]

        def ask(*, examples: tf.Tensor) -> dict[str, tf.Tensor]:
            renamed = tf.numpy_function(
                lambda rows: np.array([with_old_names(row) for row in rows], object), [examples], tf.string
            )
            return evaluate(examples=tf.ensure_shape(renamed, [None]))

        spec = tf.TensorSpec([None], tf.string, name=_EXAMPLES)
        function = tf.function(ask, autograph=False).get_concrete_function(examples=spec)
        self.signatures = {**self._model.signatures, config.SIGNATURE: function}
