"""Which model a candidate is compared with."""

import os
import shutil

import pytest
from tensorflow.core.protobuf import saved_model_pb2

from components.live_model import executor
from components.pusher import executor as pusher
from pipeline import publishing
from schemas import errors
from serving import published


def model(folder, content, signatures, inputs=None):
    """A SavedModel without a graph; `signatures` are names of outputs by signature, and `inputs` of inputs."""
    saved = saved_model_pb2.SavedModel()
    graph = saved.meta_graphs.add()
    for name, outputs in signatures.items():
        for output in outputs:
            graph.signature_def[name].outputs[output].name = output
        for one in (inputs or {}).get(name, ()):
            graph.signature_def[name].inputs[one].name = one
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    (folder / "weights").write_text(content)
    (folder / "fingerprint.pb").write_text(content)
    return str(folder)


RANKING = {"evaluate": ["rank"], "recommend": ["item_id"]}
LABELS = {"evaluate": ["label"], "predict": ["click"]}


@pytest.fixture
def place(tmp_path):
    """A folder that models are pushed to, and a function that pushes one."""
    base = str(tmp_path / "serving")

    def push(content, signatures=RANKING, inputs=None):
        return os.path.join(
            base, str(pusher.push(model(tmp_path / "model", content, signatures, inputs), base))
        )

    return base, push


def test_nothing_is_live_where_nothing_was_pushed(tmp_path, place):
    base, _ = place
    assert executor.look(base, "ranking") == {"path": None, "digest": None}
    os.makedirs(os.path.join(base, "not a version"))
    assert executor.look(base, "ranking") == {"path": None, "digest": None}


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    path = tmp_path / "models"
    path.write_text("a file")
    with pytest.raises(errors.InputError, match=f"push.destination: .* found a file at {path}"):
        executor.look(str(path), "ranking")


def test_the_newest_version_is_live(place):
    base, push = place
    first = push("one")
    before = executor.look(base, "ranking")
    assert before["path"] == first and executor.look(base, "ranking") == before
    second = push("two")
    after = executor.look(base, "ranking")
    assert after["path"] == second and after["digest"] != before["digest"]
    # What was taken away is no longer live.
    shutil.rmtree(second)
    assert executor.look(base, "ranking") == before


def test_after_a_rollback_the_earlier_version_is_live_until_the_next_push(place):
    base, push = place
    first = push("one")
    before = executor.look(base, "ranking")
    push("two")
    publishing.rollback(base)
    assert executor.look(base, "ranking") == before and before["path"] == first
    third = push("three")
    assert executor.look(base, "ranking")["path"] == third
    with open(published.path(base), "w", encoding="utf-8") as stream:
        stream.write("no configuration")
    with pytest.raises(
        errors.InputError, match=f"{published.FILE}: not a configuration of TensorFlow Serving"
    ):
        executor.look(base, "ranking")


def test_another_model_under_the_same_number_is_another_model(place, tmp_path):
    base, push = place
    path = push("one")
    before = executor.look(base, "ranking")
    shutil.rmtree(path)
    shutil.move(push("two"), path)
    found = executor.look(base, "ranking")
    assert found["path"] == path and found["digest"] != before["digest"]


def test_one_that_something_else_has_pushed_is_known_by_its_files(place, tmp_path):
    base, _ = place
    version = tmp_path / "serving" / "3"
    os.makedirs(base)
    model(version, "one", RANKING)
    before = executor.look(base, "ranking")
    assert before["path"] == str(version)
    (version / "weights").write_text("two")
    assert executor.look(base, "ranking")["digest"] != before["digest"]


@pytest.mark.parametrize("damage", [os.remove, lambda path: os.truncate(path, 1)])
def test_a_damaged_version_is_left_out_and_said(place, damage, caplog):
    base, push = place
    first, second = push("one"), push("two")
    damage(os.path.join(second, "weights"))
    with caplog.at_level("WARNING", "footfall.progress"):
        assert executor.look(base, "ranking")["path"] == first
    assert f"{second} is damaged: weights " in caplog.text and "the version before it" in caplog.text
    damage(os.path.join(first, "weights"))
    assert executor.look(base, "ranking")["path"] is None


@pytest.mark.parametrize(
    "signatures, words",
    [
        (LABELS, "is a model of the objective labels"),
        ({"serving_default": ["y"]}, "is no model of Footfall's"),
    ],
)
def test_a_model_that_answers_other_questions_is_refused(place, signatures, words):
    base, push = place
    path = push("one", signatures)
    with pytest.raises(errors.InputError) as found:
        executor.look(base, "ranking")
    said = str(found.value)
    assert said.startswith(f"push.destination: {path} is live and {words}") and "objective is ranking" in said


def test_what_a_rollback_has_withdrawn_is_no_baseline_later_either(place):
    base, push = place
    versions = [int(os.path.basename(push(content))) for content in ("one", "two", "three")]
    published.write(base, published.Published((versions[2],), withdrawn=(versions[1],)))
    os.remove(os.path.join(base, str(versions[2]), "weights"))
    assert executor.look(base, "ranking")["path"] == os.path.join(base, str(versions[0]))


NEXT = {"evaluate": ["rank"], "recommend": ["item_id"]}
REPEATING = {"evaluate": ["rank", "own_frequent_rank"], "recommend": ["item_id"]}


@pytest.mark.parametrize(
    "live, inputs, wanted, words",
    [
        (NEXT, {"recommend": ["history_item_id", "moment"]}, ("period", None), None),
        (
            NEXT,
            {"recommend": ["history_item_id"]},
            ("period", None),
            "of windows of kind next, this .* of kind period",
        ),
        (
            LABELS,
            {"predict": ["item_id", "timestamp"]},
            ("period", None),
            "of kind exposure, this experiment's",
        ),
        (LABELS, {"predict": ["item_id", "timestamp"]}, ("exposure", None), None),
        (NEXT, {}, ("next", False), None),
        (REPEATING, {}, ("next", True), None),
        (
            REPEATING,
            {},
            ("next", False),
            "evaluation.exclude_seen: false, found true: their ranks do not mean",
        ),
        (NEXT, {}, ("next", True), "evaluation.exclude_seen: true, found false: their ranks do not mean"),
    ],
)
def test_a_live_model_of_other_windows_is_refused(place, live, inputs, wanted, words):
    base, push = place
    objective = "labels" if live is LABELS else "ranking"
    path = push("one", live, inputs)
    if words is None:
        assert executor.look(base, objective, (), *wanted)["path"] == path
        return
    with pytest.raises(errors.InputError, match=words):
        executor.look(base, objective, (), *wanted)


def test_a_live_model_that_tells_other_labels_is_refused(place):
    """Of one label TFMA keeps no name: whatever the live model told would be taken for the candidate's."""
    base, push = place
    path = push("one", {"evaluate": ["churn"], "predict": ["churn"]})
    assert executor.look(base, "labels", ["churn"])["path"] == path
    for labels, words in (
        (["spends"], "is live and tells churn; this experiment's labels are spends, and without spends"),
        (
            ["churn", "spends"],
            "labels are churn, spends, and without spends the two cannot be compared: give the",
        ),
    ):
        with pytest.raises(errors.InputError, match=words):
            executor.look(base, "labels", labels)
    # More than is asked for does no harm.
    path = push("two", {"evaluate": ["spends", "churn"], "predict": ["spends", "churn"]})
    assert executor.look(base, "labels", ["churn"])["path"] == path
