"""Components that look at the world: what a driver has found is written; without a driver the executor looks."""

import json
from types import SimpleNamespace

import pytest
from tfx.types import standard_artifacts

import components
from components import observing
from components.behavior_example_gen import artifacts
from components.log_state import executor


def value(tmp_path):
    """An artifact in a folder that nobody has made."""
    made = standard_artifacts.String()
    made.uri = str(tmp_path / "no" / "folder" / "value")
    return made


def test_what_the_driver_found_is_what_is_written(tmp_path):
    path = tmp_path / "day-7.csv"
    path.write_text("user_id,item_id,timestamp\n")
    properties = {"log": json.dumps({"path": str(tmp_path / "day-{SPAN}.csv")})}
    told = executor.Driver(None).run(SimpleNamespace(exec_properties=properties))
    found = {name: held.string_value for name, held in told.exec_properties.items()}
    assert json.loads(found[observing._FOUND])["span"] == 7
    alone, after_driver = value(tmp_path / "a"), value(tmp_path / "b")
    executor.Executor().Do({}, {executor.STATE: [alone]}, properties)
    # Where a driver has looked, the log may have grown since.
    path.write_text("user_id,item_id,timestamp\nu,i,1\n")
    executor.Executor().Do({}, {executor.STATE: [after_driver]}, {**properties, **found})
    assert alone.read() == after_driver.read() == found[observing._FOUND]


def test_equal_finds_are_equal_texts():
    assert observing.pack({"a": 1, "b": None}) == observing.pack({"b": None, "a": 1})


@pytest.mark.parametrize("kind", [artifacts.RejectedRows, artifacts.LogProfile])
def test_a_type_can_be_imported_by_its_name(kind):
    """As Kubeflow's steps do, which know no more than the name."""
    module, _, name = kind.TYPE_NAME.rpartition(".")
    assert module == "components" and getattr(components, name) is kind


@pytest.mark.parametrize("name", ["Model", "artifacts"])
def test_other_names_are_no_attributes(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(components, name)
