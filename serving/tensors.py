"""Values of requests as arrays of exactly the types that a signature takes.

What a sender wrote is never converted in silence: another type, a number out of range and rows of
different lengths are refused, with one sentence, as TensorFlow Serving refuses them.
"""

import base64
import binascii
import math
from typing import Any

import numpy as np
import tensorflow as tf

_SHOWN = 80
_POINTER_BYTES = 8
# Where a TensorProto has the values of a type, if not as bytes in tensor_content.
_FIELDS = {
    tf.string: "string_val",
    tf.bool: "bool_val",
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.int16: "int_val",
    tf.int8: "int_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.half: "half_val",
    tf.bfloat16: "half_val",
}


def shown(value: Any) -> str:
    """A value for a message: one line that is not long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def of_proto(name: str, spec: tf.TensorSpec, proto: Any, max_bytes: int) -> np.ndarray:
    """A TensorProto as an array of the input's type and shape; texts are bytes in an object array.

    Args:
      name: of the input.
      spec: what the signature takes.
      proto: as it came.
      max_bytes: of an array that is larger than what was sent: a tensor may stand for many equal values.

    Raises:
      ValueError: naming the input, what it takes and what was found.
    """
    if proto.dtype != spec.dtype.as_datatype_enum:
        raise ValueError(f"input {name!r} wants {spec.dtype.name}, found {_type_name(proto.dtype)}")
    field = _FIELDS.get(spec.dtype)
    if field is None:
        raise ValueError(f"input {name!r}: tensors of {spec.dtype.name} are not read from requests")
    if proto.tensor_shape.unknown_rank:
        raise ValueError(f"input {name!r} wants shape {spec.shape}, found one of unknown rank")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise ValueError(f"input {name!r} has a negative dimension in its shape {shown(shape)}")
    if not spec.shape.is_compatible_with(shape):
        raise ValueError(f"input {name!r} wants shape {spec.shape}, found {shown(shape)}")
    count = math.prod(shape)
    if proto.tensor_content:
        return _of_content(name, spec, proto.tensor_content, shape)
    given = len(getattr(proto, field))
    if given > count:
        raise ValueError(f"input {name!r} has {given} values, its shape {shown(shape)} holds {count}")
    size = _POINTER_BYTES if spec.dtype == tf.string else spec.dtype.size
    if given < count and count * size > max_bytes:
        raise ValueError(
            f"input {name!r} has {given} values, its shape {shown(shape)} holds {count}, which is more than "
            f"{max_bytes} bytes"
        )
    if not given:
        # As TensorFlow reads a tensor without values: all are zero, or empty texts.
        return (
            np.full(shape, b"", object)
            if spec.dtype == tf.string
            else np.zeros(shape, spec.dtype.as_numpy_dtype)
        )
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"input {name!r} cannot be read as {spec.dtype.name}: {shown(str(error))}"
        ) from error


def _of_content(name: str, spec: tf.TensorSpec, content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    if spec.dtype == tf.string:
        raise ValueError(f"input {name!r} has its texts in tensor_content; they go in string_val")
    expected = math.prod(shape) * spec.dtype.size
    if len(content) != expected:
        raise ValueError(
            f"input {name!r} has {len(content)} bytes of content, shape {shown(shape)} of {spec.dtype.name} "
            f"needs {expected}"
        )
    return np.frombuffer(content, spec.dtype.as_numpy_dtype).reshape(shape)


def _type_name(number: int) -> str:
    try:
        return tf.dtypes.as_dtype(number).name
    except TypeError:
        return "no type" if number == 0 else f"an unknown type ({number})"


def of_json(name: str, spec: tf.TensorSpec, value: Any) -> np.ndarray:
    """Nested lists as an array of the input's type; `{"b64": "..."}` stands for bytes.

    Args:
      name: of the input.
      spec: what the signature takes.
      value: of a JSON request.

    Raises:
      ValueError: naming the input, what it takes and what was found.
    """
    rank = spec.shape.rank
    if rank is None:
        raise ValueError(f"input {name!r}: an input of unknown rank is not read from JSON; ask by gRPC")
    shape: list[int] = []
    level = [value]
    for depth in range(rank):
        if not all(isinstance(item, list) for item in level):
            odd = next(item for item in level if not isinstance(item, list))
            raise ValueError(
                f"input {name!r} wants shape {spec.shape}, found {shown(odd)} {_depth(depth)} lists"
            )
        lengths = {len(item) for item in level}
        if len(lengths) > 1:
            raise ValueError(
                f"input {name!r} has rows of different lengths: {min(lengths)} to {max(lengths)} values"
            )
        shape.append(lengths.pop() if lengths else 0)
        level = [inner for item in level for inner in item]
    if not spec.shape.is_compatible_with(shape):
        raise ValueError(f"input {name!r} wants shape {spec.shape}, found {shown(tuple(shape))}")
    if spec.dtype == tf.string:
        values = np.empty(len(level), object)
        values[:] = [_bytes(name, item) for item in level]
    else:
        values = _numbers(name, spec.dtype, level)
    return values.reshape(shape)


def _depth(depth: int) -> str:
    return "in place of" if not depth else f"within {depth} of its"


def _bytes(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"input {name!r}: {shown(value)} is no text: half a surrogate pair") from error
    if not isinstance(value, dict) or set(value) != {"b64"}:
        raise ValueError(f"input {name!r} wants string, found {shown(value)}")
    if not isinstance(value["b64"], str):
        raise ValueError(f"input {name!r}: 'b64' is not base64: found {shown(value['b64'])}")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"input {name!r}: 'b64' is not base64: {error}") from error


def _numbers(name: str, dtype: tf.DType, values: list[Any]) -> np.ndarray:
    allowed = {bool} if dtype == tf.bool else {int} if dtype.is_integer else {int, float}
    if not set(map(type, values)) <= allowed:
        odd = next(value for value in values if type(value) not in allowed)
        raise ValueError(f"input {name!r} wants {dtype.name}, found {shown(odd)}")
    if dtype.is_integer and values and not (dtype.min <= min(values) and max(values) <= dtype.max):
        odd = next(value for value in values if not dtype.min <= value <= dtype.max)
        raise ValueError(f"input {name!r} wants {dtype.name}, found {shown(odd)}, which is out of its range")
    if dtype.is_floating:
        # As TensorFlow Serving: what is written as a whole number is one that the type can count up to.
        known = np.finfo(dtype.as_numpy_dtype)
        most = 1 << (known.nmant + 1)
        inexact = (value for value in values if type(value) is int and most <= abs(value) <= float(known.max))
        odd = next(inexact, None)
        if odd is not None:
            raise ValueError(
                f"input {name!r} wants {dtype.name}, found {odd}, which it does not hold exactly: write {float(odd)}"
            )
    try:
        exact = np.array(values, np.float64 if dtype.is_floating else dtype.as_numpy_dtype)
    except OverflowError as error:
        raise ValueError(f"input {name!r} wants {dtype.name}, found a number out of its range") from error
    with np.errstate(over="ignore"):
        found = exact.astype(dtype.as_numpy_dtype)
    if dtype.is_floating and (np.isfinite(exact) & ~np.isfinite(found.astype(np.float64))).any():
        odd = exact[np.isfinite(exact) & ~np.isfinite(found.astype(np.float64))][0]
        raise ValueError(f"input {name!r} wants {dtype.name}, found {odd}, which is out of its range")
    return found
