"""The setting `log.missing`: what YAML may write, and which words count in which column."""

import math

import pydantic
import pytest

from components.behavior_example_gen import spec


def of(value):
    log = spec.LogSpec.from_values({"path": "x", "missing": value})
    assert spec.LogSpec.from_json(log.to_json()) == log
    return log.missing


def test_a_list_is_that_of_the_ids_alone():
    """Whatever YAML takes an unquoted word for."""
    found = of([0, -1, None, math.nan, 7.0, " NA "])
    assert found.ids == ("0", "-1", "null", "NaN", "7", "NA")
    assert found.everywhere == found.user_id == found.item_id == ()
    assert of("NA") == of(["NA"])
    assert of([]).of_column("user_id") == ()


def test_one_key_changes_no_other():
    found, default = of({"user_id": [0]}), spec.LogSpec(path="x").missing
    assert (found.everywhere, found.ids, found.item_id) == (default.everywhere, default.ids, default.item_id)
    assert "0" in found.of_column("user_id") and "0" not in found.of_column("item_id")
    assert "anonymous" not in found.of_column("user_id")


def test_words_by_column():
    default = spec.LogSpec(path="x").missing
    users, items, scenes = (default.of_column(feature) for feature in ("user_id", "item_id", "scene"))
    for word in (
        "NA",
        "na",
        "n/a",
        "None",
        "NONE",
        "<NA>",
        "\\N",
        "null",
        "NULL",
        "nan",
        "undefined",
        "-",
        "-1",
    ):
        assert word in users and word in items
    # A user may be nobody; a film may be called so. An index may begin with 0.
    assert {"anonymous", "GUEST", "unknown"} <= set(users) and not {"anonymous", "guest"} & set(items)
    assert "0" not in users
    # Namibia is a country; so is Nan a town.
    assert {"NULL", "nan", "\\N"} <= set(scenes) and not {"NA", "Nan", "-1", "-"} & set(scenes)
    assert "NA" in default.of_values() and "-1" not in default.of_values()


@pytest.mark.parametrize("value", [3, {"ids": [[1]]}, {"users": ["x"]}, [False], [1.5], [math.inf]])
def test_anything_else_is_refused(value):
    with pytest.raises(pydantic.ValidationError, match="missing"):
        of(value)
