"""How a run tells what went wrong with its disk and its folder."""

import errno
import io
import json
import os
import resource
import signal
import sys
import types

import pytest
import tensorflow as tf
import yaml

from pipeline import config, results
from pipeline.runners import failures, local
from schemas import errors


@pytest.mark.parametrize(
    "error, said",
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/b"),
            "the disk is full (No space left on device: /a/b)",
        ),
        (RuntimeError("Error when executing query: database or disk is full"), "the disk is full (database"),
        (
            RuntimeError("/x/part-0; No space left on device [[node Save]]\nmore"),
            "the disk is full (No space",
        ),
        (
            OSError(errno.EFBIG, os.strerror(errno.EFBIG), "/a/b"),
            "a file is larger than the disk or a limit allows",
        ),
        (
            OSError(errno.EROFS, os.strerror(errno.EROFS), "/a/b"),
            "the disk is read-only (Read-only file system: /a/b)",
        ),
        (
            OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
            "the disk quota is used up (Disk quota exceeded); what was",
        ),
    ],
)
def test_trouble_with_the_disk_is_named_whoever_says_it(error, said):
    later = RuntimeError("the execution failed")
    later.__cause__ = error
    assert said in failures.root_cause(later) and "\n" not in failures.root_cause(later)


def test_errors_of_input_and_others_are_what_they_are():
    assert failures.root_cause(errors.InputError("a.csv: Input/output error")) == "a.csv: Input/output error"
    assert failures.root_cause(ValueError("a\nb")) == "ValueError: a"
    assert failures.root_cause(ValueError("")) == "ValueError: ValueError"


def test_an_error_in_a_graph_is_told_by_what_it_says():
    """And not by how AutoGraph begins its message."""

    @tf.function
    def step(width):
        raise ValueError("a width of 3 or more, found 2\nor none")

    with pytest.raises(ValueError) as caught:
        step(2)
    assert str(caught.value).startswith("in user code:")
    assert failures.root_cause(caught.value) == "ValueError: a width of 3 or more, found 2"


def write(path, text):
    path.write_text("before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        return local._write(str(path), {"text": text}, sys.stdout)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_a_run_came_to_is_written_as_a_whole_or_not_at_all(tmp_path, capsys):
    path = tmp_path / "run.json"
    write(path, "short")
    assert json.loads(path.read_text()) == {"text": "short"}
    write(path, "x" * 200)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["run.json"]
    assert capsys.readouterr().out == f"{path}: cannot be written (File too large)\n"


def test_what_the_run_before_said_is_over_when_one_begins(tmp_path, monkeypatch):
    """Whatever ends it: a kill leaves no time to say anything."""
    path = tmp_path / "run.json"
    write(path, "of the run before")
    seen = []

    def launch(*arguments):
        seen.append(json.loads(path.read_text()))
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "_launch", launch)
    monkeypatch.setattr(local, "assemble", lambda *_, **__: types.SimpleNamespace(components=[]))
    experiment = config.load(config.find("exposures-example"))
    with pytest.raises(KeyboardInterrupt):
        local._run(experiment, str(tmp_path), io.StringIO(), "log.txt", ["footfall"], None)
    assert seen[0]["finished"] is None and "components" not in seen[0] and seen[0]["name"] == experiment.name
    assert json.loads(path.read_text())["finished"]


@pytest.mark.parametrize(
    ("log", "runs", "apart"),
    [
        ("log/", "log/runs", False),
        ("log/", "link/runs", False),
        ("link/", "log/deeper/runs", False),
        ("lo*", "log/runs", False),
        ("log/", "log/.runs", True),
        ("log/", "log2/runs", True),
        ("log/", "runs", True),
        ("log/*.jsonl", "log/runs", True),
        ("log/part.jsonl", "log/runs", True),
    ],
)
def test_a_run_does_not_write_where_its_log_is_read(tmp_path, log, runs, apart):
    (tmp_path / "log").mkdir()
    (tmp_path / "link").symlink_to("log")
    (tmp_path / "log" / "part.jsonl").write_text('{"user_id": "u", "item_id": "i", "timestamp": 1}\n')
    there = set(tmp_path.rglob("*"))
    log = {"path": f"{tmp_path}/{log}", "earliest": "1970-01-01"}
    experiment = config.Experiment.from_values({"name": "x", "model": {"name": "sasrec"}, "log": log})
    writes_to = str(tmp_path / runs / "x")
    if apart:
        local.check_log(experiment, "x.yaml", writes_to)
    else:
        with pytest.raises(errors.InputError, match=f"x.yaml: log.path .* found {writes_to}: .* --runs"):
            local.run(experiment, writes_to, "x.yaml")
    assert set(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("reads", [True, False])
def test_what_cannot_be_read_after_a_run_is_not_told_as_a_write(reads, tmp_path, monkeypatch):
    """As a file of the trial that is gone."""
    latency = tmp_path / "blessing" / "latency.json"

    def newest(_):
        if not reads:
            latency.read_text()
        (tmp_path / "pushed").touch()
        return types.SimpleNamespace(pushed_to="serving/17")

    monkeypatch.setattr(local, "check_log", lambda *_: None)
    monkeypatch.setattr(local, "assemble", lambda *_, **__: types.SimpleNamespace(components=[]))
    monkeypatch.setattr(local, "_launch", lambda *_: None)
    monkeypatch.setattr(results, "newest", newest)
    experiment = config.load(config.find("ml100k-sasrec"), [f"log.path={tmp_path}/x.csv"])
    with pytest.raises(errors.InputError if reads else FileNotFoundError) as found:
        local.run(experiment, str(tmp_path), "mine.yaml")
    if reads:
        assert str(found.value).startswith(f"{tmp_path}/pushed: cannot be written")
    else:
        assert found.value.filename == str(latency)


@pytest.fixture
def exposures(tmp_path):
    """An experiment on exposures in a folder of its own, of which `experiment.yaml` is to be written."""
    experiment = config.load(config.find("exposures-example"))
    (tmp_path / "run").mkdir()
    return experiment, tmp_path / "run"


def test_two_kinds_of_experiment_have_no_folder_in_common(exposures):
    experiment, run_dir = exposures
    before = yaml.safe_load(experiment.to_yaml())
    before["window"]["kind"] = "next"
    (run_dir / local.EXPERIMENT).write_text(yaml.safe_dump(before))
    with pytest.raises(
        errors.InputError, match="runs are of window.kind next, this experiment's is exposure"
    ) as found:
        local._check_same_kind(experiment, str(run_dir))
    assert str(found.value).startswith(f"{run_dir}: ")


def test_another_log_in_the_same_folder_is_said(exposures, capsys):
    experiment, run_dir = exposures
    (run_dir / local.EXPERIMENT).write_text(experiment.to_yaml())
    local._check_same_kind(experiment, str(run_dir))
    assert not capsys.readouterr().out
    (run_dir / local.EXPERIMENT).write_text(experiment.to_yaml().replace(experiment.log.path, "other.csv"))
    local._check_same_kind(experiment, str(run_dir))
    assert f"the run before read other.csv, this one reads {experiment.log.path}" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "window: 3", "- a", "{", "\0"])
def test_a_damaged_experiment_file_of_before_is_no_hindrance(exposures, text):
    experiment, run_dir = exposures
    (run_dir / local.EXPERIMENT).write_text(text)
    local._check_same_kind(experiment, str(run_dir))


def test_json_lines_need_not_have_every_key_at_their_beginning(tmp_path):
    """The price of a purchase, where the log begins with views."""
    path = tmp_path / "log.jsonl"
    event = '{{"user_id": "u{n}", "item_id": "i{n}", "timestamp": {n}{more}}}\n'
    lines = [event.format(n=n, more="") for n in range(40)] + [event.format(n=41, more=', "price": 3.5')]
    path.write_text("".join(lines))
    window = {"kind": "period", "past": "7d", "future": "1d", "labels": {"back": {"any_of": {}}}}
    values = {"name": "x", "model": {"name": "mlp"}, "window": window}

    def check(**columns):
        log = {"path": str(path), "columns": columns, "earliest": "1970-01-01"}
        local.check_log(config.Experiment.from_values({**values, "log": log}), "x.yaml")

    check(context={"price": {"column": "price", "type": "numeric"}})
    check(context={"amount": {"column": "amount", "type": "numeric"}})
    with pytest.raises(errors.InputError, match="x.yaml: .* column 'customer' .* is missing"):
        check(user_id="customer")
