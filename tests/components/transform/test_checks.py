"""Which settings of `features` are refused, since the model reads nothing of them."""

import pytest

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen import windows
from components.transform import checks, spec
from trainer.settings import byb, byb_labels, dspnet, mlp, sasrec

COLUMNS = window_spec.Columns.from_values(
    {
        "scene": "scene",
        "item": {"category": "category", "tags": {"column": "tags", "type": "multi"}},
        "context": {"price": {"column": "price", "type": "numeric"}},
        "user": {"country": "country"},
    }
)
NEXT = windows.get("next").settings(kind="next")
PERIOD = windows.get("period").settings(kind="period", past="7d", future="1d", labels={"any": {"any_of": {}}})
EXPOSURE = windows.get("exposure").settings(kind="exposure", steps=["click"])
SASREC = sasrec.SASRecSettings(name="sasrec")
DSPNET = dspnet.DSPnetSettings(name="dspnet")
BYB = byb.BYBSettings(name="byb")
BYB_LABELS = byb_labels.BYBLabelsSettings(name="byb_labels")
MLP = mlp.MLPSettings(name="mlp")
ONCE = {"min_count": 2}


def check(window, model, features, columns=COLUMNS):
    checks.check(spec.FeaturesSpec.from_values(features), columns, window, model)


@pytest.mark.parametrize(
    "window, model, features",
    [
        *[(NEXT, SASREC, {}), (PERIOD, BYB, {"time": True, "ids": ["user_id", "item_id"]})],
        (PERIOD, SASREC, {"options": {"item_id": ONCE, "scene": {"max_size": 9}}}),
        (PERIOD, DSPNET, {"options": {"item_id": ONCE, "scene": ONCE}}),
        (PERIOD, BYB, {"options": {"item_id": ONCE, "scene": ONCE, "item_category": ONCE}}),
        (PERIOD, BYB_LABELS, {"options": {"context_price": {"buckets": 5}}}),
        (PERIOD, MLP, {"ids": ["user_id"], "options": {"user_id": ONCE, "user_country": ONCE}}),
        (PERIOD, MLP, {"ids": [], "time": False, "scene": False, "history": False}),
        (EXPOSURE, MLP, {"ids": [], "options": {"item_id": ONCE, "item_tags": {"max_values": 2}}}),
        (EXPOSURE, MLP, {"history": False, "options": {"item_id": ONCE, "scene": ONCE}}),
    ],
)
def test_what_a_model_reads_can_be_set(window, model, features):
    check(window, model, features)


@pytest.mark.parametrize(
    "window, model, features, said",
    [
        (PERIOD, BYB, {"ids": []}, "features.ids: goes with .* as mlp; model byb .*; found \\[\\]$"),
        (PERIOD, BYB_LABELS, {"time": False}, "features.time: .* model byb_labels .* found false$"),
        (PERIOD, DSPNET, {"history": False}, "features.history: .* model dspnet .* found false$"),
        (NEXT, SASREC, {"scene": False}, "features.scene: .* model sasrec .* found false$"),
        (
            NEXT,
            SASREC,
            {"options": {"item_id": ONCE}},
            "features.options: no such .* model sasrec with window: {kind: next}, found item_id; there are none$",
        ),
        (
            PERIOD,
            SASREC,
            {"options": {"item_category": ONCE}},
            "features.options: no such .* found item_category; there are item_id, scene$",
        ),
        (
            PERIOD,
            BYB,
            {"options": {"user_country": ONCE, "user_id": ONCE}},
            "options: .* found user_country, user_id; there are context_price, item_category, item_id, item_tags, scene$",
        ),
        (
            PERIOD,
            MLP,
            {"ids": [], "options": {"user_id": ONCE}},
            "features.options: no such .* found user_id;",
        ),
        (
            PERIOD,
            MLP,
            {"history": False, "options": {"item_id": ONCE}},
            "features.options: no such .* found item_id;",
        ),
        (
            PERIOD,
            MLP,
            {"scene": False, "options": {"scene": ONCE}},
            "features.options: no such .* found scene;",
        ),
        (
            EXPOSURE,
            MLP,
            {"options": {"hour_of_day": ONCE}},
            "features.options: no such .* found hour_of_day;",
        ),
        (
            EXPOSURE,
            MLP,
            {"options": {"item_id": {"encode": "z_score"}}},
            "features.options.item_id.encode: item_id is categorical, which has min_count, max_size; found z_score$",
        ),
        (
            EXPOSURE,
            MLP,
            {"options": {"context_price": ONCE}},
            "features.options.context_price.min_count: context_price is numeric, which has encode, .*; found 2$",
        ),
        (
            PERIOD,
            BYB,
            {"options": {"context_price": {"encode": "z_score"}}},
            "features.options.context_price.encode: numbers of a history's events are told by their buckets; found z_score",
        ),
    ],
)
def test_what_a_model_does_not_read_is_refused(window, model, features, said):
    with pytest.raises(ValueError, match=said):
        check(window, model, features)


def test_a_scene_that_the_log_does_not_have_has_no_options():
    for window, model in ((PERIOD, BYB), (PERIOD, DSPNET), (EXPOSURE, MLP)):
        with pytest.raises(ValueError, match="features.options: no such feature .* found scene;"):
            check(window, model, {"options": {"scene": ONCE}}, window_spec.Columns())
