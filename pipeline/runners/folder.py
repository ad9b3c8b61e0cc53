"""A run's folder: who works in it, what earlier runs have left in it, and where temporary files go."""

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.runners import store
from schemas import errors, pushed

LOCK = ".lock"
TEMPORARY = "tmp"
_TMPDIR = "TMPDIR"


def places(run_dir: str) -> dict[str, str]:
    """The places of a run's folder, by name."""
    return {
        "pipeline_root": os.path.join(run_dir, "pipeline_root"),
        "metadata_path": os.path.join(run_dir, store.FILE),
        "checkpoint_root": os.path.join(run_dir, "checkpoints"),
        "accepted_root": os.path.join(run_dir, "accepted_statistics"),
        "serving_dir": os.path.join(run_dir, pushed.SERVING),
    }


@contextlib.contextmanager
def at_work(run_dir: str, say: Callable[[str], Any]) -> Iterator[None]:
    """Makes a run's folder ready for a run, and keeps other runs out of it.

    Within the context temporary files of this process and of those that it starts are made in the folder, where the
    next run finds what a killed one has left.

    Args:
      run_dir: the run's folder, with its absolute path; made if it is not there.
      say: takes a line about what had to be done to the folder.

    Raises:
      errors.InputError: if a run is at work there, the folder cannot be written, or its store cannot be used now.
    """
    with _locked(run_dir):
        with writing(run_dir):
            _check_writable(run_dir)
            temporary = os.path.join(run_dir, TEMPORARY)
            shutil.rmtree(temporary, ignore_errors=True)
            os.makedirs(temporary, exist_ok=True)
        with _temporary(temporary):
            with writing(run_dir):
                said = store.recover(run_dir)
                if said:
                    say(said)
                _settle(run_dir, say)
            yield


@contextlib.contextmanager
def _locked(run_dir: str) -> Iterator[None]:
    path = os.path.join(run_dir, LOCK)
    try:
        os.makedirs(run_dir, exist_ok=True)
        # It is held for as long as a process has it open, however that ends; children do not inherit it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unusable(run_dir, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 100).decode("utf-8", "replace").strip()
            raise errors.InputError(
                f"{run_dir}: another run is at work in this folder{f' ({holder})' if holder else ''}; wait for it, "
                "or give this experiment another name or --runs"
            ) from None
        except OSError as error:
            raise unusable(path, error) from error
        with contextlib.suppress(OSError):
            # For the message above alone.
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode())
        yield
    finally:
        os.close(descriptor)


def _check_writable(run_dir: str) -> None:
    """Raises PermissionError or another OSError naming the first place that cannot be written."""
    for path in (run_dir, *places(run_dir).values()):
        if os.path.isdir(path):
            # What access rights say is not all: the disk may be full or read-only.
            with tempfile.TemporaryFile(dir=path) as stream:
                stream.write(b"\0" * 4096)


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Within it an error of the operating system is told as of a path that cannot be written, see `unusable`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unusable(path, error) from error


def unusable(path: str, error: OSError) -> errors.InputError:
    """What to tell the user of a path that cannot be written, or of the one that the error names."""
    where = error.filename or path
    what = {
        errno.ENOSPC: "free some space on that disk",
        errno.EDQUOT: "free some space within your quota",
    }.get(error.errno or 0, "make it writable")
    return errors.InputError(
        f"{where}: cannot be written ({error.strerror}): {what}, or choose another folder with --runs"
    )


@contextlib.contextmanager
def _temporary(folder: str) -> Iterator[None]:
    """Has temporary files of this process and its children made in a folder, which is removed at the end."""
    before, environment = tempfile.tempdir, os.environ.get(_TMPDIR)
    tempfile.tempdir = os.environ[_TMPDIR] = folder
    try:
        yield
    finally:
        tempfile.tempdir = before
        if environment is None:
            del os.environ[_TMPDIR]
        else:
            os.environ[_TMPDIR] = environment
        shutil.rmtree(folder, ignore_errors=True)


def _settle(run_dir: str, say: Callable[[str], Any]) -> None:
    """Brings store and artifacts to what they say of each other: artifacts have moved, or a run was killed."""
    known = places(run_dir)
    root = known["pipeline_root"]
    for left in (
        *glob.glob(os.path.join(glob.escape(root), "*", ".system", "executor_execution", "*", ".temp")),
        *glob.glob(os.path.join(glob.escape(root), "*", ".system", "stateful_working_dir", "*")),
    ):
        shutil.rmtree(left, ignore_errors=True)
    if not os.path.exists(known["metadata_path"]):
        return
    opened = metadata_store.MetadataStore(store.connection(known["metadata_path"]))
    if _follow(opened, root):
        say(
            f"{run_dir}: was moved or copied here: what it holds is known by its new place; artifacts whose settings "
            "name the old one are made again"
        )
    killed = [e for e in opened.get_executions() if e.last_known_state in _UNFINISHED]
    for execution in killed:
        # As TFX does with those of an execution that fails.
        for path in glob.glob(os.path.join(glob.escape(root), "*", "*", str(execution.id))):
            shutil.rmtree(path, ignore_errors=True)
        execution.last_known_state = metadata_store_pb2.Execution.CANCELED
    if killed:
        opened.put_executions(killed)


_UNFINISHED = (metadata_store_pb2.Execution.NEW, metadata_store_pb2.Execution.RUNNING)


def _follow(opened: Any, root: str) -> bool:
    """Has the store name artifacts where they are, after their run's folder was moved or copied; whether any was."""
    moved: list[Any] = []
    for artifact in opened.get_artifacts():
        place = _moved_to(artifact.uri, root)
        if place is not None:
            artifact.uri = place
            moved.append(artifact)
    if moved:
        opened.put_artifacts(moved)
    return bool(moved)


def _moved_to(uri: str, root: str) -> str | None:
    """Where an artifact is below `root`, if the store names it elsewhere."""
    name = os.path.basename(root)
    before, found, below = uri.rpartition(f"/{name}/")
    if not found or os.path.realpath(os.path.join(before, name)) == os.path.realpath(root):
        return None
    place = os.path.join(root, below)
    return place if os.path.exists(place) else None
