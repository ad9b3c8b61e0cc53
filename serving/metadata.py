"""What a model tells of itself by either interface: its name and its signatures."""

from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from serving import loaded_model, tensors


def check_name(asked: str, name: str) -> None:
    """Raises RequestError for a model of another name."""
    if asked != name:
        raise loaded_model.RequestError(
            "NOT_FOUND", f"no model {tensors.shown(asked)}; this server has {name!r}"
        )


def signature_defs(model: loaded_model.LoadedModel) -> get_model_metadata_pb2.SignatureDefMap:
    """The signatures as TensorFlow Serving tells them."""
    result = get_model_metadata_pb2.SignatureDefMap()
    for name, function in model.functions.items():
        result.signature_def[name].CopyFrom(definition_of(function))
    return result


def definition_of(function: Any) -> meta_graph_pb2.SignatureDef:
    """The `SignatureDef` of a signature's function."""
    definition = meta_graph_pb2.SignatureDef(method_name="tensorflow/serving/predict")
    for key, spec in loaded_model.specs_of(function).items():
        _fill_tensor(definition.inputs[key], key, spec)
    for key, spec in function.structured_outputs.items():
        _fill_tensor(definition.outputs[key], key, spec)
    return definition


def _fill_tensor(info: Any, name: str, spec: tf.TensorSpec) -> None:
    info.name = name
    info.dtype = spec.dtype.as_datatype_enum
    info.tensor_shape.CopyFrom(spec.shape.as_proto())
