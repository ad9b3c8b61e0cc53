"""Writes a trained model as a SavedModel that a server answers from."""

import os
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from serving import objectives

# What a SavedModel may hold beside what TensorFlow reads; TensorFlow Serving looks for the warm-up there.
EXTRA = "assets.extra"
WARMUP = "tf_serving_warmup_requests"


def export_model(
    model: Any,
    transform_output: tft.TFTransformOutput,
    export_dir: str,
    *,
    objective: str,
    exclude_seen: bool = True,
    index: Any = None,
) -> None:
    """Exports a model with its transform graph and all signatures of its objective.

    A warm-up request for each signature goes with it, so that TensorFlow Serving's first answers are not slow. A
    server does not load a version whose warm-up fails; ServerValidator is the first one to load it.

    Args:
      model: has what the module of its objective asks for, see `objectives`.
      transform_output: of TFX Transform.
      export_dir: a folder on any filesystem that TensorFlow can write to.
      objective: that it was trained for.
      exclude_seen, index: of a model that ranks, see `signatures.ServingModule`.

    Raises:
      errors.InputError: if there is no such objective.
    """
    exported = objectives.get(objective).served(model, transform_output, exclude_seen, index)
    tf.saved_model.save(exported, export_dir, signatures=exported.signatures())
    extra = os.path.join(export_dir, EXTRA)
    tf.io.gfile.makedirs(extra)
    with tf.io.TFRecordWriter(os.path.join(extra, WARMUP)) as writer:
        for signature, inputs in exported.warm_up().items():
            request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(signature_name=signature))
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
