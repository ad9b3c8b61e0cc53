"""Fetching a data set, without the network."""

import csv
import hashlib
import io
import os
import zipfile

import pytest

from pipeline import datasets, example_log
from schemas import errors

ROWS = [
    ("196", "242", "3", "881250949"),
    ("186", "302", "4", "891717742"),
    ("22", "377", "1", "878887116"),
    ("244", "51", "2", "880606923"),
    ("166", "346", "5", "886397596"),
]
BEHAVIORS = ("neutral", "like", "dislike", "dislike", "like")
LINES = [",".join((*row, behavior)) for row, behavior in zip(ROWS, BEHAVIORS)]


def grouplens():
    """The public archive's form."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("ml-100k/u.data", "".join("\t".join(row) + "\n" for row in ROWS))
        archive.writestr(
            "ml-100k/u.item",
            '242|Kolya (1996)|24-Jan-1997||x\n302|Caf\u00e9, "Le" (1997)|||y\n'.encode("latin-1"),
        )
    return stream.getvalue()


@pytest.fixture
def source(monkeypatch):
    """A public source that answers, and the checksum of what it gives."""
    answers = {"data": grouplens(), "asked": 0}

    class Response(io.BytesIO):
        pass

    def urlopen(url, timeout):
        answers["asked"] += 1
        if answers["data"] is None:
            raise OSError("no route")
        return Response(answers["data"])

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setattr(datasets, "_from_wheel", lambda: (_ for _ in ()).throw(OSError("no index")))
    files = datasets._from_grouplens()
    monkeypatch.setattr(datasets, "_ML_100K_SHA256", hashlib.sha256(files[datasets.EVENTS]).hexdigest())
    answers["asked"] = 0
    return answers


def test_fetch_keeps_the_order_and_the_titles(source, tmp_path):
    folder = datasets.fetch("ml-100k", str(tmp_path))
    text = (tmp_path / "ml-100k" / "events.csv").read_text()
    assert text == "user_id,item_id,rating,timestamp,behavior\n" + "".join(line + "\n" for line in LINES)
    assert datasets.titles(folder) == {"242": "Kolya (1996)", "302": 'Café, "Le" (1997)'}
    datasets.fetch("ml-100k", str(tmp_path))
    assert source["asked"] == 1


def test_a_damaged_file_is_fetched_again(source, tmp_path):
    datasets.fetch("ml-100k", str(tmp_path))
    (tmp_path / "ml-100k" / "events.csv").write_text("cut off")
    datasets.fetch("ml-100k", str(tmp_path))
    assert source["asked"] == 2 and "196,242" in (tmp_path / "ml-100k" / "events.csv").read_text()


def test_a_wrong_checksum_is_not_kept(source, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_ML_100K_SHA256", "0" * 64)
    with pytest.raises(errors.InputError) as caught:
        datasets.fetch("ml-100k", str(tmp_path))
    assert "checksum" in str(caught.value) and "no index" in str(caught.value)
    assert not (tmp_path / "ml-100k").exists()


def test_no_source_and_no_such_data(source, tmp_path):
    source["data"] = None
    with pytest.raises(
        errors.InputError, match="grouplens.org: no route; the package recbole==1.2.1: no index"
    ):
        datasets.fetch("ml-100k", str(tmp_path))
    with pytest.raises(errors.InputError, match="no data set 'ml-9'; there are ml-100k"):
        datasets.fetch("ml-9")
    with pytest.raises(errors.InputError, match="no data set"):
        datasets.resolve("dataset:ml-9")


def test_both_sources_have_one_form():
    """RecBole's tables give the same rows as the archive's."""
    inter = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n" + b"".join(
        "\t".join(row).encode() + b"\r\n" for row in ROWS
    )
    rows = datasets._table(inter)
    assert datasets._canonical(rows, [])[datasets.EVENTS].decode().splitlines()[1:] == LINES


def test_the_example_of_exposures_is_made_once_and_mended(tmp_path):
    said = []
    folder = datasets.fetch("exposures-example", str(tmp_path), said.append)
    path = tmp_path / "exposures-example" / "exposures.csv"
    made, written = path.read_bytes(), path.stat().st_mtime_ns
    assert folder == str(path.parent) and len(said) == 1 and "synthetic" in said[0]
    rows = list(csv.DictReader(made.decode().splitlines()))
    assert len(rows) == example_log.ROWS and list(rows[0]) == example_log.HEADER.split(",")
    times = [int(row["timestamp"]) for row in rows]
    assert times == sorted(times)
    chain = [(row["clicked"], row["bought"]) for row in rows]
    # All that can happen does, with clicks that were lost before some of the purchases.
    assert set(chain) == {("0", "0"), ("1", "0"), ("1", "1"), ("0", "1")}
    assert 0 < chain.count(("0", "1")) < chain.count(("1", "1")) < chain.count(("1", "0"))
    datasets.fetch("exposures-example", str(tmp_path), said.append)
    assert len(said) == 1 and path.stat().st_mtime_ns == written
    path.write_text("broken")
    datasets.fetch("exposures-example", str(tmp_path))
    assert path.read_bytes() == made


def test_the_example_of_exposures_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = datasets.fetch("exposures-example")
    assert datasets.resolve("dataset:exposures-example") == os.path.join(folder, "exposures.csv")
    assert os.path.exists(datasets.resolve("dataset:exposures-example"))
