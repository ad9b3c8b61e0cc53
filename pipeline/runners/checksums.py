"""What the files of an artifact were when it was made, and whether they still are.

Small files are read again each time. Of a large one (an example file, the variables of a model) what the filesystem
says is compared first: size, time of modification, time of change (which no program can set) and inode; only if
one of them differs, as in a folder that was copied, its content is read. So a cached run of a folder of
many GB reads next to nothing, and what goes unseen is a disk that changes a large file without the
filesystem's knowing; the checksums within TFRecords and TensorFlow's variables tell that when they are read.
"""

import concurrent.futures
import dataclasses
import json
import os
from collections.abc import Iterator

from pipeline.runners import whole
from schemas import checksums

_ALWAYS_READ = 16 << 20
_THREADS = 8


@dataclasses.dataclass(frozen=True)
class _File:
    """A file as it was.

    Attributes:
      size: in bytes.
      sha256: of its content, in hexadecimal digits.
      stat: times of modification and of change (ns) and inode.
    """

    size: int
    sha256: str
    stat: tuple[int, int, int]


def write(artifact: str, record: str) -> None:
    """Records the files of an artifact.

    Args:
      artifact: a folder, or a file.
      record: the path of the record.
    """
    names = list(_files(artifact))
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        _store(record, dict(zip(names, pool.map(lambda name: _read(_path(artifact, name)), names))))


def problem(artifact: str, record: str) -> str | None:
    """Why an artifact is not as it was recorded, with the file; None if it is.

    What was made before there were records is taken as it stands, and recorded.

    Args:
      artifact, record: as of `write`.
    """
    if not os.path.exists(artifact):
        return f"{artifact} is gone"
    try:
        with open(record, encoding="utf-8") as stream:
            known = {
                name: _File(size, sha256, tuple(stat))
                for name, (size, sha256, stat) in json.load(stream)["files"].items()
            }
    except FileNotFoundError:
        write(artifact, record)
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"{record}, the record of {artifact}, cannot be read"
    try:
        return _compare(artifact, record, known)
    except OSError as error:
        return f"{error.filename or artifact} cannot be read ({error.strerror})"


def _compare(artifact: str, record: str, known: dict[str, _File]) -> str | None:
    there = set(_files(artifact))
    for name in sorted(known.keys() - there):
        return f"{_path(artifact, name)} is gone"
    for name in sorted(there - known.keys()):
        return f"{_path(artifact, name)} was added"
    doubtful = []
    for name, file in known.items():
        stat = os.stat(_path(artifact, name))
        if stat.st_size != file.size:
            return f"{_path(artifact, name)} has {stat.st_size:,} bytes, not {file.size:,}"
        if file.size <= _ALWAYS_READ or file.stat != _identity(stat):
            doubtful.append(name)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        now = dict(zip(doubtful, pool.map(lambda name: _read(_path(artifact, name)), doubtful)))
    for name, file in now.items():
        if file.sha256 != known[name].sha256:
            return f"{_path(artifact, name)} has other content than when it was made"
    if any(now[name] != known[name] for name in now):
        _store(record, {**known, **now})
    return None


def _files(artifact: str) -> Iterator[str]:
    """The files of an artifact, relative to it; none that readers' patterns leave out, as `.nfs0001`."""
    if not os.path.isdir(artifact):
        yield ""
        return
    for folder, folders, names in os.walk(artifact, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield os.path.relpath(os.path.join(folder, name), artifact)


def _path(artifact: str, name: str) -> str:
    return os.path.join(artifact, name) if name else artifact


def _read(path: str) -> _File:
    with open(path, "rb", buffering=0) as stream:
        # Before its content: a change in between is then seen the next time.
        stat = os.fstat(stream.fileno())
        size, sha256 = checksums.measure(stream)
    return _File(size, sha256, _identity(stat))


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _store(record: str, files: dict[str, _File]) -> None:
    """Writes a record, whole or not at all."""
    os.makedirs(os.path.dirname(record), exist_ok=True)
    listed = {name: dataclasses.astuple(file) for name, file in sorted(files.items())}
    whole.write(record, json.dumps({"files": listed}))
