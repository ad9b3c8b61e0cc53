"""Which state a log is in, and a log that changes while it is read."""

import datetime
import os

import pytest

from components.behavior_example_gen import fingerprint, spans, spec, state
from components.behavior_example_gen.reading import files
from schemas import errors
from tests.components.behavior_example_gen import harness


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.csv").write_text("user_id,item_id,timestamp\nu1,i1,1\n")
    return folder


def replaced(path, text):
    """By another file of the same name, as `mv` does."""
    other = path.with_name(".other")
    other.write_text(text)
    os.replace(other, path)


def same_size_and_time(path):
    before = path.stat()
    replaced(path, path.read_text().replace("u1", "u2"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def in_place_within_the_second(path):
    second = 1_700_000_000_000_000_000
    os.utime(path, ns=(second, second))
    before = fingerprint.digest(spans.find(str(path)))
    with open(path, "r+") as stream:
        stream.write("user_id,item_id,timestamp\nu3")
    os.utime(path, ns=(second, second + 1))
    assert fingerprint.digest(spans.find(str(path))) != before


CHANGES = {
    "same size and time": (same_size_and_time, "was written to or replaced"),
    "within a second": (in_place_within_the_second, "was written to or replaced"),
    "grows": (lambda p: p.write_text(p.read_text() + "u1,i2,17"), "grew from 34 to 42 bytes"),
    "shrinks": (lambda p: os.truncate(p, 30), "shrank from 34 to 30 bytes"),
    "goes": (lambda p: p.unlink(), "was removed"),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changes_is_another_log(log, how):
    before = fingerprint.digest(spans.find(f"{log}/"))
    assert (
        fingerprint.digest(spans.find(f"{log}/")) == before == fingerprint.digest(spans.find(f"{log}/*.csv"))
    )
    CHANGES[how][0](log / "a.csv")
    assert fingerprint.digest(spans.find(f"{log}/")) != before


@pytest.mark.parametrize("how", CHANGES)
def test_a_file_that_changes_while_it_is_read_is_refused(log, how):
    change, said = CHANGES[how]
    with pytest.raises(errors.InputError) as found:
        with fingerprint.unchanged(spans.find(f"{log}/*")):
            change(log / "a.csv")
    assert str(found.value).startswith(f"{log}/a.csv: {said} while it was read")


def test_what_follows_from_the_change_is_not_the_message(log):
    with pytest.raises(errors.InputError, match="was removed while it was read") as found:
        with fingerprint.unchanged(spans.find(f"{log}/*")):
            (log / "b.csv").unlink()
            (log / "b.csv").read_bytes()
    assert isinstance(found.value.__cause__, FileNotFoundError)


def test_other_errors_and_new_files_are_what_they_are(log):
    with pytest.raises(ValueError, match="of its own"):
        with fingerprint.unchanged(spans.find(f"{log}/*")):
            raise ValueError("of its own")
    before = fingerprint.digest(spans.find(f"{log}/*"))
    with fingerprint.unchanged(spans.find(f"{log}/*")):
        (log / "c.csv").write_text("user_id,item_id,timestamp\n")
    assert fingerprint.digest(spans.find(f"{log}/*")) != before
    # What is not read is not the log's.
    (log / "_SUCCESS").touch()
    (log / ".crc").touch()
    assert fingerprint.digest(spans.find(f"{log}/*.csv")) == fingerprint.digest(spans.find(f"{log}/*"))


@pytest.fixture
def bucket(monkeypatch):
    """Of a file each hour, one of which has characters of patterns in its name."""
    paths = [f"gs://b/log/{day}/{hour}.csv" for day in range(10) for hour in range(23)]
    return harness.Bucket(*paths, *(f"gs://b/log/{day}/a[1]?.csv" for day in range(10))).in_place(monkeypatch)


@pytest.mark.parametrize("path", ["gs://b/log/{SPAN}/*.csv", "gs://b/log/{SPAN}", "gs://b/log/*/*.csv"])
def test_a_bucket_is_asked_for_lists_and_not_for_each_file(bucket, path):
    log = spec.LogSpec(path=path)
    known = state.look(log)
    with fingerprint.unchanged(spans.find(log.path, log.spans, known["span"])) as files:
        state.check(log, known, files)
    # At the end, one for each folder.
    assert len(files.paths) == 240 and bucket.requests < 10 + 10


@pytest.mark.parametrize(
    "path, most, requests, listed",
    [
        ("gs://b/{YYYY}/{MM}/{DD}", 2, 6, 2),
        ("gs://b/{YYYY}/{MM}/{DD}/**/*.csv", 32, 32, 32),
        # Of very many folders those of the months: four, and a day of the next.
        ("gs://b/{YYYY}/{MM}/{DD}", 100, 5, 30 + 31 + 30 + 31 + 1),
        ("gs://b/{YYYY}-{MM}-{DD}/", 2, 6, 2),
    ],
)
def test_of_spans_in_folders_of_their_own_hardly_any_other_is_listed(
    monkeypatch, path, most, requests, listed
):
    """Two days of two years have in common what all of the bucket has."""
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=number) for number in range(732)]
    mark = path.partition("/**")[0].rstrip("/").replace("{YYYY}", "%Y").replace("{MM}", "%m")
    folders = [day.strftime(mark.replace("{DD}", "%d")) for day in days]
    bucket = harness.Bucket(*(f"{one}/{hour}/a.csv" for one in folders for hour in range(3)))
    bucket.in_place(monkeypatch)
    with fingerprint.unchanged(spans.find(path, most)) as files:
        assert len(files.paths) == 3 * most
        bucket.requests = bucket.listed = 0
    assert (bucket.requests, bucket.listed) == (requests, 3 * listed)


def test_a_bucket_that_does_not_answer_hides_no_other_error(bucket, monkeypatch):
    found = spans.find("gs://b/log/*")

    def silent(prefix):
        raise errors.InputError(f"log.path: {prefix}: 503")

    monkeypatch.setattr(files, "starting_with", silent)
    with pytest.raises(RuntimeError, match="of its own"):
        with fingerprint.unchanged(found):
            raise RuntimeError("of its own")
    with pytest.raises(errors.InputError, match="503"):
        with fingerprint.unchanged(found):
            pass


@pytest.mark.parametrize(
    "path", ["gs://b/log/{SPAN}", "gs://b/log/*", "gs://b/log/9/*", "gs://b/log/9/2.csv"]
)
def test_a_file_of_a_bucket_that_changes_while_it_is_read_is_refused(bucket, path):
    changed = "gs://b/log/9/2.csv"
    with fingerprint.unchanged(spans.find(path)):
        # The next run looks at them.
        bucket.objects |= {"gs://b/log/beside.csv": (1, 1.0), "gs://b/log/9/2.csv.new": (1, 1.0)}
    del bucket.objects["gs://b/log/beside.csv"]
    for now, said in (
        ((3, 2.0), "grew from 1 to 3 bytes"),
        ((3, 4.0), "was written to or replaced"),
        (None, "was removed"),
    ):
        with pytest.raises(errors.InputError) as found:
            with fingerprint.unchanged(spans.find(path)):
                bucket.objects[changed] = now
                if now is None:
                    del bucket.objects[changed]
        assert str(found.value).startswith(f"{changed}: {said} while it was read")
