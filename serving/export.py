"""Writes a trained model as a SavedModel that a server answers from."""

import os
from typing import Any, Dict

import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from schemas import names
from serving import signatures

_WARMUP = "tf_serving_warmup_requests"
_WARMUP_ITEMS = 2


def export_model(
    model: Any, transform_output: tft.TFTransformOutput, export_dir: str, *, exclude_seen: bool
) -> None:
    """Exports a model with its transform graph and all signatures of `serving.signatures`.

    A warm-up request goes with it, so that TensorFlow Serving's first answer is not slow.

    Args:
      model: see `signatures.ServingModule`.
      transform_output: of TFX Transform.
      export_dir: a folder on any filesystem that TensorFlow can write to.
      exclude_seen: see `signatures.ServingModule`.
    """
    module = signatures.ServingModule(model, transform_output, exclude_seen)
    functions = module.signatures()
    tf.saved_model.save(module, export_dir, signatures=functions)
    extra = os.path.join(export_dir, "assets.extra")
    tf.io.gfile.makedirs(extra)
    items = transform_output.vocabulary_by_name(names.ITEM_VOCABULARY)[:_WARMUP_ITEMS]
    with tf.io.TFRecordWriter(os.path.join(extra, _WARMUP)) as writer:
        request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(signature_name="recommend"))
        for name, value in _example_inputs(module, items).items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        log = prediction_log_pb2.PredictLog(request=request)
        writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())


def _example_inputs(module: signatures.ServingModule, items: Any) -> Dict[str, tf.Tensor]:
    inputs = {
        name: tf.zeros([1, len(items)], tf.int64) if name == names.TIMESTAMP else tf.fill([1, len(items)], "")
        for name in module.history
    }
    inputs[names.ITEM_ID] = tf.constant([list(items)])
    inputs[signatures.EXCLUDE] = tf.fill([1, 0], "")
    inputs[signatures.K] = tf.constant([signatures.DEFAULT_K])
    return inputs
