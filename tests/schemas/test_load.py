"""The schemas of this folder."""

import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import load, names


def feature_names(schema):
    return {feature.name for feature in schema.feature}


def test_optional_features_come_and_go():
    full = feature_names(load.next_window_schema(True, True, ["color"], ["plan"]))
    bare = feature_names(load.next_window_schema(False, False))
    assert full - bare == {
        names.HISTORY_BEHAVIOR,
        names.HISTORY_SCENE,
        names.TARGET_BEHAVIOR,
        names.TARGET_SCENE,
        "history_item_color",
        "user_plan",
    }
    assert set(names.SLICES) <= bare and names.SEEN_ITEM_ID in bare


def test_a_history_is_the_same_in_every_kind():
    """Names and types; how often it is there is the kind's."""
    columns = {"has_behavior": True, "has_scene": True}
    following = load.next_window_schema(**columns)
    shown = load.exposure_window_schema(["buy"], {}, has_history=True, **columns)
    types = [
        {f.name: f.type for f in schema.feature if f.name in names.HISTORY} for schema in (following, shown)
    ]
    assert types[0] == types[1] and tuple(types[0]) == names.HISTORY
    # A place for each of an event's own features, as they are called in the log.
    events = (names.ITEM_ID, names.BEHAVIOR, names.SCENE, names.TIMESTAMP)
    assert names.HISTORY == tuple(names.HISTORY_PREFIX + name for name in events)


def test_slices_have_closed_domains():
    schema = load.next_window_schema(False, False)
    domains = {domain.name: list(domain.value) for domain in schema.string_domain}
    assert set(domains) == set(names.SLICES)
    assert domains[names.ITEM_FREQUENCY] == [names.HEAD, names.TAIL, names.NEW]


def test_bounds_reach_every_comparator():
    schema = load.next_window_schema(True, True, max_skew=0.07, max_drift=0.03)
    skews = [
        f.skew_comparator.infinity_norm.threshold for f in schema.feature if f.HasField("skew_comparator")
    ]
    drifts = [
        f.drift_comparator.infinity_norm.threshold for f in schema.feature if f.HasField("drift_comparator")
    ]
    assert skews == [0.07] * 6 and drifts == [0.03] * 6


def test_targets_of_other_behaviors_are_no_skew():
    plain = {f.name: f for f in load.next_window_schema(True, True).feature}
    chosen = {f.name: f for f in load.next_window_schema(True, True, target_behaviors_differ=True).feature}
    assert plain[names.TARGET_BEHAVIOR].HasField("skew_comparator")
    assert not chosen[names.TARGET_BEHAVIOR].HasField("skew_comparator")
    assert chosen[names.TARGET_BEHAVIOR].HasField("drift_comparator")
    assert chosen[names.HISTORY_BEHAVIOR].HasField("skew_comparator")


ATTRIBUTES = {"item_brand": "categorical", "item_price": "numeric", "user_tags": "multi"}


def exposures(scene=True, history=True, behavior=True, **bounds):
    schema = load.exposure_window_schema(["cart", "buy"], ATTRIBUTES, scene, history, behavior, **bounds)
    return {feature.name: feature for feature in schema.feature}


def test_features_of_exposures_come_and_go():
    full = exposures()
    assert {*names.SLICES, *ATTRIBUTES, "label_cart", "label_buy", names.HISTORY_ITEM_ID} <= set(full)
    assert set(full) - set(exposures(scene=False)) == {names.SCENE, names.HISTORY_SCENE}
    assert set(full) - set(exposures(behavior=False)) == {names.HISTORY_BEHAVIOR}
    assert set(full) - set(exposures(history=False)) == set(names.HISTORY)


def test_features_of_exposures_have_the_types_that_are_written():
    features = exposures()
    dense = {name for name, feature in features.items() if feature.HasField("shape")}
    assert set(features) - dense == {
        "item_price",
        "user_tags",
        *names.HISTORY,
    }
    kinds = {name: features[name].type for name in ATTRIBUTES}
    assert kinds == {
        "item_brand": schema_pb2.BYTES,
        "item_price": schema_pb2.FLOAT,
        "user_tags": schema_pb2.BYTES,
    }
    label = features["label_buy"]
    assert (label.type, label.int_domain.min, label.int_domain.max) == (schema_pb2.INT, -1, 1)


def test_bounds_of_exposures_reach_what_is_compared():
    compared = {
        name: feature
        for name, feature in exposures(max_skew=0.07, max_drift=0.03).items()
        if feature.HasField("skew_comparator") or feature.HasField("drift_comparator")
    }
    # Rates of labels and histories move by themselves.
    assert set(compared) == {names.ITEM_ID, names.SCENE, *ATTRIBUTES}
    for name, feature in compared.items():
        how = "jensen_shannon_divergence" if name == "item_price" else "infinity_norm"
        assert getattr(feature.skew_comparator, how).threshold == 0.07
        assert getattr(feature.drift_comparator, how).threshold == 0.03


def test_bounds_reach_the_attributes_that_windows_are_read_for():
    known = {"item_brand": "categorical", "context_price": "numeric", "user_plan": "categorical"}
    bounds = {"max_skew": 0.07, "max_drift": 0.03}
    user, past = ("user_plan",), ("history_item_brand", "history_context_price")
    future = ("future_context_price", "future_item_brand")
    for schema, compared, not_compared in (
        (load.next_window_schema(True, True, ["brand"], ["plan"], **bounds), (), user + past[:1]),
        (load.period_window_schema(True, True, known, **bounds), past + future, user),
        (load.period_window_schema(True, True, known, ["churn"], **bounds), past + user, future),
    ):
        features = {feature.name: feature for feature in schema.feature}
        for name in compared:
            how = "jensen_shannon_divergence" if name.endswith("price") else "infinity_norm"
            assert getattr(features[name].skew_comparator, how).threshold == 0.07
            assert getattr(features[name].drift_comparator, how).threshold == 0.03
        for name in not_compared:
            assert not features[name].HasField("skew_comparator")
            assert not features[name].HasField("drift_comparator")


@pytest.mark.parametrize("name", ["next_window", "exposure_window"])
def test_files_parse(name):
    assert isinstance(load.read(name), schema_pb2.Schema) and load.read(name).feature


def test_what_follows_is_not_compared_where_labels_ask_for_it():
    def compared(schema):
        return {
            f.name for f in schema.feature if f.HasField("skew_comparator") or f.HasField("drift_comparator")
        }

    plain = compared(load.period_window_schema(True, True))
    labelled = load.period_window_schema(True, True, labels=["churn"])
    assert {"target_item_id", "target_scene", "future_item_id", "history_item_id"} <= plain
    assert {name for name in plain if not name.startswith(("target_", "future_"))} == compared(labelled)
    (label,) = (f for f in labelled.feature if f.name == "label_churn")
    assert (label.int_domain.min, label.int_domain.max) == (-1, 1)
    (future,) = (f for f in labelled.feature if f.name == "future_item_id")
    assert not future.HasField("presence") and not future.HasField("value_count")
