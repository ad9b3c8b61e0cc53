"""Indices that no training example has, by the real analysis."""

import os

import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2

from components.transform import attributes, fields, spec
from schemas import names
from tests import fixtures

_NAMED = spec.FeatureSpec.from_values({"boundaries": [5, 8, 15, 24]})


def _preprocessing_fn(inputs):
    index = inputs["index"]
    nothing = tf.fill(tf.shape(index), tf.constant(names.PADDING_INDEX, tf.int64))
    there = tf.maximum(index, names.FIRST_INDEX)
    return {
        "hour": attributes.trained(index, fields.HOURS, cyclic=True),
        "bucket": attributes.trained(index, 27, missing_is_last=True),
        **attributes.number(tf.cast(index, tf.float32), "number", _NAMED),
        # Training has all values, and none.
        "present": tf.gather(attributes.stand_ins(there, 27, missing_is_last=True), index),
        "as_it_is": tf.gather(attributes.stand_ins(there, 27), index),
        "nothing": tf.gather(attributes.stand_ins(nothing, 27, missing_is_last=True), index),
    }


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    """Of training examples with the values 1, 9 and 20, and one without any."""
    folder = str(tmp_path_factory.mktemp("trained"))
    schema = schema_pb2.Schema()
    feature = schema.feature.add(name="index", type=schema_pb2.INT)
    feature.presence.min_fraction = 1.0
    feature.shape.SetInParent()
    examples = [{"index": index} for index in (3, 11, 11, names.PADDING_INDEX, 22)]
    fixtures.transform_once(folder, examples, schema, _preprocessing_fn, made_of=("trained", examples))
    return tft.TFTransformOutput(os.path.join(folder, "transform")).transform_features_layer()


@pytest.mark.parametrize(
    "value, hour, bucket",
    [(1, 1, 1), (9, 9, 9), (20, 20, 20), (4, 1, 1), (7, 9, 9), (17, 20, 20), (0, 1, 1), (23, 1, 20)],
)
def test_the_nearest_that_training_has_stands_for_the_others(layer, value, hour, bucket):
    found = layer({"index": tf.constant([value + names.FIRST_INDEX], tf.int64)})
    expected = {"hour": [hour + names.FIRST_INDEX], "bucket": [bucket + names.FIRST_INDEX]}
    assert {name: found[name].numpy().tolist() for name in expected} == expected


@pytest.mark.parametrize("value, bucket", [(4, 0), (6, 0), (11, 2), (22, 3), (25, 3)])
def test_a_named_bucket_that_training_does_not_fill_is_the_nearest_that_it_does(layer, value, bucket):
    found = layer({"index": tf.constant([value], tf.int64)})
    assert found["number_index"].numpy().tolist() == [names.FIRST_INDEX + bucket]


def test_what_is_missing_stays_so(layer):
    found = layer({"index": tf.constant([names.PADDING_INDEX, 4, names.OOV_INDEX], tf.int64)})
    for name in ("hour", "bucket", "as_it_is"):
        assert found[name].numpy().tolist() == [names.PADDING_INDEX, 3, names.OOV_INDEX]


def test_what_is_missing_where_training_misses_nothing(layer):
    """The last one that training has; where training has none, all that is there is missing."""
    found = layer({"index": tf.constant([names.PADDING_INDEX, 4, names.OOV_INDEX], tf.int64)})
    assert found["present"].numpy().tolist() == [22, 3, names.OOV_INDEX]
    assert found["nothing"].numpy().tolist() == [names.PADDING_INDEX, names.PADDING_INDEX, names.OOV_INDEX]
