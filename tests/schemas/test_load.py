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
        names.BEHAVIOR,
        names.SCENE,
        names.TARGET_BEHAVIOR,
        names.TARGET_SCENE,
        "item_color",
        "user_plan",
    }
    assert set(names.SLICES) <= bare and names.SEEN_ITEM_ID in bare


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
    assert chosen[names.BEHAVIOR].HasField("skew_comparator")


@pytest.mark.parametrize("name", ["log", "next_window"])
def test_files_parse(name):
    assert isinstance(load.read(name), schema_pb2.Schema) and load.read(name).feature
