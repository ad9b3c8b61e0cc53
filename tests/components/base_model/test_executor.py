"""Which pretrained model a training starts from."""

import os
import shutil

import pytest
from tfx.dsl.io import fileio

from components.base_model import executor
from components.pusher import executor as pusher
from schemas import errors
from tests.components.live_model import test_executor as live

EMBEDDING = {"evaluate": ["embedding"], "embed": ["embedding"]}


@pytest.fixture
def place(tmp_path):
    """A run's folder, and a function that pushes a model below it."""
    base = str(tmp_path / "serving" / "users")

    def push(content, signatures=EMBEDDING):
        model = live.model(tmp_path / "model", content, signatures)
        return os.path.join(base, str(pusher.push(model, base)))

    return tmp_path, base, push


def test_a_run_a_folder_of_versions_and_a_version_are_the_same_model(place):
    run, base, push = place
    push("one")
    newest = push("two")
    found = executor.look(base)
    assert found["path"] == newest
    assert executor.look(str(run)) == executor.look(newest) == found
    push("three")
    assert executor.look(base)["digest"] != found["digest"] == executor.look(newest)["digest"]


def test_in_a_bucket_which_lists_folders_with_a_slash_a_run_is_found(place, monkeypatch):
    run, base, push = place
    newest = push("one")
    listdir = fileio.listdir

    def as_a_bucket(path):
        return [f"{name}/" if os.path.isdir(os.path.join(path, name)) else name for name in listdir(path)]

    monkeypatch.setattr(fileio, "listdir", as_a_bucket)
    assert executor.look(str(run))["path"] == executor.look(base)["path"] == newest


def test_of_a_run_that_pushes_elsewhere_it_is_the_model_that_is_there(place):
    run, base, push = place
    newest = push("one")
    elsewhere = run / "other"
    elsewhere.mkdir()
    (elsewhere / "experiment.yaml").write_text(f"name: users\npush: {{destination: {base}}}\n")
    assert executor.look(str(elsewhere)) == executor.look(newest)
    # Not what an earlier run of that folder has left.
    shutil.copytree(base, elsewhere / "serving" / "users")
    assert executor.look(str(elsewhere))["path"] == newest
    shutil.rmtree(base)
    with pytest.raises(errors.InputError, match=f"no version of a model at {base}"):
        executor.look(str(elsewhere))


def test_what_is_no_pretrained_model_is_refused(place):
    run, base, push = place
    with pytest.raises(errors.InputError, match=f"model.base_model: no version of a model at {run}/nowhere"):
        executor.look(str(run / "nowhere"))
    (run / "report.html").write_text("a file")
    with pytest.raises(errors.InputError, match=f"no version of a model at {run}/report.html"):
        executor.look(str(run / "report.html"))
    path = push("ranking", live.RANKING)
    with pytest.raises(errors.InputError, match=f"{path} is a model of the objective ranking"):
        executor.look(base)
    with pytest.raises(errors.InputError, match="of the objective ranking"):
        executor.look(path)
    shutil.rmtree(path)
    push("damaged")
    (version,) = [name for name in os.listdir(base) if name.isdigit()]
    with open(os.path.join(base, version, "weights"), "a") as stream:
        stream.write("more")
    with pytest.raises(errors.InputError, match="every version at .* is damaged"):
        executor.look(base)
