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
    monkeypatch.setattr(table, "table", lambda *_: "")
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


def test_a_link_stays_one(tmp_path):
    path, target = tmp_path / "page.html", tmp_path / "elsewhere" / "shared.html"
    target.parent.mkdir()
    os.symlink(os.path.join("elsewhere", "shared.html"), path)
    for text in ("first", "second"):
        whole.write(str(path), text)
        assert path.is_symlink() and target.read_text() == text
    assert os.listdir(target.parent) == ["shared.html"]


def test_a_file_keeps_who_may_read_it_and_what_is_beside_it(tmp_path):
    path, own = tmp_path / "page.html", tmp_path / "page.html.partial"
    path.write_text("before"), own.write_text("the user's")
    path.chmod(0o640)
    whole.write(str(path), "after")
    assert path.read_text() == "after" and path.stat().st_mode & 0o777 == 0o640
    assert own.read_text() == "the user's" and len(os.listdir(tmp_path)) == 2


@contextlib.contextmanager
def anybody():
    """No superuser, who may write everywhere."""
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_file_whose_folder_takes_no_other_one_is_written_to(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("before")
    path.chmod(0o666), tmp_path.chmod(0o555)
    # What is above it may be closed to others.
    monkeypatch.chdir(tmp_path)
    try:
        with anybody():
            whole.write("page.html", "after")
            with pytest.raises(PermissionError) as refused:
                whole.write("new.html", "after")
    finally:
        tmp_path.chmod(0o755)
    assert path.read_text() == "after" and refused.value.filename == "new.html"
    assert os.listdir(tmp_path) == ["page.html"]


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    whole.write(str(path), "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]
