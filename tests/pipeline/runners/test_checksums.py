"""Artifacts that are as they were made, and those that are not."""

import os
import pathlib
import shutil

import pytest

from pipeline.runners import checksums

LARGE = b"x" * 100


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    monkeypatch.setattr(checksums, "_ALWAYS_READ", 50)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model" / "8"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.data").write_bytes(LARGE)
    return folder


@pytest.fixture
def record(model, tmp_path):
    path = str(tmp_path / "checksums" / "8.json")
    checksums.write(str(model), path)
    return path


def rewritten(path, data):
    """Other content of the same size; the time of modification is set back."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


VARIABLES = pathlib.Path("variables/variables.data")
DAMAGE = {
    "truncated": (lambda m: os.truncate(m / VARIABLES, 40), "variables.data has 40 bytes, not 100"),
    "emptied": (lambda m: (m / "saved_model.pb").write_bytes(b""), "saved_model.pb has 0 bytes, not 5"),
    "gone": (lambda m: (m / VARIABLES).unlink(), "variables.data is gone"),
    "all gone": (lambda m: shutil.rmtree(m), "model/8 is gone"),
    "added": (lambda m: (m / "part-9").touch(), "part-9 was added"),
    "small, other": (lambda m: rewritten(m / "saved_model.pb", b"grapf"), "saved_model.pb has other content"),
    "large, other": (lambda m: rewritten(m / VARIABLES, b"y" * 100), "variables.data has other content"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_named(model, record, how):
    assert checksums.problem(str(model), record) is None
    damage, said = DAMAGE[how]
    damage(model)
    for _ in range(2):
        assert said in checksums.problem(str(model), record)


def test_a_large_file_is_read_again_only_if_the_filesystem_says_that_it_may_have_changed(
    model, record, monkeypatch
):
    read = []
    original = checksums._read
    monkeypatch.setattr(
        checksums, "_read", lambda path: (read.append(os.path.basename(path)), original(path))[1]
    )
    assert checksums.problem(str(model), record) is None
    assert read == ["saved_model.pb"]
    os.utime(model / VARIABLES)
    for expected in (["saved_model.pb", "variables.data"], ["saved_model.pb"]):
        read.clear()
        assert checksums.problem(str(model), record) is None
        assert sorted(read) == expected


def test_a_copy_is_as_good(model, record, tmp_path):
    shutil.copytree(model, tmp_path / "copy")
    assert checksums.problem(str(tmp_path / "copy"), record) is None
    os.truncate(tmp_path / "copy" / VARIABLES, 99)
    assert "has 99 bytes" in checksums.problem(str(tmp_path / "copy"), record)


def test_what_was_made_before_there_were_records_gets_one(model, tmp_path):
    record = str(tmp_path / "none" / "8.json")
    assert checksums.problem(str(model), record) is None
    os.truncate(model / VARIABLES, 40)
    assert "has 40 bytes" in checksums.problem(str(model), record)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}', '{"files": {"a": [1]}}', "\0" * 50])
def test_a_damaged_record_is_no_reason_to_trust(model, record, text):
    with open(record, "w") as stream:
        stream.write(text)
    assert "cannot be read" in checksums.problem(str(model), record)


def test_a_single_file_is_an_artifact_and_hidden_files_are_none_of_it(tmp_path):
    value, record = tmp_path / "value", str(tmp_path / "record.json")
    value.write_text("3")
    checksums.write(str(value), record)
    assert checksums.problem(str(value), record) is None
    value.write_text("4")
    assert "value has other content" in checksums.problem(str(value), record)
    folder = tmp_path / "folder"
    folder.mkdir()
    checksums.write(str(folder), record)
    (folder / ".nfs01").touch()
    assert checksums.problem(str(folder), record) is None
