"""Files that are there as a whole: what was there stays where the disk takes no more."""

import contextlib
import os
import resource
import signal

import pytest

from pipeline import cli, config, window_schema
from pipeline.comparing import comparison, page, runs, table
from pipeline.reporting import report
from pipeline.runners import folder, kubeflow, local, whole
from schemas import errors


@contextlib.contextmanager
def small_files():
    """Files of this process end after 100 bytes, as on a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def _run(experiment, path, monkeypatch):
    monkeypatch.setattr(local, "check_log", lambda *_: None)
    monkeypatch.setattr(folder, "at_work", lambda *_: contextlib.nullcontext())
    with pytest.raises(errors.InputError, match=r"cannot be written \(File too large") as refused:
        local.run(experiment, str(path.parent), "mine.yaml")
    raise refused.value.__cause__


def _html(_, path, monkeypatch):
    monkeypatch.setattr(comparison, "compare", lambda *_: None)
    monkeypatch.setattr(runs, "find_runs", lambda run: run)
    monkeypatch.setattr(table, "table", lambda _: "")
    monkeypatch.setattr(page, "page", lambda _: "x" * 200)
    folder_ = str(path.parent)
    assert cli.execute(["compare", folder_, folder_, "--html", str(path)]) == 2
    raise OSError


def _schema(experiment, path, _):
    window_schema.write(experiment, str(path.parent))


def _report(_, path, __):
    report.build(str(path.parent))


def _spec(_, path, __):
    kubeflow._write(str(path), {"pipelineSpec": {"name": "x" * 200}})


@pytest.mark.parametrize(
    "name, write",
    [
        (local.EXPERIMENT, _run),
        ("page.html", _html),
        (None, _schema),
        (report.FILE, _report),
        ("spec.yaml", _spec),
        ("spec.json", _spec),
    ],
)
def test_a_file_stays_as_it_was_where_the_new_one_cannot_be_written(name, write, tmp_path, monkeypatch):
    experiment = config.load(config.find("ml100k-sasrec"), [f"log.path={tmp_path}/x.csv"])
    path = tmp_path / (name or window_schema.file_name(experiment))
    path.write_text("before")
    with small_files(), pytest.raises(OSError):
        write(experiment, path, monkeypatch)
    assert path.read_text() == "before" and os.listdir(tmp_path) == [path.name]


def test_a_file_that_cannot_be_written_is_named_itself(tmp_path):
    with pytest.raises(FileNotFoundError) as refused:
        whole.write(str(tmp_path / "none" / "page.html"), "x")
    assert refused.value.filename == str(tmp_path / "none" / "page.html")


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    whole.write(str(path), "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]
