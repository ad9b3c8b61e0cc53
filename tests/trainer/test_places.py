import os
import pathlib
import time

import pytest

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


def test_where_nothing_is_left_nothing_is_copied_or_missed(tmp_path):
    place = places.Place(str(tmp_path / "none"), _KEY, "run")
    place.claim()
    place.leave()
    assert not os.path.exists(tmp_path / "none")
