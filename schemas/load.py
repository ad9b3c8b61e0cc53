"""Loads the schemas, fitted to what a log has."""

import os
from collections.abc import Collection, Mapping, Sequence

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import names

_FOLDER = os.path.dirname(__file__)
# What an example has of a column that a log may lack, whatever its kind.
_OPTIONAL = {
    names.BEHAVIOR: (names.HISTORY_BEHAVIOR, names.TARGET_BEHAVIOR, names.FUTURE_BEHAVIOR),
    names.SCENE: (names.SCENE, names.HISTORY_SCENE, names.TARGET_SCENE, names.FUTURE_SCENE),
}


def read(name: str) -> schema_pb2.Schema:
    """A schema of this folder, as `next_window` or `exposure_window`."""
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

    Attributes have no comparators: nothing is made of them. Nor would those of users be alike where nothing differs, since
    who has many events has a window for each target in `eval` and `test`, and few in training.

    Args:
      has_behavior, has_scene: whether the log has these columns.
      item_features, user_features: attributes, by their name without the prefix.
      max_skew, max_drift: the thresholds of the comparators.
      target_behaviors_differ: targets of training have other behaviours than those of the other
        splits, by intention: their skew is no anomaly.
    """
    schema = read("next_window")
    for feature in schema.feature:
        if target_behaviors_differ and feature.name == names.TARGET_BEHAVIOR:
            feature.ClearField("skew_comparator")
    return _fitted(schema, has_behavior, has_scene, item_features, user_features, max_skew, max_drift)


def period_window_schema(
    has_behavior: bool,
    has_scene: bool,
    attributes: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    max_skew: float = 0.2,
    max_drift: float = 0.2,
) -> schema_pb2.Schema:
    """The schema of `period` windows of a log: that of `next` windows, with what follows the moment.

    Args:
      has_behavior, has_scene, max_skew, max_drift: see `next_window_schema`.
      attributes: `categorical` or `numeric`, by the name of the feature. Those of items and of events are lists,
        with a value for each event of the history and of the future (NaN is a missing number).
      labels: with them, nothing need follow the moment.
    """
    schema = read("next_window")
    schema.MergeFrom(read("period_window"))
    for feature in schema.feature if labels else ():
        if feature.name in names.FUTURE:
            feature.ClearField("presence")
            feature.ClearField("value_count")
        if feature.name.startswith((names.FUTURE_PREFIX, names.TARGET_PREFIX)):
            # Whether anything follows is what labels are about, and their rates move from day to day.
            feature.ClearField("skew_comparator")
            feature.ClearField("drift_comparator")
    attributes = dict(attributes or {})
    of_users = [name for name in sorted(attributes) if name.startswith(names.USER_PREFIX)]
    users = [name.removeprefix(names.USER_PREFIX) for name in of_users]
    _fitted(schema, has_behavior, has_scene, (), users, max_skew, max_drift)
    for feature in schema.feature:
        # Read by models of labels alone.
        if labels and feature.name in of_users:
            _compare(feature, max_skew, max_drift)
    for name in sorted(set(attributes) - set(of_users)):
        for prefix in (names.HISTORY_PREFIX, names.FUTURE_PREFIX):
            feature = schema.feature.add(name=prefix + name)
            feature.type = schema_pb2.FLOAT if attributes[name] == "numeric" else schema_pb2.BYTES
            if prefix == names.HISTORY_PREFIX or not labels:
                feature.presence.min_fraction = 1.0
                feature.value_count.min = 1
                _compare(feature, max_skew, max_drift)
    _add_labels(schema, labels)
    return schema


def _fitted(
    schema: schema_pb2.Schema,
    has_behavior: bool,
    has_scene: bool,
    item_features: Sequence[str],
    user_features: Sequence[str],
    max_skew: float,
    max_drift: float,
) -> schema_pb2.Schema:
    """A schema of windows with a history and a target, of a log with these columns."""
    _leave_out(schema, _absent(has_behavior, has_scene))
    _bound(schema, max_skew, max_drift)
    for name in item_features:
        feature = schema.feature.add(
            name=names.HISTORY_PREFIX + names.ITEM_PREFIX + name, type=schema_pb2.BYTES
        )
        feature.presence.min_fraction = 1.0
        feature.value_count.min = 1
    for name in user_features:
        feature = schema.feature.add(name=names.USER_PREFIX + name, type=schema_pb2.BYTES)
        feature.presence.min_fraction = 1.0
        feature.shape.SetInParent()
    return schema


def exposure_window_schema(
    steps: Sequence[str],
    attributes: Mapping[str, str],
    has_scene: bool,
    has_history: bool,
    has_behavior: bool,
    max_skew: float = 0.2,
    max_drift: float = 0.2,
) -> schema_pb2.Schema:
    """The schema of `exposure` windows of a log.

    Ids, categorical attributes, labels and slices are dense scalars; a numeric attribute is a list of at most
    one value, multi-valued attributes and histories are lists of any length.

    Args:
      steps: of the chain, in their order.
      attributes: `categorical`, `numeric` or `multi`, by the name of the feature.
      has_scene, has_history, has_behavior: whether the log has scenes, the window a history and the log
        behaviours, which the history then has.
      max_skew, max_drift: the thresholds of the comparators: of a value's share, and of the
        Jensen-Shannon divergence of numbers.
    """
    schema = read("exposure_window")
    _leave_out(schema, _absent(has_behavior, has_scene) | (set() if has_history else set(names.HISTORY)))
    _add_labels(schema, steps)
    for name, kind in sorted(attributes.items()):
        feature = schema.feature.add(name=name)
        feature.type = schema_pb2.FLOAT if kind == "numeric" else schema_pb2.BYTES
        if kind == "numeric":
            feature.value_count.max = 1
        if kind == "categorical":
            feature.presence.min_fraction = 1.0
            feature.shape.SetInParent()
        _compare(feature, max_skew, max_drift)
    _bound(schema, max_skew, max_drift)
    return schema


def _add_labels(schema: schema_pb2.Schema, labels: Sequence[str]) -> None:
    for name in labels:
        # Rates of labels move from day to day, and that training leaves negatives out is intended: no comparators.
        label = schema.feature.add(name=names.LABEL_PREFIX + name, type=schema_pb2.INT)
        label.presence.min_fraction = 1.0
        label.shape.SetInParent()
        label.int_domain.min, label.int_domain.max = names.UNKNOWN_LABEL, 1


def _absent(has_behavior: bool, has_scene: bool) -> set[str]:
    """What examples of a log without some columns do not have."""
    return {
        *(() if has_behavior else _OPTIONAL[names.BEHAVIOR]),
        *(() if has_scene else _OPTIONAL[names.SCENE]),
    }


def _leave_out(schema: schema_pb2.Schema, absent: Collection[str]) -> None:
    kept = [feature for feature in schema.feature if feature.name not in absent]
    del schema.feature[:]
    schema.feature.extend(kept)


def _bound(schema: schema_pb2.Schema, max_skew: float, max_drift: float) -> None:
    """Sets the thresholds of the comparators of values' shares."""
    for feature in schema.feature:
        if feature.skew_comparator.HasField("infinity_norm"):
            feature.skew_comparator.infinity_norm.threshold = max_skew
        if feature.drift_comparator.HasField("infinity_norm"):
            feature.drift_comparator.infinity_norm.threshold = max_drift


def _compare(feature: schema_pb2.Feature, max_skew: float, max_drift: float) -> None:
    """Gives an attribute the comparators of its type."""
    for comparator, threshold in ((feature.skew_comparator, max_skew), (feature.drift_comparator, max_drift)):
        of_numbers = feature.type == schema_pb2.FLOAT
        distance = comparator.jensen_shannon_divergence if of_numbers else comparator.infinity_norm
        distance.threshold = threshold


def to_text(schema: schema_pb2.Schema) -> str:
    """A schema as the text that ImportSchemaGen reads."""
    return text_format.MessageToString(schema)
