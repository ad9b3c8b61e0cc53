"""Which features a window of a period has for models of labels."""

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen import windows
from components.transform import fields, spec

COLUMNS = window_spec.Columns(behavior="behavior", scene="scene")
WINDOW = windows.get("period").settings(kind="period", past="7d", future="1d", labels={"any": {"any_of": {}}})


def found(**switches):
    features = spec.FeaturesSpec.from_values(switches)
    sizes = dict.fromkeys(fields.vocabulary_tables(WINDOW, features, COLUMNS), 3)
    return {field.name for field in fields.fields_of(WINDOW, features, COLUMNS, sizes)}


def test_each_switch_leaves_out_what_it_names():
    everything = found()
    assert everything - found(scene=False) == {"history_scene"}
    assert everything - found(ids=[]) == {"user_id"}
    assert everything - found(time=False) == {"hour_of_day", "day_of_week"}
    assert {name for name in everything if name.startswith("history_")} == everything - found(history=False)
