"""A run's folder: one run at a time, nothing left of killed ones, and one line where it cannot be used."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.runners import folder, store
from schemas import errors
from tests.pipeline.runners.conftest import fill_disk

RUNNING, COMPLETE = metadata_store_pb2.Execution.RUNNING, metadata_store_pb2.Execution.COMPLETE


def opened(run_dir):
    return metadata_store.MetadataStore(store.connection(folder.places(str(run_dir))["metadata_path"]))


@pytest.fixture
def run_dir(tmp_path):
    """A folder with a finished execution, 1, and one that was killed, 2."""
    run_dir = tmp_path / "runs" / "walk"
    run_dir.mkdir(parents=True)
    mlmd = opened(run_dir)
    kind = mlmd.put_execution_type(metadata_store_pb2.ExecutionType(name="Transform"))
    states = [COMPLETE, RUNNING]
    mlmd.put_executions(
        [metadata_store_pb2.Execution(type_id=kind, last_known_state=state) for state in states]
    )
    kind = mlmd.put_artifact_type(metadata_store_pb2.ArtifactType(name="Examples"))
    for number in (1, 2):
        place = run_dir / "pipeline_root" / "Transform" / "examples" / str(number)
        place.mkdir(parents=True)
        (place / "part").write_text("windows")
        for kept in ("executor_execution/{}/.temp/work", "stateful_working_dir/{}"):
            (run_dir / "pipeline_root" / "Transform" / ".system" / kept.format(number)).mkdir(parents=True)
    mlmd.put_artifacts(
        [metadata_store_pb2.Artifact(type_id=kind, uri=str(place.parent / "1"), state=2)],
    )
    return run_dir


def refuse(text):
    raise AssertionError(text)


def test_what_a_killed_run_has_left_is_cleared(run_dir):
    (run_dir / "tmp" / "model").mkdir(parents=True)
    with folder.at_work(str(run_dir), refuse):
        assert os.listdir(run_dir / "tmp") == []
        outputs = run_dir / "pipeline_root" / "Transform" / "examples"
        assert [path.name for path in outputs.iterdir()] == ["1"] and (outputs / "1" / "part").exists()
        system = run_dir / "pipeline_root" / "Transform" / ".system"
        assert not list(system.glob("executor_execution/*/.temp")) + list(
            system.glob("stateful_working_dir/*")
        )
        found = [execution.last_known_state for execution in opened(run_dir).get_executions()]
        assert found == [COMPLETE, metadata_store_pb2.Execution.CANCELED]


def test_temporary_files_of_this_process_and_its_children_are_in_the_folder(run_dir, monkeypatch):
    monkeypatch.delenv("TMPDIR", raising=False)
    before = tempfile.gettempdir()
    ask = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
    with folder.at_work(str(run_dir), refuse):
        inside = str(run_dir / "tmp")
        assert tempfile.gettempdir() == inside
        assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == inside
        tempfile.mkdtemp()
    assert tempfile.gettempdir() == before and "TMPDIR" not in os.environ
    assert not (run_dir / "tmp").exists()


def test_a_second_run_is_kept_out_and_touches_nothing(run_dir):
    with folder.at_work(str(run_dir), refuse):
        (run_dir / "tmp" / "of the first").touch()
        with pytest.raises(
            errors.InputError, match=f"another run is at work .*process {os.getpid()} on "
        ) as found:
            with folder.at_work(str(run_dir), refuse):
                pass
        assert str(found.value).startswith(f"{run_dir}: ") and (run_dir / "tmp" / "of the first").exists()
        # In another folder it may work, and each has its own temporary files.
        with folder.at_work(str(run_dir.parent / "other"), refuse):
            assert tempfile.gettempdir() == str(run_dir.parent / "other" / "tmp")
        assert (run_dir / "tmp" / "of the first").exists()


def test_a_lock_is_let_go_of_by_a_killed_process_with_children(run_dir):
    """A child that outlives it for a while does not keep the folder."""
    program = f"""
import os, subprocess, sys
from pipeline.runners import folder
with folder.at_work({str(run_dir)!r}, print):
    # With a pipe of this test it would be waited for.
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(child.pid, flush=True)
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    child = int(done.stdout)
    try:
        with folder.at_work(str(run_dir), refuse):
            os.kill(child, 0)
    finally:
        os.kill(child, 9)


def test_a_lost_store_is_said_once(run_dir):
    (run_dir / store.FILE).write_bytes(b"garbage")
    said = []
    with folder.at_work(str(run_dir), said.append):
        assert len(said) == 1 and "is damaged" in said[0] and not (run_dir / "pipeline_root").exists()
    with folder.at_work(str(run_dir), refuse):
        pass


def test_artifacts_of_a_folder_that_was_moved_are_where_it_is(run_dir):
    moved, said = run_dir.with_name("moved"), []
    shutil.copytree(run_dir, moved)
    with folder.at_work(str(moved), said.append):
        (artifact,) = opened(moved).get_artifacts()
        assert artifact.uri == str(moved / "pipeline_root" / "Transform" / "examples" / "1")
    assert len(said) == 1 and "was moved or copied here" in said[0]
    (artifact,) = opened(run_dir).get_artifacts()
    assert artifact.uri == str(run_dir / "pipeline_root" / "Transform" / "examples" / "1")


def test_the_same_folder_by_another_path_is_not_moved(run_dir):
    link = run_dir.parents[1] / "link"
    link.symlink_to(run_dir.parent)
    with folder.at_work(str(link / "walk"), refuse):
        (artifact,) = opened(run_dir).get_artifacts()
        assert artifact.uri == str(run_dir / "pipeline_root" / "Transform" / "examples" / "1")


@pytest.mark.parametrize("made", [True, False])
def test_a_file_in_the_folders_place_is_one_line(tmp_path, made):
    place = tmp_path / "runs" / "walk"
    place.parent.mkdir()
    (place if made else place.parent / "file").touch()
    path = place if made else place.parent / "file" / "walk"
    with pytest.raises(errors.InputError, match="cannot be written .*--runs") as found:
        with folder.at_work(str(path), refuse):
            pass
    assert str(place.parent) in str(found.value) and "\n" not in str(found.value)


def test_a_full_disk_is_one_line_and_what_is_there_stays(small_disk, run_dir):
    place, _ = small_disk
    shutil.copytree(run_dir, place / "walk")
    fill_disk(place)
    with pytest.raises(errors.InputError, match=r"No space left on device\): free some space") as found:
        with folder.at_work(str(place / "walk"), refuse):
            pass
    assert str(place) in str(found.value) and "\n" not in str(found.value)
    (place / "filler").unlink()
    with folder.at_work(str(place / "walk"), lambda text: None):
        assert len(opened(place / "walk").get_executions()) == 2


def test_a_read_only_disk_is_one_line(small_disk, run_dir):
    place, mount = small_disk
    shutil.copytree(run_dir, place / "walk")
    mount("remount", "ro")
    with pytest.raises(errors.InputError, match=r"cannot be written \(Read-only file system\)") as found:
        with folder.at_work(str(place / "walk"), refuse):
            pass
    assert str(place) in str(found.value) and "--runs" in str(found.value)
    mount("remount", "rw")
    assert not list(place.glob("walk/set-aside-*"))
