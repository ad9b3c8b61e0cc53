"""An interrupted training whose checkpoints are damaged: it ends with the weights that it would have had."""

import json
import os
import pathlib
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from components.trainer import workers
from schemas import errors
from tests.trainer.loops import test_fit
from trainer import arguments as arguments_lib
from trainer import fingerprint, places, task
from trainer.loops import checkpoints
from trainer.settings import training as training_settings

EPOCHS = {"epochs": 4}


def state(one):
    """All that a training goes on from: weights, optimiser and draws."""
    variables = [
        *one.model.trainable_variables,
        *one._groups[0].optimizer.variables,
        one.model.generator.state,
    ]
    return [variable.numpy() for variable in variables]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What a training has left that was killed after three epochs; the whole one's loop; the states by epoch."""
    folder = tmp_path_factory.mktemp("fit")
    whole = test_fit.loop(folder / "whole", EPOCHS)
    states, save = {None: state(whole)}, whole._save

    def save_and_remember():
        save()
        states[int(whole._epoch)] = state(whole)

    whole._save = save_and_remember
    test_fit.train_and_remember(whole, (3, 0), folder / "killed")
    return folder / "killed" / "checkpoints", whole, states


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def values(folder, name):
    (path,) = folder.glob(f"{name}.data-*")
    return path


DAMAGE = {
    # What is done to the folder, the epoch to go on from, and what is said of how many checkpoints.
    "nothing": (lambda folder: None, 3, []),
    "newest cut": (lambda folder: truncate(values(folder, "ckpt-3")), 2, ["the one before it"]),
    "newest changed": (lambda folder: flip(values(folder, "ckpt-3")), 2, ["the one before it"]),
    "newest gone": (lambda folder: values(folder, "ckpt-3").unlink(), 2, ["the one before it"]),
    "its index cut": (lambda folder: truncate(folder / "ckpt-3.index"), 2, ["the one before it"]),
    "its index empty": (lambda folder: os.truncate(folder / "ckpt-3.index", 0), 2, ["the one before it"]),
    "both": (lambda folder: [truncate(values(folder, f"ckpt-{n}")) for n in (2, 3)], None, ["the start"] * 2),
    "the best": (lambda folder: truncate(values(folder, "best-3")), 2, ["the one before it"]),
    "all the best": (
        lambda folder: [truncate(values(folder, f"best-{n}")) for n in (2, 3)],
        None,
        ["the start"] * 2,
    ),
    "the list is garbage": (lambda folder: (folder / "checkpoint").write_bytes(b"\xff\xfe\0"), 3, []),
    "the list is cut": (lambda folder: truncate(folder / "checkpoint"), 3, []),
    "the list is gone": (lambda folder: (folder / "checkpoint").unlink(), 3, []),
    "all gone": (lambda folder: shutil.rmtree(folder), None, []),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_it_goes_on_from_what_can_be_read(killed, tmp_path, how, caplog):
    left, _, states = killed
    damage, epoch, said = DAMAGE[how]
    folder = tmp_path / "checkpoints"
    shutil.copytree(left, folder)
    damage(folder)
    resumed = test_fit.loop(tmp_path, EPOCHS)
    with caplog.at_level("WARNING", "footfall.progress"):
        resumed._restore()
    assert resumed._resumed == epoch and int(resumed._epoch) == len(resumed._history) == (epoch or 0)
    lines = [record.getMessage() for record in caplog.records if record.name == "footfall.progress"]
    assert [line.rsplit("going on from ", 1)[1] for line in lines] == said
    assert all(str(folder) in line and "cannot be read" in line for line in lines)
    for one, two in zip(state(resumed), states[epoch], strict=True):
        np.testing.assert_array_equal(one, two)


def test_it_ends_with_the_weights_that_it_would_have_had(killed, tmp_path):
    """Also past the damaged one, which is written anew."""
    left, whole, _ = killed
    shutil.copytree(left, tmp_path / "checkpoints")
    DAMAGE["newest cut"][0](tmp_path / "checkpoints")
    resumed = test_fit.loop(tmp_path, EPOCHS)
    assert resumed.run()["resumed_from_epoch"] == 2
    test_fit.assert_equal(resumed, whole)


def test_only_a_checkpoint_that_needs_the_best_weights_asks_for_them(killed, tmp_path):
    left, _, _ = killed
    shutil.copytree(left, tmp_path / "c")
    for path in (tmp_path / "c").glob("best-*"):
        path.unlink()
    folder = str(tmp_path / "c")
    assert checkpoints.newest(folder, lambda history: len(history))[0] is None
    assert checkpoints.newest(folder, lambda _: None) == (os.path.join(folder, "ckpt-3"), None, [])
    # Those that a training started from are weights as well.
    assert checkpoints.newest(folder, lambda _: 0)[0] is None


def test_weights_that_a_kill_cut_off_are_none_that_a_checkpoint_needs(killed, tmp_path):
    """A kill while the weights of a better epoch are written: TensorFlow has moved the values into place, and not the index."""
    left, whole, _ = killed
    shutil.copytree(left, tmp_path / "checkpoints")
    before = values(tmp_path / "checkpoints", "best-3").read_bytes()
    (tmp_path / "checkpoints" / "best-4.data-00000-of-00001").write_bytes(before[: len(before) // 2])
    resumed = test_fit.loop(tmp_path, EPOCHS)
    assert resumed.run()["resumed_from_epoch"] == 3
    test_fit.assert_equal(resumed, whole)


def test_the_best_weights_stay_while_a_checkpoint_needs_them(tmp_path):
    """Of two checkpoints that are kept, each may have a best epoch of its own."""
    model, state = tf.Module(), tf.Variable("[]")
    model.weight = tf.Variable(0.0)
    one = checkpoints.Checkpoints(str(tmp_path), model, state=state)
    kept = []
    for epoch, best in enumerate([None, 2, 2, 4, 5], 1):
        model.weight.assign(float(epoch))
        if best == epoch:
            one.save_best(epoch)
        state.assign(json.dumps([{"best": best}] * epoch))
        one.save(best)
        kept.append({int(path.stem.removeprefix("best-")) for path in tmp_path.glob("best-*.index")})
    assert kept == [set(), {2}, {2}, {2, 4}, {4, 5}]

    def best_epoch(history):
        return history[-1]["best"]

    assert checkpoints.newest(str(tmp_path), best_epoch)[:2] == (str(tmp_path / "ckpt-5"), 5)
    truncate(values(tmp_path, "ckpt-5"))
    again = checkpoints.Checkpoints(str(tmp_path), model, state=state)
    assert again.restore(best_epoch) and float(model.weight) == 4
    again.save(4)
    again.restore_best(4)
    assert float(model.weight) == 4 and {path.stem for path in tmp_path.glob("best-*.index")} == {"best-4"}


def test_a_run_goes_on_from_a_copy_of_what_another_one_has_left(killed, tmp_path):
    left, whole, _ = killed
    shutil.copytree(left, tmp_path / "key" / "other")
    before = {path.name: path.read_bytes() for path in (tmp_path / "key" / "other").iterdir()}
    place = places.Place(str(tmp_path), "key", "checkpoints")
    place.claim()
    one = test_fit.loop(tmp_path / "key", EPOCHS)
    assert one.run()["resumed_from_epoch"] == 3
    test_fit.assert_equal(one, whole)
    assert pathlib.Path(test_fit.written_to(one)) == pathlib.Path(place.folder)
    # The other may still be at work.
    place.leave()
    assert {path.name: path.read_bytes() for path in (tmp_path / "key" / "other").iterdir()} == before


def test_whose_the_checkpoints_are_and_how_often_they_are_written_is_no_part_of_a_training():
    def key(owner="a", root="x", **settings):
        training = training_settings.TrainingSettings(**settings)
        custom = {"training": training.model_dump_json(), "owner": owner, "checkpoint_root": root}
        return fingerprint.of(
            types.SimpleNamespace(
                custom_config=custom, transform_graph_path="graph/7", train_files=[], eval_files=[]
            ),
            {},
        )

    assert key() == key("b", "y") == key(checkpoint_seconds=60) != key(epochs=3)


def test_other_examples_at_the_same_paths_are_another_training(tmp_path):
    """As after a metadata store was lost, since numbers begin anew."""
    part = tmp_path / "part-0"
    arguments = types.SimpleNamespace(
        custom_config={"training": "{}"},
        transform_graph_path="graph/7",
        train_files=[str(tmp_path / "*")],
        eval_files=[str(tmp_path / "part-*")],
    )
    part.write_bytes(b"windows")
    before = fingerprint.of(arguments, {})
    assert fingerprint.of(arguments, {}) == before
    stat = part.stat()
    part.write_bytes(b"Windows")
    os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    other = fingerprint.of(arguments, {})
    (tmp_path / "part-1").write_bytes(b"windows")
    assert len({before, other, fingerprint.of(arguments, {})}) == 3


@pytest.mark.parametrize("named_by", ["TFX", "the experiment"])
def test_another_base_model_is_another_training(tmp_path, named_by):
    """Also one at the same path, as of a store that counts anew; a training without any is as it was."""
    folder = tmp_path / "base" / "variables"
    folder.mkdir(parents=True)
    weights = folder / "data"
    weights.write_bytes(b"one")
    custom = {"training": "{}", "checkpoint_root": "anywhere"}
    arguments = types.SimpleNamespace(
        custom_config=custom, transform_graph_path="graph/7", train_files=[], eval_files=[], base_model=None
    )
    without = fingerprint.of(arguments, {})
    if named_by == "TFX":
        arguments.base_model = str(tmp_path / "base")
    else:
        arguments.custom_config = {**custom, "base_model": str(tmp_path / "base")}
    before = fingerprint.of(arguments, {})
    assert fingerprint.of(arguments, {}) == before != without
    weights.write_bytes(b"another")
    assert fingerprint.of(arguments, {}) not in (before, without)


def test_a_base_model_is_refused_rather_than_left_alone():
    settings = arguments_lib.Arguments.from_values(
        {
            "model": {"name": "sasrec"},
            "window": {"kind": "next"},
            "exclude_seen": True,
            "checkpoint_root": "",
        }
    )
    with pytest.raises(errors.InputError, match="training.warm_start: .* found /models/17"):
        task.run_fn(types.SimpleNamespace(custom_config=settings.pack(), base_model="/models/17"))


def test_a_worker_that_is_not_the_chief_goes_on_from_its_checkpoints_and_writes_elsewhere(
    killed, tmp_path, monkeypatch
):
    left, whole, _ = killed
    shutil.copytree(left, tmp_path / "checkpoints")
    before = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv(workers.VARIABLE, json.dumps(cluster))
    one = test_fit.loop(tmp_path, EPOCHS)
    assert one.run()["resumed_from_epoch"] == 3
    test_fit.assert_equal(one, whole)
    assert {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()} == before
    assert any(pathlib.Path(test_fit.written_to(one)).glob("best-*.index"))
