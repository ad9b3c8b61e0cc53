import os
import pathlib
import time

import pytest
import tensorflow as tf

from trainer import places

_KEY = "abc"


def _write(folder, name="ckpt-1.index", text="weights", age=0.0):
    path = pathlib.Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)


def _read(folder, name="ckpt-1.index"):
    return pathlib.Path(folder, name).read_text()


def test_a_second_attempt_finds_the_folder_of_the_first(tmp_path):
    for owner in (None, "run"):
        place = places.Place(str(tmp_path), _KEY, owner)
        place.claim()
        _write(place.folder)
        again = places.Place(str(tmp_path), _KEY, owner)
        again.claim()
        assert again.folder == place.folder and _read(again.folder) == "weights"
        again.leave()
        assert not os.path.exists(place.folder)


def test_a_run_begins_with_a_copy_of_what_the_last_other_one_left(tmp_path):
    for owner, age in (("old", 200), ("last", 100), ("older", 300)):
        _write(places.Place(str(tmp_path), _KEY, owner).folder, text=owner, age=age)
        _write(
            places.Place(str(tmp_path), _KEY, owner).folder, os.path.join("trial", "best.index"), owner, age
        )
    place = places.Place(str(tmp_path), _KEY, "new")
    place.claim()
    assert _read(place.folder) == _read(place.folder, os.path.join("trial", "best.index")) == "last"
    # Those who are at work keep theirs, whatever the new one does.
    _write(place.folder, text="new")
    place.leave()
    assert _read(places.Place(str(tmp_path), _KEY, "last").folder) == "last"
    assert not os.path.exists(place.folder)


def _during_copies(monkeypatch, then):
    """Has something happen after each copied file, and returns the names of these."""
    copy, copied = tf.io.gfile.copy, []

    def copy_and(source, target, overwrite=False):
        copy(source, target, overwrite)
        copied.append(os.path.basename(source))
        then(copied)

    monkeypatch.setattr(tf.io.gfile, "copy", copy_and)
    return copied


_FILES = ("best.data", "best.index", "ckpt-1.data", "ckpt-1.index")


def _names(folder):
    return {path.name for path in pathlib.Path(folder).iterdir()}


def test_a_copy_that_was_broken_off_is_made_again(tmp_path, monkeypatch):
    def die(copied):
        if len(copied) == 2:
            raise KeyboardInterrupt

    other = places.Place(str(tmp_path), _KEY, "other").folder
    for name in _FILES:
        _write(other, name, age=100)
    place = places.Place(str(tmp_path), _KEY, "run")
    with monkeypatch.context() as during:
        _during_copies(during, die)
        with pytest.raises(KeyboardInterrupt):
            place.claim()
    assert len(_names(place.folder) & set(_FILES)) == 2
    # To others it is nothing that a run has left, although it is newer.
    third = places.Place(str(tmp_path), _KEY, "third")
    third.claim()
    assert _names(third.folder) == set(_FILES)
    third.leave()
    _write(other, "ckpt-2.index")
    again = places.Place(str(tmp_path), _KEY, "run")
    again.claim()
    assert _names(again.folder) == {*_FILES, "ckpt-2.index"}
    # From then on it is the run's own.
    _write(other, "ckpt-3.index")
    again.claim()
    assert "ckpt-3.index" not in _names(again.folder)


def test_of_a_copy_that_was_broken_off_what_nobody_else_has_any_more_is_kept(tmp_path, monkeypatch):
    def die(copied):
        if len(copied) == 3:
            raise KeyboardInterrupt

    other, place = (places.Place(str(tmp_path), _KEY, name) for name in ("other", "run"))
    for name in _FILES:
        _write(other.folder, name, age=100)
    with monkeypatch.context() as during:
        _during_copies(during, die)
        with pytest.raises(KeyboardInterrupt):
            place.claim()
    other.leave()
    place.claim()
    assert len(_names(place.folder)) == 3 and _names(place.folder) < set(_FILES)


@pytest.mark.parametrize("ends", [True, False])
def test_a_copy_is_of_one_moment(tmp_path, monkeypatch, ends):
    """The other run has a better epoch when one of the two files of its best weights has been copied."""
    other = places.Place(str(tmp_path), _KEY, "other").folder

    best = _FILES[:2]

    def better(copied):
        if copied[-1] in best and (sum(name in best for name in copied) == 1 or not ends):
            for name in best:
                _write(other, name, text=f"after {len(copied)}")

    for name in _FILES:
        _write(other, name, text="first", age=100)
    place = places.Place(str(tmp_path), _KEY, "run")
    copied = _during_copies(monkeypatch, better)
    place.claim()
    assert _names(place.folder) == set(_FILES)
    # Whoever never rests is not waited for.
    assert len(copied) == len(_FILES) * (2 if ends else 3)
    if ends:
        assert {_read(place.folder, name) for name in best} == {_read(other, name) for name in best}
        assert _read(place.folder, best[0]) == _read(place.folder, best[1]) != "first"


def test_what_a_run_has_of_its_own_is_left_as_it_is(tmp_path):
    place = places.Place(str(tmp_path), _KEY, "own")
    _write(place.folder, text="own", age=500)
    _write(places.Place(str(tmp_path), _KEY, "other").folder, text="other")
    place.claim()
    assert _read(place.folder) == "own"


@pytest.mark.parametrize("owner", [None, "run"])
def test_what_nobody_goes_on_with_is_taken_away_after_a_week(tmp_path, owner):
    day = 24 * 3600
    place = places.Place(str(tmp_path), _KEY, owner)
    _write(place.folder)
    _write(tmp_path / "search-x" / "trial", age=8 * day)
    _write(tmp_path / "forgotten" / "theirs", age=8 * day)
    _write(tmp_path / "waiting", age=6 * day)
    place.leave()
    left = [name for name in os.listdir(tmp_path) if name != _KEY]
    assert left == ["waiting"]


@pytest.mark.parametrize("by_another", [True, False])
def test_a_training_that_is_over_does_not_fail_of_what_it_takes_away(
    tmp_path, monkeypatch, caplog, by_another
):
    remove = tf.io.gfile.rmtree

    def fail(folder):
        if by_another:
            remove(folder)
        raise tf.errors.NotFoundError(None, None, "it is gone")

    place = places.Place(str(tmp_path), _KEY, "run")
    _write(place.folder)
    _write(tmp_path / "forgotten", age=8 * 24 * 3600)
    monkeypatch.setattr(tf.io.gfile, "rmtree", fail)
    place.leave()
    said = [f"{folder} cannot be removed: it is gone" for folder in (place.folder, tmp_path / "forgotten")]
    assert caplog.messages == ([] if by_another else said)


_FAILURES = [OSError("it is down"), tf.errors.UnavailableError(None, None, "it is down")]


@pytest.mark.parametrize("error", _FAILURES, ids=["os", "tensorflow"])
@pytest.mark.parametrize("look", ["exists", "isdir", "listdir", "walk", "rmtree"])
def test_a_training_that_is_over_does_not_fail_of_a_file_system_that_does(
    tmp_path, monkeypatch, caplog, look, error
):
    def down(*given, **named):
        raise error

    place = places.Place(str(tmp_path), _KEY, "run")
    _write(place.folder)
    monkeypatch.setattr(tf.io.gfile, look, down)
    place.leave()
    assert caplog.messages and all(text.endswith("cannot be removed: it is down") for text in caplog.messages)


@pytest.mark.parametrize("look", ["walk", "rmtree"])
def test_a_folder_that_is_closed_keeps_no_other_one(tmp_path, monkeypatch, caplog, look):
    place, closed = places.Place(str(tmp_path), _KEY), str(tmp_path / "closed")
    for folder in (place.folder, closed, tmp_path / "forgotten"):
        _write(folder, age=8 * 24 * 3600)
    of_file_system = getattr(tf.io.gfile, look)

    def partly(path):
        if path == closed:
            raise PermissionError("it is closed")
        return of_file_system(path)

    monkeypatch.setattr(tf.io.gfile, look, partly)
    place.leave()
    assert os.listdir(tmp_path) == ["closed"]
    assert caplog.messages == [f"{closed} cannot be removed: it is closed"]


def test_where_nothing_is_left_nothing_is_copied_or_missed(tmp_path):
    place = places.Place(str(tmp_path / "none"), _KEY, "run")
    place.claim()
    place.leave()
    assert not os.path.exists(tmp_path / "none")
