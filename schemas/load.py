"""Loads the schemas, fitted to what a log has."""

import os
from typing import Sequence

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import names

_FOLDER = os.path.dirname(__file__)
_OPTIONAL = {
    names.BEHAVIOR: (names.BEHAVIOR, names.TARGET_BEHAVIOR),
    names.SCENE: (names.SCENE, names.TARGET_SCENE),
}


def read(name: str) -> schema_pb2.Schema:
    """A schema of this folder, as `log` or `next_window`."""
    with open(os.path.join(_FOLDER, f"{name}.pbtxt"), encoding="utf-8") as stream:
        return text_format.Parse(stream.read(), schema_pb2.Schema())


def next_window_schema(
    has_behavior: bool,
    has_scene: bool,
    item_features: Sequence[str] = (),
    user_features: Sequence[str] = (),
    max_skew: float = 0.2,
    max_drift: float = 0.2,
    target_behaviors_differ: bool = False,
) -> schema_pb2.Schema:
    """The schema of `next` windows of a log.

    Args:
      has_behavior, has_scene: whether the log has these columns.
      item_features, user_features: attributes, by their name without the prefix.
      max_skew, max_drift: the thresholds of the comparators.
      target_behaviors_differ: targets of training have other behaviours than those of the other
        splits, by intention: their skew is no anomaly.
    """
    schema = read("next_window")
    absent = set()
    if not has_behavior:
        absent.update(_OPTIONAL[names.BEHAVIOR])
    if not has_scene:
        absent.update(_OPTIONAL[names.SCENE])
    kept = [feature for feature in schema.feature if feature.name not in absent]
    del schema.feature[:]
    schema.feature.extend(kept)
    for feature in schema.feature:
        if target_behaviors_differ and feature.name == names.TARGET_BEHAVIOR:
            feature.ClearField("skew_comparator")
        if feature.HasField("skew_comparator"):
            feature.skew_comparator.infinity_norm.threshold = max_skew
        if feature.HasField("drift_comparator"):
            feature.drift_comparator.infinity_norm.threshold = max_drift
    for name in item_features:
        feature = schema.feature.add(name=names.ITEM_PREFIX + name, type=schema_pb2.BYTES)
        feature.presence.min_fraction = 1.0
        feature.value_count.min = 1
    for name in user_features:
        feature = schema.feature.add(name=names.USER_PREFIX + name, type=schema_pb2.BYTES)
        feature.presence.min_fraction = 1.0
        feature.shape.SetInParent()
    return schema


def to_text(schema: schema_pb2.Schema) -> str:
    """A schema as the text that ImportSchemaGen reads."""
    return text_format.MessageToString(schema)
