"""Fetching a data set, without the network."""

import hashlib
import io
import zipfile

import pytest

from pipeline import datasets
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

    monkeypatch.setattr(datasets.urllib.request, "urlopen", urlopen)
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
