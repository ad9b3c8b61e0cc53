"""The metadata store of a run's folder: whether a run can work with it is found out before anything starts."""

import contextlib
import glob
import json
import os
import shutil
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Collection, Iterator
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from schemas import errors, pushed

FILE = "metadata.sqlite"
# SQLite's own files beside it. A journal without its store would be rolled back into the next one.
SIDE_FILES = tuple(f"{FILE}-{kind}" for kind in ("journal", "wal", "shm"))
ASIDE = "set-aside-"
_WHY = "WHY.txt"
# All that only the store can explain: numbers of executions start anew with a new store, so that an old
# artifact or checkpoint would be taken for a new one. What is pushed stays where a server reads it.
POINTS = "points"
_MADE = ("pipeline_root", "checkpoints", "checksums", POINTS)
_MOVED = (
    *SIDE_FILES,
    FILE,
    *_MADE,
    pushed.EXPERIMENT,
    "run.json",
    "sweep.json",
    "report.html",
    "log.txt",
)
_LOCK_SECONDS = 5.0


def recover(run_dir: str) -> str | None:
    """Sees to it that the store of a run's folder can be opened, or is not there.

    A lost store leaves a folder whose content nobody can tell: it is moved to `set-aside-N` within the folder. Points of a
    sweep stay if they are of models of other folders.
    A store of an older schema is upgraded, and a copy of it is kept.

    Args:
      run_dir: the run's folder, in which no other run is at work.

    Returns:
      What was done, as a line for the user; None if nothing was.

    Raises:
      errors.InputError: if the store is sound but not to be used now: it is locked, read-only, or of a newer
        version.
    """
    path = os.path.join(run_dir, FILE)
    why = _lost(path)
    if why is None:
        return _fit_schema(path)
    kept = (POINTS,) if _points_of_others(run_dir) else ()
    if not any(os.path.lexists(os.path.join(run_dir, name)) for name in _MADE if name not in kept):
        if not os.path.lexists(path) or os.path.isfile(path) and not os.path.getsize(path):
            # A run that was stopped before it came to its store.
            for name in (*SIDE_FILES, FILE):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(run_dir, name))
            return None
    aside = _set_aside(run_dir, f"{path} {why}", kept)
    return (
        f"{path} {why}: nothing says what this folder holds, so it is kept in {aside} and all is made again. "
        "Pushed versions stay in place; the gate goes on comparing with the newest of them"
    )


def _lost(path: str) -> str | None:
    """Why a store cannot be read, ever; None if it can.

    Raises:
      errors.InputError: if it cannot be used now, but is not lost.
    """
    if not os.path.lexists(path):
        return "is missing"
    if not os.path.isfile(path):
        return "is not a file"
    if os.path.getsize(path) == 0:
        return "is empty"
    try:
        with _connected(path) as database:
            database.execute("BEGIN IMMEDIATE")
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                return f"is damaged ({found.splitlines()[-1]})"
            tables = {
                row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if not {"MLMDEnv", "Artifact", "Execution", "Context", "Event"} <= tables:
                return "is an SQLite file, but no metadata store of TFX"
            if database.execute("SELECT schema_version FROM MLMDEnv").fetchone() is None:
                return "has no version"
            # Nothing else tells whether it can be written, to root least of all.
            unused = database.execute("PRAGMA user_version").fetchone()[0]
            database.execute(f"PRAGMA user_version = {unused}")
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise errors.InputError(
                f"{path}: is locked by {_holder(path)}: end it, then the same command goes on"
            ) from error
        if any(
            word in text for word in ("not a database", "malformed", "no such", "unsupported file format")
        ):
            return f"is damaged ({text})"
        # A disk that is read-only, full or gone is no reason to give up what is on it.
        raise errors.InputError(
            f"{path}: cannot be written ({text}): free some space on that disk, or make it writable; then the same "
            "command goes on"
        ) from error
    return None


@contextlib.contextmanager
def _connected(path: str) -> Iterator[sqlite3.Connection]:
    # For writing: a killed run's journal has to be rolled back before anybody can read.
    database = sqlite3.connect(
        f"file:{urllib.parse.quote(path)}?mode=rw", uri=True, timeout=_LOCK_SECONDS, isolation_level=None
    )
    try:
        yield database
    finally:
        database.close()


def _holder(path: str) -> str:
    """Who holds a lock on a file, as far as Linux tells."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii") as stream:
            for fields in (line.split() for line in stream):
                # 1: POSIX ADVISORY WRITE 1234 08:01:5678 0 EOF; a waiting one has -> after its number.
                if fields[1] == "POSIX" and fields[5].rsplit(":", 1)[-1] == str(inode):
                    return f"another process ({fields[4]})"
    except (OSError, IndexError):
        pass
    return "another process"


def connection(path: str, readonly: bool = False) -> Any:
    """How to open a store.

    Args:
      path: of the SQLite file.
      readonly: whether it must be there, and stays as it is.
    """
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = path
    mode = metadata_store_pb2.SqliteMetadataSourceConfig
    config.sqlite.connection_mode = mode.READONLY if readonly else mode.READWRITE_OPENCREATE
    return config


def _fit_schema(path: str) -> str | None:
    """Upgrades a store of an older schema; what was done, if anything."""
    found, known = _schema_version(path), _library_version()
    if found == known:
        return None
    if found > known:
        raise errors.InputError(
            f"{path}: was written by a newer TFX (schema {found}, this one knows {known}): run it with that one, "
            "or choose another folder with --runs"
        )
    kept = f"{path}.schema-{found}"
    shutil.copy2(path, kept)
    try:
        metadata_store.MetadataStore(connection(path), enable_upgrade_migration=True)
    except RuntimeError as error:
        shutil.copy2(kept, path)
        raise errors.InputError(
            f"{path}: is of schema {found} and cannot be upgraded to {known}: {errors.first_line(error)[:300]}"
        ) from error
    return f"{path}: upgraded from schema {found} to {known}; as it was, it is kept in {kept}"


def _schema_version(path: str) -> int:
    with _connected(path) as database:
        return int(database.execute("SELECT schema_version FROM MLMDEnv").fetchone()[0])


def _library_version() -> int:
    """The schema of the stores that this version of ML Metadata makes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, FILE)
        metadata_store.MetadataStore(connection(path))
        return _schema_version(path)


def _points_of_others(run_dir: str) -> bool:
    """Whether a sweep's points are all of artifacts that are elsewhere, as when those of another sweep were copied to it.

    No number of a store that is made here stands for these.
    """
    own = os.path.join(os.path.realpath(run_dir), "")
    points = glob.glob(os.path.join(glob.escape(run_dir), POINTS, "*", "*", "point.json"))
    try:
        for path in points:
            with open(path, encoding="utf-8") as stream:
                places = [os.path.realpath(uri) for uri in json.load(stream).values()]
            if any(place.startswith(own) or not os.path.exists(place) for place in places):
                return False
    except (OSError, ValueError, AttributeError, TypeError):
        return False
    return bool(points)


def _set_aside(run_dir: str, why: str, kept: Collection[str]) -> str:
    """Moves all that only the store can explain, but for what is kept, to a new folder within the run's."""
    number = 1 + max(
        (int(name[len(ASIDE) :]) for name in os.listdir(run_dir) if _is_aside(name)),
        default=0,
    )
    aside = os.path.join(run_dir, f"{ASIDE}{number}")
    os.mkdir(aside)
    with open(os.path.join(aside, _WHY), "w", encoding="utf-8") as stream:
        stream.write(f"{why}.\n")
    # Artifacts first, the store last: killed in between, the next run finds a lost store again.
    for name in sorted(_MOVED, key=lambda name: name in (FILE, *SIDE_FILES)):
        if name not in kept and os.path.lexists(os.path.join(run_dir, name)):
            os.rename(os.path.join(run_dir, name), os.path.join(aside, name))
    return aside


def _is_aside(name: str) -> bool:
    return name.startswith(ASIDE) and name[len(ASIDE) :].isdecimal()
