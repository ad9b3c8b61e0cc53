"""Indices that no training example has, by the real analysis."""

import os

import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2

from components.transform import attributes, fields
from schemas import names
from tests import fixtures


def _preprocessing_fn(inputs):
    return {
        name: attributes.trained(inputs["index"], number, cyclic)
        for name, number, cyclic in (("hour", fields.HOURS, True), ("bucket", 27, False))
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
    assert {name: index.numpy().tolist() for name, index in found.items()} == expected


def test_what_is_missing_stays_so(layer):
    found = layer({"index": tf.constant([names.PADDING_INDEX, 4, names.OOV_INDEX], tf.int64)})
    for index in found.values():
        assert index.numpy().tolist() == [names.PADDING_INDEX, 3, names.OOV_INDEX]
