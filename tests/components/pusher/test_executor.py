"""Pushes that are whole or not there."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import pytest
from tfx.types import standard_artifacts

from components.live_model import executor as live_model
from components.pusher import executor, verify
from pipeline import publishing
from schemas import errors, pushed
from serving import manifest, published


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    for number in range(50):
        (folder / "variables" / f"v{number}").write_bytes(b"x" * 1000)
    return str(folder)


def test_versions_grow_and_hold_the_whole_model(model, tmp_path):
    base = str(tmp_path / "serving")
    first, second = executor.push(model, base), executor.push(model, base)
    assert first < second and abs(first - time.time()) < 100
    assert executor.versions(base) == [first, second]
    for version in (first, second):
        folder = os.path.join(base, str(version))
        assert len(os.listdir(os.path.join(folder, "variables"))) == 50
        assert os.path.exists(os.path.join(folder, "saved_model.pb"))
    os.makedirs(os.path.join(base, "99999999999"))
    assert executor.push(model, base) == 100000000000


def test_the_newest_version_is_not_pushed_again(model, tmp_path):
    base, fingerprint = str(tmp_path / "serving"), os.path.join(model, "fingerprint.pb")
    for content, number in ((b"one", 1), (b"one", 1), (b"two", 2), (b"one", 3)):
        with open(fingerprint, "wb") as stream:
            stream.write(content)
        version = executor.push(model, base)
        assert len(executor.versions(base)) == number and version == executor.versions(base)[-1]


@pytest.mark.parametrize("labels", [{}, {"canary": True}])
def test_a_model_that_was_withdrawn_is_not_told_to_be_pushed(model, tmp_path, labels, caplog):
    """Also where somebody has given it a label since, so that it is loaded beside what answers."""
    base, uris = str(tmp_path / "serving"), {"model": model, "blessing": str(tmp_path / "blessing")}
    os.makedirs(uris["blessing"])

    def push():
        artifacts = {
            "model": standard_artifacts.Model(),
            "model_blessing": standard_artifacts.ModelBlessing(),
            "pushed_model": standard_artifacts.PushedModel(),
        }
        for name, artifact in artifacts.items():
            artifact.uri = uris.get(name.removeprefix("model_"), str(tmp_path / "pushed"))
        artifacts["model_blessing"].set_int_custom_property("blessed", 1)
        destination = {"filesystem": {"base_directory": base}}
        pushed = artifacts.pop("pushed_model")
        executor.Executor().Do(
            {name: [artifact] for name, artifact in artifacts.items()},
            {"pushed_model": [pushed]},
            {"push_destination": json.dumps(destination)},
        )
        return {name: value for name, value in pushed.mlmd_artifact.custom_properties.items()}

    (tmp_path / "model" / "fingerprint.pb").write_bytes(b"one")
    shutil.copytree(model, tmp_path / "trained" / "Format-Serving")
    uris["model"] = str(tmp_path / "trained")
    version = executor.push(str(tmp_path / "trained" / "Format-Serving"), base)
    assert push()["pushed"].int_value == 1
    labels = dict.fromkeys(labels, version)
    said = published.Published((*labels.values(), version + 1), labels, withdrawn=(version,))
    published.write(base, said)
    found = push()
    assert published.read(base) == said and f"{version} is there and does not answer" in caplog.text
    assert found["pushed"].int_value == 0 and found["withdrawn"].string_value == os.path.join(
        base, str(version)
    )


def test_a_model_is_not_pushed_over_one_that_it_was_not_judged_against(model, tmp_path):
    """Another run has pushed meanwhile, or a rollback has come between; what is there already stays."""
    base = str(tmp_path / "serving")

    def push(content, judged):
        pathlib.Path(model, "fingerprint.pb").write_bytes(content)
        pathlib.Path(model, "saved_model.pb").write_bytes(content)
        return executor.push(model, base, judged)

    nothing, live = pushed.NOTHING_LIVE, lambda: live_model.newest(base)["digest"]
    first = push(b"A", nothing)
    # What is live is this model: a run that was killed after its push.
    assert push(b"A", nothing) == first
    judged = live()
    with pytest.raises(
        executor.PushFailed, match=r"when no model was live, and now .*/serving/\d+ \(digest "
    ):
        push(b"B", nothing)
    second = push(b"B", judged)
    # Judged against A as B was, but B is live.
    with pytest.raises(executor.PushFailed, match=f"a model with the digest {judged} was live"):
        push(b"C", judged)
    after = live()
    publishing.rollback(base)
    with pytest.raises(executor.PushFailed, match=f"and now .*/{first} "):
        push(b"C", after)
    assert executor.versions(base) == [first, second] and live() == judged
    third = push(b"C", judged)
    assert published.read(base).versions == (third,)


@pytest.mark.parametrize("said, is_pushed", [(None, True), ("yes", True), ("no", False), ("No", None)])
def test_a_run_may_do_without_a_push(model, tmp_path, said, is_pushed):
    """On another log, or an old span; what is no answer to the question is refused before anything is written."""
    pathlib.Path(model, "fingerprint.pb").write_bytes(b"A")
    shutil.copytree(model, tmp_path / "trained" / "Format-Serving")
    base, trained, output = (
        str(tmp_path / "serving"),
        standard_artifacts.Model(),
        standard_artifacts.PushedModel(),
    )
    trained.uri, output.uri = str(tmp_path / "trained"), str(tmp_path / "pushed")
    properties = {"push_destination": json.dumps({"filesystem": {"base_directory": base}})}
    if said is not None:
        properties["push"] = said
    given = ({"model": [trained]}, {"pushed_model": [output]}, properties)
    if is_pushed is None:
        with pytest.raises(errors.InputError, match="push: takes yes or no, found 'No'"):
            executor.Executor().Do(*given)
    else:
        executor.Executor().Do(*given)
        assert output.get_int_custom_property("pushed") == is_pushed
    assert len(executor.versions(base)) == (is_pushed is True)


def test_the_pusher_reads_of_the_blessing_what_was_live(model, tmp_path):
    """Blessings from before that was noted push as they did."""
    os.makedirs(tmp_path / "blessing")
    pathlib.Path(model, "fingerprint.pb").write_bytes(b"A")
    shutil.copytree(model, tmp_path / "trained" / "Format-Serving")
    for judged, refused in ((pushed.NOTHING_LIVE, False), (None, False), ("0123", True)):
        base = str(tmp_path / f"serving {judged}")
        artifacts = {
            "model": standard_artifacts.Model(),
            "model_blessing": standard_artifacts.ModelBlessing(),
            "pushed_model": standard_artifacts.PushedModel(),
        }
        for name, folder in (
            ("model", "trained"),
            ("model_blessing", "blessing"),
            ("pushed_model", f"p{judged}"),
        ):
            artifacts[name].uri = str(tmp_path / folder)
        artifacts["model_blessing"].set_int_custom_property("blessed", 1)
        if judged is not None:
            artifacts["model_blessing"].set_string_custom_property(pushed.JUDGED_AGAINST, judged)
        output = artifacts.pop("pushed_model")
        given = (
            {name: [artifact] for name, artifact in artifacts.items()},
            {"pushed_model": [output]},
            {"push_destination": json.dumps({"filesystem": {"base_directory": base}})},
        )
        if refused:
            with pytest.raises(
                executor.PushFailed, match="a model with the digest 0123 was live, and now none is"
            ):
                executor.Executor().Do(*given)
        else:
            executor.Executor().Do(*given)
        assert len(executor.versions(base)) == (not refused)


@pytest.mark.parametrize("remote", [False, True])
def test_what_was_withdrawn_is_not_published_again_whichever_version_it_is(
    model, tmp_path, monkeypatch, remote, caplog
):
    base = str(tmp_path / "serving")
    monkeypatch.setattr(executor, "_is_remote", lambda place: remote)

    def push(content):
        pathlib.Path(model, "fingerprint.pb").write_bytes(content)
        return executor.push(model, base)

    first, second, third = push(b"A"), push(b"B"), push(b"C")
    publishing.rollback(base), publishing.rollback(base)
    said = published.read(base)
    assert said == published.Published((first,), withdrawn=(second, third))
    assert push(b"B") == second and f"footfall rollback --version {second} has it answer" in caplog.text
    # Damage makes no other model of it.
    os.truncate(os.path.join(base, str(second), "variables", "v3"), 10)
    assert push(b"B") == second and push(b"C") == third
    # What answers is not copied: the next rollback would go to the same model.
    assert push(b"A") == first
    assert published.read(base) == said and executor.versions(base) == [first, second, third]
    # Beside another version that answers, too, and what is named again is withdrawn no longer.
    fourth = push(b"D")
    assert push(b"B") == second and push(b"D") == fourth and push(b"A") == fourth + 1
    publishing.rollback(base, third)
    assert push(b"C") == third and published.read(base).versions == (third,)


def test_folders_that_are_no_versions_do_not_count(model, tmp_path):
    base = tmp_path / "serving"
    for name in ("²", "１", "007", "-1", "1.5", str(10**20), "x"):
        (base / name).mkdir(parents=True)
    assert executor.versions(str(base)) == []
    assert abs(executor.push(model, str(base)) - time.time()) < 100


def test_no_version_is_larger_than_an_int64(model, tmp_path):
    base = tmp_path / "serving"
    (base / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(executor.PushFailed, match="is the largest there can be"):
        executor.push(model, str(base))
    assert os.listdir(base) == [str(2**63 - 1)]


def test_a_version_lists_its_files(model, tmp_path):
    version = os.path.join(str(tmp_path / "serving"), str(executor.push(model, str(tmp_path / "serving"))))
    with open(os.path.join(version, manifest.FILE), encoding="utf-8") as stream:
        files = json.load(stream)["files"]
    assert len(files) == 51
    assert files["saved_model.pb"] == {"size": 5, "sha256": hashlib.sha256(b"graph").hexdigest()}
    assert files["variables/v7"] == {"size": 1000, "sha256": hashlib.sha256(b"x" * 1000).hexdigest()}
    assert verify.check(version) is None


DAMAGE = {
    "cut": (
        lambda folder: os.truncate(folder / "variables" / "v3", 10),
        "variables/v3 has 10 bytes, it had 1,000",
    ),
    "other bytes": (
        lambda folder: (folder / "variables" / "v3").write_bytes(b"y" * 1000),
        "variables/v3 has other bytes than it had",
    ),
    "a file gone": (lambda folder: os.remove(folder / "variables" / "v3"), "variables/v3 is missing"),
    "the graph gone": (lambda folder: os.remove(folder / "saved_model.pb"), "saved_model.pb is missing"),
    "the version gone": (shutil.rmtree, "it is no longer there"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_version_is_found_and_the_model_pushed_again(model, tmp_path, damage, caplog):
    base, (harm, words) = tmp_path / "serving", DAMAGE[damage]
    pathlib.Path(model, "fingerprint.pb").write_bytes(b"one")
    first = executor.push(model, str(base))
    assert executor.push(model, str(base)) == first
    harm(base / str(first))
    assert verify.check(str(base / str(first))) == words
    with caplog.at_level("WARNING", "footfall.progress"):
        second = executor.push(model, str(base))
    assert verify.check(str(base / str(second))) is None
    if damage != "the version gone":
        assert second > first and f"is damaged: {words}; the model is pushed again" in caplog.text


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("spoilt", ["v7", "saved_model.pb"])
def test_a_push_that_writes_other_bytes_leaves_no_version(model, tmp_path, monkeypatch, remote, spoilt):
    """As a disk or a network that fails without an error does."""
    copy, base = executor.io_utils.fileio.copy, tmp_path / "serving"

    def spoil(source, target, overwrite=False):
        copy(source, target, overwrite=overwrite)
        if target.endswith(spoilt):
            pathlib.Path(target).write_bytes(b"spoilt")

    monkeypatch.setattr(executor.io_utils.fileio, "copy", spoil)
    monkeypatch.setattr(executor, "_is_remote", lambda place: remote)
    with pytest.raises(executor.PushFailed, match=f"is not the model: .*{spoilt} has"):
        executor.push(model, str(base))
    assert not [name for name in os.listdir(base) if os.path.exists(base / name / "saved_model.pb")]
    monkeypatch.undo()
    version = executor.push(model, str(base))
    assert verify.check(str(base / str(version))) is None


def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch):
    base = tmp_path / "serving"

    def full(source, target, overwrite=False):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(executor.io_utils.fileio, "copy", full)
    with pytest.raises(OSError, match="No space left"):
        executor.push(model, str(base))
    assert os.listdir(base) == []


def test_a_killed_push_leaves_no_version(model, tmp_path):
    """A process is killed before the first file of the copy, and one in the middle of it."""
    base = tmp_path / "serving"
    code = """
import os, signal, sys
from components.live_model import executor as live_model
from components.pusher import executor
from tfx.utils import io_utils
copy = io_utils.fileio.copy
for left in (0, 20):
    # Forked, since what is imported takes longer than all else.
    child = os.fork()
    if not child:
        def die_later(*args, **kwargs):
            global left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return copy(*args, **kwargs)
        io_utils.fileio.copy = die_later
        executor.push(sys.argv[1], sys.argv[2])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    assert executor.versions(sys.argv[2]) == []
print("killed", len([name for name in os.listdir(sys.argv[2]) if name.startswith(".pushing-")]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, model, str(base)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    # The second push has taken away what the first has left.
    assert done.returncode == 0 and done.stdout == "killed 1\n", done.stderr
    version = executor.push(model, str(base))
    assert os.listdir(base) == [str(version)]


def test_pushes_to_one_place_wait_for_each_other(model, tmp_path, monkeypatch):
    """A push takes away what a killed one has left, but not what another is about to finish."""
    base, copy, copying = str(tmp_path / "serving"), executor._copy, threading.Semaphore(0)

    def slow(source, target, *more):
        copying.release()
        copy(source, target, *more)
        time.sleep(0.5)

    monkeypatch.setattr(executor, "_copy", slow)
    other = str(tmp_path / "other")
    shutil.copytree(model, other)
    pathlib.Path(other, "fingerprint.pb").write_bytes(b"another")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(executor.push, model, base)
        assert copying.acquire(timeout=60)
        second = pool.submit(executor.push, other, base)
        assert first.result(60) < second.result(60)
    assert executor.versions(base) == [first.result(), second.result()]
    for version in executor.versions(base):
        assert len(os.listdir(os.path.join(base, str(version), "variables"))) == 50


def test_the_graph_is_copied_last(model, tmp_path, monkeypatch):
    """On a bucket nothing can be renamed: the file that a server looks for comes at the end."""
    order = []
    copy = executor.io_utils.fileio.copy
    monkeypatch.setattr(
        executor.io_utils.fileio, "copy", lambda s, *a, **k: (order.append(s), copy(s, *a, **k))[1]
    )
    executor._copy(model, str(tmp_path / "target"))
    assert order[-1].endswith("saved_model.pb") and len(order) == 51


def test_on_a_bucket_a_version_is_named_once_it_is_whole(model, tmp_path, monkeypatch):
    """A server that reads the configuration at any moment of a push finds each file of what it names."""
    base, copy, seen = tmp_path / "serving", executor.io_utils.fileio.copy, []

    def look():
        said = published.read(str(base))
        seen.append(said)
        for version in said.versions if said else ():
            assert verify.check(str(base / str(version))) is None

    def slow(source, target, overwrite=False):
        look()
        copy(source, target, overwrite=overwrite)
        look()

    monkeypatch.setattr(executor, "_is_remote", lambda place: True)
    monkeypatch.setattr(executor.io_utils.fileio, "copy", slow)
    first = executor.push(model, str(base))
    assert set(seen) == {None} and published.read(str(base)).versions == (first,)
    seen.clear()
    second = executor.push(model, str(base))
    assert {said.versions for said in seen} == {(first,)} and first < second
    assert published.read(str(base)).versions == (second,)


def test_a_push_that_was_killed_before_its_version_was_named_is_finished_by_the_next(
    model, tmp_path, monkeypatch
):
    base = str(tmp_path / "serving")
    pathlib.Path(model, "fingerprint.pb").write_bytes(b"one")
    monkeypatch.setattr(executor, "_is_remote", lambda place: True)
    with monkeypatch.context() as killed:
        killed.setattr(published, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            executor.push(model, base)
    assert published.read(base) is None
    version = executor.push(model, base)
    assert executor.versions(base) == [version] and published.read(base).versions == (version,)


def test_what_a_label_names_stays_published(model, tmp_path):
    """Also on a local disk, where somebody has given labels."""
    base = str(tmp_path / "serving")
    first = executor.push(model, base)
    assert published.read(base) is None
    published.write(base, published.Published((first,), {"stable": first}))
    second = executor.push(model, base)
    third = executor.push(model, base)
    assert published.read(base) == published.Published((first, third), {"stable": first})
    assert executor.versions(base) == [first, second, third]
