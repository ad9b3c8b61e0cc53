"""Versions that are broken in any way neither end the watcher nor take the place of a sound one."""

import logging
import os
import shutil
import types

import pytest

from pipeline import publishing
from serving import loaded_model, manifest, model_store, published


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A base folder, a store that looks when it is told to, and a stand-in for loading: a file that says `good`."""

    def load(version, path):
        with open(os.path.join(path, "saved_model.pb"), encoding="utf-8") as stream:
            content = stream.read()
        if content == "index":
            raise IndexError("Read less bytes than requested")
        if content != "good":
            raise loaded_model.BrokenVersion(content)
        return types.SimpleNamespace(version=version, path=path)

    monkeypatch.setattr(loaded_model, "load", load)

    def put(name, content="good"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "saved_model.pb").write_text(content)

    stores = []

    def start():
        stores.append(model_store.ModelStore(str(tmp_path), poll_seconds=3600))
        return stores[-1]

    yield types.SimpleNamespace(base=tmp_path, put=put, start=start)
    for store in stores:
        store.close()


def live(store):
    store.refresh()
    return store.model.version if store.model else None


def test_odd_names_are_no_versions(watched):
    watched.put("3")
    for name in ("²", "１", "007", "-1", str(10**20), "1.5", "0", "x", ".pushing-1"):
        watched.put(name)
    (watched.base / "5").write_text("a file")
    (watched.base / "6" / "saved_model.pb").mkdir(parents=True)
    store = watched.start()
    assert live(store) == 3
    watched.put("4")
    assert live(store) == 4


@pytest.mark.parametrize("content", ["index", "it has no signatures"])
def test_a_broken_version_replaces_nothing_is_said_once_and_tried_when_it_changes(watched, caplog, content):
    watched.put("1")
    store = watched.start()
    watched.put("2", content)
    with caplog.at_level(logging.ERROR, "footfall.serving"):
        assert [live(store) for _ in range(5)] == [1] * 5
    assert [record.message[:24] for record in caplog.records] == ["version 2 does not load:"]
    watched.put("2", "good")
    assert live(store) == 2


def test_a_sound_version_of_the_same_size_is_seen(watched):
    watched.put("1", "evil")
    os.utime(watched.base / "1" / "saved_model.pb", ns=(1, 1))
    store = watched.start()
    assert live(store) is None
    watched.put("1", "good")
    assert live(store) == 1


def test_a_shortage_that_passes_is_waited_for(watched, monkeypatch):
    """The files were sound all along: after a while a version is tried again, but not for ever."""
    watched.put("1", "index")
    before = os.stat(watched.base / "1" / "saved_model.pb")
    now, tries = [1000.0], []
    load = loaded_model.load
    monkeypatch.setattr(model_store.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loaded_model, "load", lambda *given: (tries.append(given), load(*given))[1])
    store = watched.start()
    assert live(store) is None and len(tries) == 1
    for _ in range(20):
        now[0] += 61
        live(store)
    assert len(tries) == 6
    watched.put("1", "good")
    os.utime(watched.base / "1" / "saved_model.pb", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert live(store) == 1


def test_a_version_that_is_taken_away_is_followed_by_the_newest_sound_one_before(watched):
    for name, content in (("1", "good"), ("2", "good"), ("3", "broken"), ("4", "good")):
        watched.put(name, content)
    store = watched.start()
    assert live(store) == 4
    shutil.rmtree(watched.base / "4")
    assert live(store) == 2
    shutil.rmtree(watched.base / "2")
    assert live(store) == 1


def test_the_last_version_goes_on_from_memory(watched, caplog):
    watched.put("1")
    store = watched.start()
    shutil.rmtree(watched.base / "1")
    with caplog.at_level(logging.ERROR, "footfall.serving"):
        assert live(store) == live(store) == 1
    assert len([r for r in caplog.records if "goes on answering from memory" in r.message]) == 1
    watched.put("2")
    assert live(store) == 2


def test_a_file_that_names_a_broken_version_is_said_to(watched, caplog):
    watched.put("8"), watched.put("9", "no graph")
    published.write(str(watched.base), published.Published((8,)))
    store = watched.start()
    published.write(str(watched.base), published.Published((9,)))
    for _ in range(3):
        assert live(store) == 8
    (*_, said) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said == (
        f"{published.path(str(watched.base))} names 9, none of which loads: version 8 goes on answering from memory; footfall "
        "rollback names an earlier one"
    )


def test_a_file_whose_label_moves_to_a_version_that_is_not_loaded_is_not_followed(watched, caplog):
    """TensorFlow Serving refuses it, see `tests/conformance/test_versions.py`."""
    for number in (7, 8, 9):
        watched.put(str(number))

    def say(*versions, **labels):
        published.write(str(watched.base), published.Published(versions, labels))

    # A server that starts knows no labels.
    say(9, stable=9)
    store = watched.start()
    say(7, stable=7)
    for _ in range(3):
        assert live(store) == store.get(label="stable").version == 9
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert said.endswith("is not followed: label 'stable' moves from version 9 to 7, which is not loaded")
    # What the two commands write: the label first goes, or its version comes first.
    say(7)
    assert live(store) == 7
    say(7, stable=7)
    assert live(store) == store.get(label="stable").version == 7
    say(7, 8, stable=7), store.refresh(), say(8, stable=8)
    assert live(store) == store.get(label="stable").version == 8


def test_a_file_that_is_not_followed_is_taken_once_the_version_of_its_label_loads(watched, caplog):
    """It was named before, and did not load: versions are loaded and let go of as the file said before."""

    def say(*versions, **labels):
        published.write(str(watched.base), published.Published(versions, labels))

    watched.put("7"), watched.put("8", "index")
    say(7, 8, stable=7)
    store = watched.start()
    say(7, 8, stable=8)
    assert [live(store) for _ in range(3)] == [7] * 3
    # Nor does a push change that.
    watched.put("9"), say(8, 9, stable=8)
    assert live(store) == store.get(label="stable").version == 7
    assert [r.getMessage()[:24] for r in caplog.records if "is not followed" not in r.getMessage()] == [
        "version 8 does not load:"
    ]
    assert len(caplog.records) == 2
    watched.put("8")
    assert live(store) == 8 and store.get(label="stable").version == 7
    assert live(store) == 9 and store.get(label="stable").version == 8
    with pytest.raises(loaded_model.RequestError, match="version 7 is not loaded"):
        store.get(7)


@pytest.mark.parametrize("command", ["promote", "rollback"])
def test_a_file_that_comes_and_goes_while_a_version_loads_is_made_up_for(
    watched, monkeypatch, caplog, command
):
    """The first file of the two commands says to load a version, or takes its label away, for 20 s."""
    clock, load = types.SimpleNamespace(now=0.0), loaded_model.load
    monkeypatch.setattr(model_store, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(publishing.verify, "check", lambda path: None)

    def wait(seconds):
        clock.now += seconds

    monkeypatch.setattr(publishing, "time", types.SimpleNamespace(sleep=wait))
    base = str(watched.base)

    def slow(version, path):
        if version == 9:
            getattr(publishing, command)(base, 7, *(["stable"] if command == "promote" else []))
        return load(version, path)

    for number in (7, 8):
        watched.put(str(number))
    published.write(base, published.Published((8,), {"stable": 8}))
    store = watched.start()
    monkeypatch.setattr(loaded_model, "load", slow)
    watched.put("9")
    published.publish(base, 9)
    assert live(store) == 9 and store.get(label="stable").version == 8
    said = published.read(base)
    assert said.labels == {"stable": 7}
    assert live(store) == max(said.versions) == (9 if command == "promote" else 7)
    assert store.get(label="stable").version == 7 and not caplog.records
    # From then on one step is refused again, as TensorFlow Serving refuses it.
    clock.now += 1
    published.write(base, published.Published((8,), {"stable": 8}))
    assert [live(store) for _ in range(3)] == [max(said.versions)] * 3
    assert "label 'stable' moves from version 7 to 8, which is not loaded" in caplog.text


def test_a_version_that_a_missed_file_named_is_tried_again(watched, monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(model_store, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    watched.put("7", "index"), watched.put("8")
    published.write(str(watched.base), published.Published((8,), {"stable": 8}))
    store = watched.start()
    clock.now += published.READ_SECONDS
    published.write(str(watched.base), published.Published((7,), {"stable": 7}))
    assert [live(store) for _ in range(3)] == [8] * 3 and store.get(label="stable").version == 8
    watched.put("7")
    assert live(store) == store.get(label="stable").version == 7


def test_a_server_starts_among_broken_versions_and_waits(watched):
    watched.put("8", "index")
    store = watched.start()
    with pytest.raises(loaded_model.RequestError, match="no version below"):
        store.get()
    watched.put("9")
    assert live(store) == 9 and store.get(9).version == 9
    with pytest.raises(loaded_model.RequestError, match="version 8 is not loaded, version 9 is"):
        store.get(8)


def test_a_look_that_fails_ends_no_watcher(watched, monkeypatch, caplog):
    watched.put("1")
    store = watched.start()
    monkeypatch.setattr(store, "_versions", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR, "footfall.serving"):
        store._look(), store._look()
    assert [r.message for r in caplog.records] == [
        f"cannot look for versions below {watched.base}: division by zero"
    ]
    monkeypatch.undo()


@pytest.fixture
def version(toy, tmp_path):
    shutil.copytree(toy / "model", tmp_path / "7")
    return tmp_path / "7"


def cut(path):
    """A file without its last half."""
    size = os.path.getsize(path)
    os.truncate(path, size // 2)


DAMAGE = {
    "variables cut": lambda folder: cut(folder / "variables" / "variables.data-00000-of-00001"),
    "index cut": lambda folder: cut(folder / "variables" / "variables.index"),
    "graph cut": lambda folder: cut(folder / "saved_model.pb"),
    "graph empty": lambda folder: (folder / "saved_model.pb").write_bytes(b""),
    "warm-up cut": lambda folder: cut(folder / "assets.extra" / "tf_serving_warmup_requests"),
    "variables gone": lambda folder: shutil.rmtree(folder / "variables"),
    "vocabularies cut": lambda folder: [cut(path) for path in (folder / "assets").iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_of_every_kind_is_found_when_a_version_is_loaded(version, damage):
    manifest.write(str(version), manifest.measure(str(version)))
    assert manifest.check(str(version)) is None
    DAMAGE[damage](version)
    with pytest.raises(loaded_model.BrokenVersion, match="has .* bytes, it had|is missing"):
        loaded_model.load(7, str(version))
    # Without the list of a push TensorFlow finds it, or an answer does; but a shorter vocabulary is one, too.
    os.remove(version / manifest.FILE)
    if damage != "vocabularies cut":
        with pytest.raises(Exception):  # noqa: B017  which one is TensorFlow's choice
            loaded_model.load(7, str(version))


def test_a_list_of_files_that_is_damaged_itself_is_no_proof(version):
    manifest.write(str(version), {})
    for content in ("", "[]", '{"files": 5}', '{"files": {"a": {}}}'):
        (version / manifest.FILE).write_text(content)
        assert manifest.check(str(version)) == f"{manifest.FILE} is damaged"


def test_a_version_without_signatures_is_broken(tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(loaded_model.BrokenVersion, match="it has no signatures"):
        loaded_model.load(1, str(tmp_path / "1"))
