"""What a run takes from the cache after its folder was damaged: a chain of small components under TFX's own launcher."""

import os
import shutil
import sys

import pytest
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local import local_dag_runner
from tfx.types import standard_artifacts

from components.infra_validator import executor as validator
from components.pusher import executor as pusher
from pipeline import lineage, publishing
from pipeline.runners import cache, failures, folder
from schemas import errors
from tests.pipeline.runners.conftest import fill_disk


def _write(uri, text):
    os.makedirs(uri, exist_ok=True)
    # A file that is there already would be a part of what is made.
    with open(os.path.join(uri, "content"), "x", encoding="utf-8") as stream:
        stream.write(text)


@component
def Read(examples: OutputArtifact[standard_artifacts.Examples]):
    _write(examples.uri, "windows")


@component
def Train(
    examples: InputArtifact[standard_artifacts.Examples],
    model: OutputArtifact[standard_artifacts.Model],
    seed: Parameter[int],
):
    _write(model.uri, f"weights {seed}")
    with open(os.path.join(model.uri, "saved_model.pb"), "w", encoding="utf-8") as stream:
        stream.write("graph")


@component
def Bless(
    model: InputArtifact[standard_artifacts.Model], blessing: OutputArtifact[standard_artifacts.ModelBlessing]
):
    _write(blessing.uri, "")
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_int_custom_property(validator.UNSERVABLE, int(os.environ.get("BUSY", "0")))


@component
def Push(
    model: InputArtifact[standard_artifacts.Model],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    base: Parameter[str],
):
    version = pusher.push(model.uri, base)
    _write(pushed_model.uri, "weights")
    pushed_model.set_int_custom_property("pushed", 1)
    pushed_model.set_string_custom_property("pushed_destination", os.path.join(base, str(version)))


class Run:
    """A folder and the runs in it."""

    def __init__(self, run_dir):
        self.run_dir, self.base = run_dir, run_dir / "serving"

    def __call__(self, seed=1):
        read = Read()
        train = Train(examples=read.outputs["examples"], seed=seed)
        bless = Bless(model=train.outputs["model"])
        push = Push(model=train.outputs["model"], base=str(self.base))
        places = folder.places(str(self.run_dir))
        dag = tfx.dsl.Pipeline(
            pipeline_name="run",
            pipeline_root=places["pipeline_root"],
            components=[read, train, bless, push],
            enable_cache=True,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
                places["metadata_path"]
            ),
        )
        with folder.at_work(str(self.run_dir), print), cache.checked(str(self.run_dir)):
            local_dag_runner.LocalDagRunner().run(dag)
        return {c.id: c.state for c in self.components()}

    def components(self):
        return lineage.components(str(self.run_dir), {})

    def place(self, kind):
        return next(a.uri for c in self.components() for a in c.outputs if a.type == kind)


ALL = ["Read", "Train", "Bless", "Push"]


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run")
    assert made() == {name: "done" for name in ALL}
    return made


def anew(states):
    return [name for name in ALL if states[name] == "done"]


def test_what_is_sound_is_cached(run):
    assert anew(run()) == []


@pytest.mark.parametrize(
    "kind, made_again",
    [
        ("Examples", ALL),
        ("Model", ["Train", "Bless", "Push"]),
        ("ModelBlessing", ["Bless"]),
        ("PushedModel", ["Push"]),
    ],
)
@pytest.mark.parametrize("how", ["truncated", "gone"])
def test_what_is_damaged_is_made_again_and_all_that_is_made_of_it(run, kind, made_again, how, caplog):
    place = run.place(kind)
    if how == "gone":
        shutil.rmtree(place)
    else:
        # The same size: a blessing's file is empty, and something is added to that.
        with open(os.path.join(place, "content"), "r+", encoding="utf-8") as stream:
            stream.write("W")
    with caplog.at_level("WARNING", "footfall.progress"):
        assert anew(run()) == made_again
    (said,) = [record.getMessage() for record in caplog.records if record.name == "footfall.progress"][:1]
    assert place in said and ("is gone" if how == "gone" else "content") in said
    assert run.place(kind) != place
    assert anew(run()) == []


def test_a_trial_that_failed_is_no_result_to_keep(run, monkeypatch, caplog):
    monkeypatch.setenv("BUSY", "1")
    assert anew(run(seed=2)) == ["Train", "Bless", "Push"]
    monkeypatch.delenv("BUSY")
    with caplog.at_level("WARNING", "footfall.progress"):
        assert anew(run(seed=2)) == ["Bless"]
    assert "not servable when it was tried" in caplog.text
    assert anew(run(seed=2)) == []


def test_an_older_one_that_fits_is_taken(run):
    """Of two executions with the same inputs, the newer's artifact is damaged."""
    first = run.place("Model")
    shutil.move(first, first + "-away")
    run()
    second = run.place("Model")
    shutil.rmtree(second)
    shutil.move(first + "-away", first)
    # Abandoned is abandoned: what was found damaged is not trusted again, even if it comes back.
    assert anew(run()) == ["Train", "Bless", "Push"] and run.place("Model") not in (first, second)


@pytest.mark.parametrize("how", ["truncated", "gone", "older"])
def test_a_push_that_is_no_longer_live_is_done_again(run, how):
    (version,) = os.listdir(run.base)
    if how == "truncated":
        os.truncate(run.base / version / "content", 3)
    elif how == "gone":
        shutil.rmtree(run.base / version)
    else:
        run(seed=2)
    assert anew(run()) == ["Push"]
    newest = run.base / str(pusher.versions(str(run.base))[-1])
    assert (newest / "content").read_text() == "weights 1"
    assert anew(run()) == []


def test_a_push_is_live_as_long_as_its_version_answers(run, caplog):
    run(seed=2)
    first, second = pusher.versions(str(run.base))
    publishing.rollback(str(run.base))
    assert anew(run()) == []
    with caplog.at_level("WARNING", "footfall.progress"):
        assert anew(run(seed=2)) == ["Push"]
    assert f"{run.base}/{second} does not answer: it was withdrawn" in caplog.text
    # These toys have no fingerprint, so that the model was pushed again.
    third = pusher.versions(str(run.base))[-1]
    with caplog.at_level("WARNING", "footfall.progress"):
        assert anew(run()) == ["Push"]
    assert f"{run.base}/{first} does not answer: {third} does" in caplog.text


def test_an_artifact_in_the_way_is_kept_and_no_part_of_the_new_one(run, caplog):
    """The store is one of yesterday: it gives numbers anew that folders have already."""
    shutil.copy(run.run_dir / "metadata.sqlite", run.run_dir.parent / "backup")
    run(seed=2)
    model = run.place("Model")
    shutil.copy(run.run_dir.parent / "backup", run.run_dir / "metadata.sqlite")
    with caplog.at_level("WARNING", "footfall.progress"):
        assert anew(run(seed=3)) == ["Train", "Bless", "Push"]
    assert run.place("Model") == model and "was there already" in caplog.text
    with open(os.path.join(model, "content"), encoding="utf-8") as stream:
        assert stream.read() == "weights 3"
    with open(os.path.join(f"{model}.set-aside-1", "content"), encoding="utf-8") as stream:
        assert stream.read() == "weights 2"


def test_the_newest_run_is_the_last_one_whatever_the_clock_said(run):
    import sqlite3

    run(seed=2)
    with sqlite3.connect(run.run_dir / "metadata.sqlite") as database:
        # A day goes by twice: the second run comes before the first one by the clock.
        database.execute(
            "UPDATE Context SET create_time_since_epoch = create_time_since_epoch - 86400000 "
            "WHERE id = (SELECT max(id) FROM Context WHERE type_id = "
            "(SELECT id FROM Type WHERE name = 'pipeline_run'))"
        )
    with open(os.path.join(run.place("Model"), "content"), encoding="utf-8") as stream:
        assert stream.read() == "weights 2"


def test_a_disk_that_gets_full_leaves_nothing_that_looks_finished(small_disk, monkeypatch):
    """Not even the metadata store can be told."""
    place, _ = small_disk
    run, write = Run(place / "run"), _write

    def write_until_it_is_full(uri, text):
        write(uri, text)
        if text.startswith("weights"):
            fill_disk(place)
            with open(os.path.join(uri, "more"), "w", encoding="utf-8") as stream:
                stream.write("x" * 9000)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "_write", write_until_it_is_full)
        with pytest.raises(Exception) as full:
            run()
    assert "the disk is full" in failures.root_cause(full.value)
    with pytest.raises(errors.InputError, match="free some space"):
        run()
    (place / "filler").unlink()
    assert anew(run()) == ["Train", "Bless", "Push"]
    assert sorted(os.listdir(run.place("Model"))) == ["content", "saved_model.pb"] and anew(run()) == []


def test_tfx_is_as_it_was_afterwards(run):
    from tfx.orchestration.portable import cache_utils, launcher, outputs_utils

    for function in (
        cache_utils.get_cached_outputs,
        launcher.Launcher._publish_successful_execution,
        outputs_utils.make_output_dirs,
    ):
        assert function.__module__.startswith("tfx.")
