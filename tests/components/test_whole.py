"""Files that are there as a whole or not at all, and what kills leave of them."""

import os
import time

import pytest
import tensorflow as tf

from components import whole


@pytest.mark.parametrize("data", ["text", b"\x00\xff"])
def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path, data):
    path = tmp_path / "one" / "two" / "file"
    for _ in range(2):
        whole.write(str(path), data)
        assert (path.read_text() if isinstance(data, str) else path.read_bytes()) == data
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, error):
    def fail(*args, **options):
        raise error("the disk is full")

    path = tmp_path / "file"
    whole.write(str(path), "before")
    monkeypatch.setattr(tf.io.gfile, "rename", fail)
    with pytest.raises(error, match="the disk is full"):
        whole.write(str(path), "after")
    assert os.listdir(tmp_path) == ["file"] and path.read_text() == "before"


def _kill_while_writing(path, monkeypatch):
    """As `kill -9` leaves it: nothing is tidied up."""
    with monkeypatch.context() as during:
        for name in ("rename", "remove"):
            during.setattr(tf.io.gfile, name, lambda *args, **options: None)
        whole.write(str(path), "half")


def test_what_a_kill_has_left_is_removed_after_a_day(tmp_path, monkeypatch):
    day = 24 * 3600
    (tmp_path / "other.partial").touch()
    os.utime(tmp_path / "other.partial", (time.time() - 9 * day,) * 2)
    for name, age in (("file", 1.1), ("other", 1.1), ("file", 0.9)):
        before = set(os.listdir(tmp_path))
        _kill_while_writing(tmp_path / name, monkeypatch)
        (left,) = set(os.listdir(tmp_path)) - before
        os.utime(tmp_path / left, (time.time() - age * day,) * 2)
    assert len(os.listdir(tmp_path)) == 4
    whole.write(str(tmp_path / "file"), "text")
    # The last one may be written to, as another run writes the same file.
    assert set(os.listdir(tmp_path)) == {"file", "other.partial", left}


@pytest.mark.parametrize("look", ["listdir", "stat", "remove"])
def test_what_cannot_be_removed_fails_nothing(tmp_path, monkeypatch, look):
    def down(*args, **options):
        raise tf.errors.UnavailableError(None, None, "it is down")

    _kill_while_writing(tmp_path / "file", monkeypatch)
    monkeypatch.setattr(tf.io.gfile, look, down)
    whole.write(str(tmp_path / "file"), "text")
    assert (tmp_path / "file").read_text() == "text"
