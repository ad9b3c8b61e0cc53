"""A run's store, broken in every way that a disk or a person breaks it."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.runners import store
from schemas import errors


@pytest.fixture
def run_dir(tmp_path):
    """A run's folder with a store of 300 artifacts, a pushed version and a checkpoint."""
    folder = tmp_path / "run"
    for name in ("pipeline_root/Trainer/model/7", "checkpoints/ab", "serving/run/1700000000"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text(name)
    (folder / "run.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    opened = metadata_store.MetadataStore(store.connection(str(folder / store.FILE)))
    kind = opened.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
    opened.put_artifacts([metadata_store_pb2.Artifact(type_id=kind, uri=f"/{n}") for n in range(300)])
    return folder


def sql(path, *statements):
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)


def overwrite(path, at, data):
    with open(path, "r+b") as stream:
        stream.seek(at)
        stream.write(data)


def another_database(path):
    path.unlink()
    sql(path, "CREATE TABLE bookmarks (url TEXT)")


BREAKS = {
    "deleted": (lambda path: path.unlink(), "is missing"),
    "emptied": (lambda path: os.truncate(path, 0), "is empty"),
    "half": (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged (database disk image is"),
    "header only": (lambda path: os.truncate(path, 100), "is damaged (database disk image is"),
    "garbage": (lambda path: path.write_bytes(b"garbage" * 999), "is damaged (file is not a database)"),
    "a page": (lambda p: overwrite(p, p.stat().st_size // 2, b"\xff" * 4096), "is damaged ("),
    "another": (another_database, "is an SQLite file, but no metadata store"),
    "a table": (lambda path: sql(path, "DROP TABLE Event"), "is an SQLite file, but no metadata store"),
    "no version": (lambda path: sql(path, "DELETE FROM MLMDEnv"), "has no version"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_lost_store_is_told_and_what_it_explained_is_kept_aside(run_dir, how):
    break_it, why = BREAKS[how]
    break_it(run_dir / store.FILE)
    said = store.recover(str(run_dir))
    assert why in said and str(run_dir / "set-aside-1") in said and "\n" not in said
    kept = run_dir / "set-aside-1"
    assert (kept / "pipeline_root/Trainer/model/7/file").read_text() == "pipeline_root/Trainer/model/7"
    assert (kept / "checkpoints/ab/file").exists() and (kept / "run.json").exists()
    assert why in (kept / "WHY.txt").read_text()
    assert (kept / store.FILE).exists() == (how != "deleted")
    # What a server answers from, and what is not Footfall's, stays.
    left = {path.name for path in run_dir.iterdir()}
    assert left == {"serving", "notes.txt", "set-aside-1"}
    assert (run_dir / "serving/run/1700000000/file").exists()
    # Once.
    assert store.recover(str(run_dir)) is None
    metadata_store.MetadataStore(store.connection(str(run_dir / store.FILE)))


def test_each_lost_store_is_kept_apart(run_dir):
    for number in (1, 2, 11):
        if number == 11:
            (run_dir / "set-aside-10").mkdir()
            (run_dir / "set-aside-old").mkdir()
        (run_dir / store.FILE).write_bytes(b"garbage")
        assert f"set-aside-{number} " in store.recover(str(run_dir))


def test_a_sound_store_is_left_as_it_is(run_dir):
    before = (run_dir / store.FILE).read_bytes()
    assert store.recover(str(run_dir)) is None
    assert (run_dir / store.FILE).read_bytes() == before
    assert not list(run_dir.glob("set-aside-*"))


@pytest.mark.parametrize("name", ["pipeline_root", "checkpoints"])
def test_what_an_old_store_numbered_is_never_taken_for_a_new_ones(run_dir, name):
    """Only this folder is left; a new store counts from 1 again."""
    (run_dir / store.FILE).unlink()
    for other in {"pipeline_root", "checkpoints"} - {name}:
        (run_dir / other).rename(run_dir.parent / other)
    assert "is missing" in store.recover(str(run_dir))
    assert not (run_dir / name).exists()


def write_point(sweep, name, model):
    folder = sweep / "points" / name / "seed-1"
    folder.mkdir(parents=True)
    (folder / "point.json").write_text(json.dumps({"model": str(model), "examples": str(model)}))


def test_points_that_were_copied_from_another_sweep_are_no_sign_of_a_lost_store(tmp_path):
    """They name models elsewhere: a study starts from pretrainings that another one has measured."""
    sweep, other = tmp_path / "sweep", tmp_path / "other" / "pipeline_root" / "Trainer" / "model" / "5"
    write_point(sweep, "byb", other)
    other.mkdir(parents=True)
    assert store.recover(str(sweep)) is None
    assert [path.name for path in sweep.iterdir()] == ["points"]
    # Nor are they set aside with what only the store explained.
    (sweep / "checkpoints").mkdir()
    assert "is missing" in store.recover(str(sweep))
    assert {path.name for path in sweep.iterdir()} == {"points", "set-aside-1"}


@pytest.mark.parametrize("how", ["own", "gone", "damaged"])
def test_points_of_a_store_that_is_lost_are_set_aside(tmp_path, how):
    """A new store would count up to their numbers, and they would be of other models."""
    sweep, other = tmp_path / "sweep", tmp_path / "other"
    other.mkdir()
    write_point(sweep, "byb", other)
    write_point(sweep, how, {"own": sweep / "pipeline_root" / "5", "gone": other / "5"}.get(how, other))
    if how == "damaged":
        (sweep / "points" / how / "seed-1" / "point.json").write_text("[")
    assert "is missing" in store.recover(str(sweep))
    assert (sweep / "set-aside-1" / "points" / "byb").is_dir() and not (sweep / "points").exists()


def test_a_run_stopped_before_it_had_a_store_is_no_lost_one(tmp_path):
    assert store.recover(str(tmp_path)) is None
    (tmp_path / "experiment.yaml").write_text("name: run")
    (tmp_path / store.FILE).touch()
    (tmp_path / f"{store.FILE}-journal").write_bytes(b"half a header")
    assert store.recover(str(tmp_path)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.yaml"]


def test_what_a_killed_process_had_begun_is_rolled_back(run_dir):
    """With a journal beside it, the store is not as it stands in its file."""
    path = run_dir / store.FILE
    killed = f"""
import os, sqlite3
database = sqlite3.connect({str(path)!r}, isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN")
database.execute("UPDATE Artifact SET uri = hex(randomblob(400))")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert path.with_name(f"{store.FILE}-journal").stat().st_size > 0
    assert store.recover(str(run_dir)) is None
    opened = metadata_store.MetadataStore(store.connection(str(path)))
    assert {artifact.uri for artifact in opened.get_artifacts()} == {f"/{n}" for n in range(300)}


def test_a_locked_store_is_not_lost_and_its_holder_is_named(run_dir, monkeypatch):
    monkeypatch.setattr(store, "_LOCK_SECONDS", 0.1)
    path = run_dir / store.FILE
    holding = f"""
import sqlite3, sys
database = sqlite3.connect({str(path)!r}, isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            errors.InputError, match=r"metadata\.sqlite: is locked by another process"
        ) as found:
            store.recover(str(run_dir))
        other.stdin.close()
    assert f"({other.pid})" in str(found.value) or not os.path.exists("/proc/locks")
    assert store.recover(str(run_dir)) is None and not list(run_dir.glob("set-aside-*"))


def test_a_read_only_store_is_not_lost(run_dir, monkeypatch):
    """As a process that may only read sees it (root may write to any file)."""
    original = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda at, **options: original(at.replace("mode=rw", "mode=ro"), **options)
    )
    with pytest.raises(
        errors.InputError, match=r"cannot be written \(attempt to write a readonly database\): free"
    ):
        store.recover(str(run_dir))
    assert not list(run_dir.glob("set-aside-*"))


def test_a_newer_store_is_refused_and_an_older_one_upgraded(run_dir):
    path = run_dir / store.FILE
    known = store._library_version()
    sql(path, f"UPDATE MLMDEnv SET schema_version = {known + 1}")
    with pytest.raises(errors.InputError, match=rf"schema {known + 1}, this one knows {known}.*--runs"):
        store.recover(str(run_dir))
    sql(path, f"UPDATE MLMDEnv SET schema_version = {known}")
    metadata_store.downgrade_schema(store.connection(str(path)), known - 1)
    said = store.recover(str(run_dir))
    assert f"upgraded from schema {known - 1} to {known}" in said
    assert len(metadata_store.MetadataStore(store.connection(str(path))).get_artifacts()) == 300
    with sqlite3.connect(f"{path}.schema-{known - 1}") as database:
        assert database.execute("SELECT schema_version FROM MLMDEnv").fetchone() == (known - 1,)
    assert store.recover(str(run_dir)) is None
