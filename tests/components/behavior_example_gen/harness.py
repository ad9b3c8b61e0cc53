"""Runs the real windowing on rows and reads its examples back."""

import datetime
import glob
import json
import os

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.io.gcp import gcsfilesystem

from components.behavior_example_gen import executor, spans, spec
from components.behavior_example_gen.windows.next import NextWindow
from pipeline.config import BeamSpec
from schemas import errors, names

ARGS = list(BeamSpec().args)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_NUMBERS = (names.HISTORY_TIMESTAMP, names.TARGET_TIMESTAMP, names.RECENT_TARGETS)


def write_csv(path, rows, header="user_id,item_id,timestamp"):
    """Writes rows of text as they are."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def run(folder, log, window=None, split=None, span=None, read_splits=names.SPLITS, args=ARGS, **options):
    """Windows a log; `options` are of `executor.run`.

    Returns:
      The windows by split as plain values, the profile, and the summary of rejected rows.
    """
    log = log if isinstance(log, spec.LogSpec) else spec.LogSpec(path=log, timestamp_unit="ms")
    if log.earliest is None:
        # Most logs of tests count from 0.
        log = log.model_copy(update={"earliest": EPOCH})
    out = str(folder / "out")
    profile = executor.run(
        log=log,
        window=window or NextWindow(shards=2),
        split=split or spec.SplitSpec(by=("leave_one_out",)),
        paths=spans.paths(log.path, log.spans, span),
        examples_uri=f"{out}/examples",
        rejected_uri=f"{out}/rejected",
        profile_uri=f"{out}/profile",
        scratch=f"{out}/scratch",
        make_pipeline=lambda: beam.Pipeline(argv=list(args)),
        **options,
    )
    assert not os.path.exists(f"{out}/scratch")
    with open(f"{out}/rejected/summary.json", encoding="utf-8") as stream:
        summary = json.load(stream)
    return {name: read(f"{out}/examples/Split-{name}") for name in read_splits}, profile, summary


def read(folder):
    """The examples of a split's folder as plain values."""
    files = sorted(glob.glob(f"{folder}/*"))
    assert not any(name.endswith(".partial") for name in files)
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [plain(tf.train.Example.FromString(record)) for record in records]


def plain(example):
    """A tf.Example as lists and scalars of Python; one of an exposure as lists alone."""
    if any(name.startswith(names.LABEL_PREFIX) for name in example.features.feature):
        return plain_exposure(example)
    values = {}
    for name, feature in example.features.feature.items():
        if name in _NUMBERS:
            value = list(feature.int64_list.value)
        else:
            value = [v.decode() for v in feature.bytes_list.value]
        values[name] = value if is_list(name) else value[0]
    return values


def is_list(name):
    """Whether a feature of a `next` window is a list."""
    return name == names.SEEN_ITEM_ID or (
        name.startswith(names.HISTORY_PREFIX) and name != names.HISTORY_LENGTH
    )


def plain_exposure(example):
    """A tf.Example as lists of Python."""
    values = {}
    for name, feature in example.features.feature.items():
        value = list(getattr(feature, feature.WhichOneof("kind")).value)
        values[name] = [v.decode() if isinstance(v, bytes) else v for v in value]
    return values


def key(window):
    """For comparing windows regardless of their order."""
    return json.dumps(window, sort_keys=True)


class Bucket:
    """Objects as Beam's file system asks for them.

    Attributes:
      objects: the size and the time of each path.
      requests: how many there were, and `listed` how many objects they were told of.
    """

    def __init__(self, *paths):
        self.objects = {path: (1, 1.0) for path in paths}
        self.requests = self.listed = 0

    def in_place(self, monkeypatch):
        """Has Beam ask it for what begins with `gs://`."""
        monkeypatch.setattr(gcsfilesystem.GCSFileSystem, "_gcsIO", lambda _: self)
        return self

    def list_files(self, prefix, with_metadata):
        self.requests += 1
        found = [one for one in sorted(self.objects.items()) if one[0].startswith(prefix)]
        self.listed += len(found)
        return found

    def exists(self, path):
        self.requests += 1
        return path in self.objects

    def _status(self, path):
        self.requests += 1
        size, updated = self.objects[path]
        return {"size": size, "updated": updated}


def log_rows(count=60, users=6):
    """Rows with different times: user n % users, item n % 7."""
    return [f"u{n % users},i{n % 7},{1000 + n}" for n in range(count)]


def fails(tmp_path, text, **options):
    """What is wrong with a log of this text."""
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(errors.InputError) as caught:
        run(tmp_path, spec.LogSpec(path=str(path), timestamp_unit="ms"), **options)
    return str(caught.value)
