"""Values of requests become arrays of exactly the types of a signature, or one sentence says why not."""

import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving import tensors

TEXTS = tf.TensorSpec([None, None], tf.string)
K = tf.TensorSpec([None], tf.int32)
TIMES = tf.TensorSpec([None, None], tf.int64)
PRICE = tf.TensorSpec([None], tf.float32)


def proto(dtype, shape, **values):
    made = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    for name, given in values.items():
        if name == "tensor_content":
            made.tensor_content = given
        else:
            getattr(made, name).extend(given)
    return made


@pytest.mark.parametrize(
    "spec, value",
    [
        (K, np.array([1, 2, -3], np.int32)),
        (TIMES, np.array([[1, 2**62], [-1, 0]], np.int64)),
        (PRICE, np.array([1.5, np.nan, -np.inf], np.float32)),
        (TEXTS, np.array([[b"a", b"\xff\0"], [b"", b"c"]], object)),
        (TEXTS, np.empty([3, 0], object)),
    ],
)
def test_what_a_client_sends_arrives(spec, value):
    found = tensors.of_proto("x", spec, tf.make_tensor_proto(value, spec.dtype), 1 << 20)
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)


def test_short_forms_mean_what_tensorflow_says():
    """The last value stands for all that follow; none at all are zeros."""
    assert tensors.of_proto("k", K, proto(tf.int32, [4], int_val=[7, 8]), 1000).tolist() == [7, 8, 8, 8]
    assert tensors.of_proto("k", K, proto(tf.int32, [2]), 1000).tolist() == [0, 0]
    assert tensors.of_proto("t", TEXTS, proto(tf.string, [1, 2]), 1000).tolist() == [[b"", b""]]
    bytes_of = np.array([3, 4], "<i4").tobytes()
    assert tensors.of_proto("k", K, proto(tf.int32, [2], tensor_content=bytes_of), 1000).tolist() == [3, 4]


@pytest.mark.parametrize(
    "spec, given, words",
    [
        (K, proto(tf.float32, [1], float_val=[math.nan]), "'x' wants int32, found float32"),
        (K, proto(tf.int64, [1], int64_val=[2**40]), "'x' wants int32, found int64"),
        (K, proto(tf.bool, [1], bool_val=[True]), "'x' wants int32, found bool"),
        (K, tensor_pb2.TensorProto(dtype=999), "'x' wants int32, found an unknown type (999)"),
        (K, tensor_pb2.TensorProto(), "'x' wants int32, found no type"),
        (K, proto(tf.int32, [1] * 40, int_val=[1]), "'x' wants shape (None,), found (1, 1"),
        (K, proto(tf.int32, [-1], int_val=[1]), "negative dimension in its shape (-1,)"),
        (TIMES, proto(tf.int64, [-(2**62), 4]), "negative dimension"),
        (
            K,
            proto(tf.int32, [2**40], int_val=[1]),
            "has 1 values, its shape (1099511627776,) holds 1099511627776",
        ),
        (TIMES, proto(tf.int64, [2**31, 2**31]), "which is more than 1000 bytes"),
        (K, proto(tf.int32, [2], int_val=[1, 2, 3]), "has 3 values, its shape (2,) holds 2"),
        (
            K,
            proto(tf.int32, [2], tensor_content=b"12345"),
            "has 5 bytes of content, shape (2,) of int32 needs 8",
        ),
        (
            TEXTS,
            proto(tf.string, [1, 1], tensor_content=b"abc"),
            "texts in tensor_content; they go in string_val",
        ),
        (TEXTS, proto(tf.string, [1]), "wants shape (None, None), found (1,)"),
        (tf.TensorSpec([None], tf.variant), proto(tf.variant, [1]), "tensors of variant are not read"),
    ],
)
def test_a_malformed_tensor_is_one_sentence(spec, given, words):
    with pytest.raises(ValueError) as caught:
        tensors.of_proto("x", spec, given, 1000)
    assert words in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_shape_of_unknown_rank_is_refused():
    given = proto(tf.int32, [])
    given.tensor_shape.unknown_rank = True
    with pytest.raises(ValueError, match="unknown rank"):
        tensors.of_proto("x", K, given, 1000)


@pytest.mark.parametrize(
    "spec, value, expected",
    [
        (K, [1, 2], np.array([1, 2], np.int32)),
        (TIMES, [[2**53 + 1]], np.array([[2**53 + 1]], np.int64)),
        (TIMES, [[], []], np.empty([2, 0], np.int64)),
        (PRICE, [1, 2.5, math.nan], np.array([1, 2.5, np.nan], np.float32)),
        (TEXTS, [["ä", {"b64": "AAE="}]], np.array([["ä".encode(), b"\0\1"]], object)),
        (tf.TensorSpec([None], tf.bool), [True, False], np.array([True, False])),
    ],
)
def test_json_values_have_the_type_of_the_input(spec, value, expected):
    found = tensors.of_json("x", spec, value)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "spec, value, words",
    [
        (K, [1.0], "'x' wants int32, found 1.0"),
        (K, [True], "'x' wants int32, found True"),
        (K, [math.nan], "'x' wants int32, found nan"),
        (K, [2**40], "found 1099511627776, which is out of its range"),
        (K, ["5"], "'x' wants int32, found '5'"),
        (K, [None], "'x' wants int32, found None"),
        (K, 5, "'x' wants shape (None,), found 5 in place of lists"),
        (K, [[1]], "'x' wants int32, found [1]"),
        (TIMES, [[2**63]], "which is out of its range"),
        (TIMES, [[1, 2], [3]], "'x' has rows of different lengths: 1 to 2 values"),
        (TIMES, [[1], 2], "found 2 within 1 of its lists"),
        (PRICE, [1e39], "out of its range"),
        (PRICE, [10**400], "out of its range"),
        (PRICE, [2**24], "found 16777216, which it does not hold exactly: write 16777216.0"),
        (PRICE, ["1"], "'x' wants float32, found '1'"),
        (TEXTS, [[5]], "'x' wants string, found 5"),
        (TEXTS, [["\ud800"]], "half a surrogate pair"),
        (TEXTS, [[{"b64": "*"}]], "'b64' is not base64"),
        (TEXTS, [[{"b64": 5}]], "'b64' is not base64"),
        (TEXTS, [[{"b64": "AA==", "more": 1}]], "wants string, found {"),
    ],
)
def test_json_that_does_not_fit_is_one_sentence(spec, value, words):
    with pytest.raises(ValueError) as caught:
        tensors.of_json("x", spec, value)
    assert words in str(caught.value) and len(str(caught.value)) < 300
