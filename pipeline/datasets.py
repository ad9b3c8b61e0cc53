"""Data sets that `footfall data fetch` gets (or makes, where they are synthetic) and keeps."""

import hashlib
import http.client
import io
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable

from schemas import errors

PREFIX = "dataset:"
EVENTS = "events.csv"
ITEMS = "items.csv"
EXPOSURES = "exposures.csv"
_ML_100K, _EXAMPLE = "ml-100k", "exposures-example"
# The log of each.
_LOGS = {_ML_100K: EVENTS, _EXAMPLE: EXPOSURES}
_ML_100K_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_ML_100K_WHEEL = "recbole==1.2.1"
# Of events.csv, whichever source it is made from.
_ML_100K_SHA256 = "65eb67736961d69ca7865b494f5183a635f644c99a672fc7d4c80c0cfb5c989b"
_TIMEOUT_S = 20
# The rating in the middle, of 1 to 5 stars.
_NEUTRAL = 3
_Files = dict[str, bytes]


def cache_dir() -> str:
    """Where data sets are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "footfall")


def names() -> list[str]:
    """The data sets that can be fetched."""
    return list(_LOGS)


def path_of(name: str, to: str | None = None) -> str:
    """The folder of a data set, whether it has been fetched or not."""
    return os.path.join(to or cache_dir(), name)


def resolve(path: str) -> str:
    """`dataset:NAME` as the path of its log; other paths as they are.

    Raises:
      errors.InputError: for an unknown name.
    """
    if not path.startswith(PREFIX):
        return path
    name = path[len(PREFIX) :]
    _check(name)
    return os.path.join(path_of(name), _LOGS[name])


def fetch(name: str, to: str | None = None, say: Callable[[str], None] = lambda text: None) -> str:
    """Gets a data set, unless it is there: its public source first, then a published copy.

    Of `ml-100k` it writes `events.csv` (user_id, item_id, rating, timestamp in s, behavior, in the
    order of the source) and `items.csv` (item_id, title). The behaviour is what the rating says:
    `dislike` (1 and 2), `neutral` (3) or `like` (4 and 5). Of `exposures-example`, which is
    synthetic, it writes `exposures.csv`; see `pipeline.example_log`.

    Args:
      name: of the data set.
      to: the folder to put it in; the cache by default.
      say: is told what happens.

    Returns:
      The folder.

    Raises:
      errors.InputError: for an unknown name, or if no source gives the right file.
    """
    _check(name)
    folder = path_of(name, to)
    if name == _EXAMPLE:
        _make_example(folder, say)
        return folder
    events = os.path.join(folder, EVENTS)
    if os.path.exists(events) and os.path.exists(os.path.join(folder, ITEMS)):
        with open(events, "rb") as stream:
            if hashlib.sha256(stream.read()).hexdigest() == _ML_100K_SHA256:
                return folder
        say(f"{events} is damaged: fetching it again")
    failures = []
    for source, get in (("grouplens.org", _from_grouplens), (f"the package {_ML_100K_WHEEL}", _from_wheel)):
        try:
            say(f"{name}: trying {source}")
            files = get()
        except _FAILURES as error:
            failures.append(f"{source}: {error}")
            continue
        found = hashlib.sha256(files[EVENTS]).hexdigest()
        if found != _ML_100K_SHA256:
            failures.append(f"{source}: checksum {found[:12]}… instead of {_ML_100K_SHA256[:12]}…")
            continue
        _write(folder, files)
        say(f"{name}: in {folder}")
        return folder
    raise errors.InputError(f"data set {name}: no source works: " + "; ".join(failures))


# Of a download, whichever part of it.
_FAILURES = (
    OSError,
    KeyError,
    http.client.HTTPException,
    zlib.error,
    zipfile.BadZipFile,
    subprocess.SubprocessError,
)


def _make_example(folder: str, say: Callable[[str], None]) -> None:
    from pipeline import example_log

    made, path = example_log.make().encode("ascii"), os.path.join(folder, EXPOSURES)
    if os.path.exists(path):
        with open(path, "rb") as stream:
            if stream.read() == made:
                return
    _write(folder, {EXPOSURES: made})
    say(f"{_EXAMPLE}: made (it is synthetic), in {folder}")


def titles(folder: str) -> dict[str, str]:
    """The titles of a data set's items by id."""
    import csv

    with open(os.path.join(folder, ITEMS), encoding="utf-8", newline="") as stream:
        return {row["item_id"]: row["title"] for row in csv.DictReader(stream)}


def _check(name: str) -> None:
    if name not in names():
        raise errors.InputError(f"no data set {name!r}; there are {', '.join(names())}")


def _write(folder: str, files: _Files) -> None:
    """Each file appears whole or not at all; the events last, since they are checked for."""
    os.makedirs(folder, exist_ok=True)
    for name in sorted(files, key=lambda n: n == EVENTS):
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as stream:
            stream.write(files[name])
        os.chmod(stream.name, 0o644)
        os.replace(stream.name, os.path.join(folder, name))


def _from_grouplens() -> _Files:
    # Here, since it takes half as long as all else that every command imports.
    import urllib.request

    with urllib.request.urlopen(_ML_100K_URL, timeout=_TIMEOUT_S) as response:
        archive = zipfile.ZipFile(io.BytesIO(response.read()))
    rows = [line.split("\t") for line in archive.read("ml-100k/u.data").decode("ascii").split("\n") if line]
    items = [
        line.split("|")[:2] for line in archive.read("ml-100k/u.item").decode("latin-1").split("\n") if line
    ]
    return _canonical(rows, [(item, title) for item, title in items])


def _from_wheel() -> _Files:
    """RecBole's wheel ships the data; it is downloaded, not installed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
            _ML_100K_WHEEL,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise OSError(
                done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip download failed"
            )
        (wheel,) = os.listdir(folder)
        archive = zipfile.ZipFile(os.path.join(folder, wheel))
        rows = _table(archive.read("recbole/dataset_example/ml-100k/ml-100k.inter"))
        items = _table(archive.read("recbole/dataset_example/ml-100k/ml-100k.item"))
    return _canonical(rows, [(row[0], f"{row[1]} ({row[2]})" if row[2] else row[1]) for row in items])


def _table(data: bytes) -> list[list[str]]:
    return [line.rstrip("\r").split("\t") for line in data.decode("utf-8").split("\n")[1:] if line.strip()]


def _canonical(rows: list[list[str]], items: list[tuple[str, str]]) -> _Files:
    import csv

    events = "user_id,item_id,rating,timestamp,behavior\n" + "".join(
        f"{','.join(row[:4]).strip()},{_behavior(float(row[2]))}\n" for row in rows
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("item_id", "title"))
    writer.writerows(items)
    return {EVENTS: events.encode("ascii"), ITEMS: text.getvalue().encode("utf-8")}


def _behavior(rating: float) -> str:
    if rating == _NEUTRAL:
        return "neutral"
    return "like" if rating > _NEUTRAL else "dislike"
