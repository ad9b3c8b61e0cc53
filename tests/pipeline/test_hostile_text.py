"""Whatever a log holds: each output shows it escaped, keeps it exactly, or refuses it."""

import html.parser
import json
import os
import pathlib
import re

import pytest
import yaml
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.behavior_example_gen import spec
from pipeline import cli, config, lineage, progress
from pipeline.cli import lists
from pipeline.comparing import comparison as comparing
from pipeline.comparing import rows, runs
from pipeline.reporting import report
from schemas import errors, names
from tests import hostile
from tests.components.behavior_example_gen import harness
from tests.pipeline import recorded_run
from tests.schemas import test_text

_STATE = metadata_store_pb2.Execution
_LONG = "i" * 10_000
# All that may act, in one text.
_EVIL = "".join(hostile.IDS[:16]) + "first\nsecond\r" + hostile.ACTING


class _Page(html.parser.HTMLParser):
    """The tags of a page, their attributes, and its text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(name for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


def assert_safe(source):
    """Of a page: no markup of a value's, and no character that acts."""
    page = _Page(source)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert not any(name.startswith("on") for name in page.attributes)
    assert set(test_text.acting(source)) <= {"\n"}
    assert "{{" not in source.replace("{{ 7 * 7 }}", "") and "<script>alert(1)</script>" in page.text
    assert "\\u202e" in page.text and "\\u001b[2J" in page.text and len(source) < 400_000
    return page


def test_the_report(tmp_path):
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("one")
    profile = {
        **recorded_run.PROFILE,
        "behaviors": {_EVIL: 5, _LONG: 4, "__proto__": 3, "train": 2},
        "scenes": {_EVIL: 1},
    }
    file = f"logs/{_EVIL}/part.csv"
    rejected = {
        **recorded_run.REJECTED,
        "by_reason": {_EVIL: 12},
        "by_file": {file: 12},
        "empty_files": [file, _LONG],
        "examples": [{"file": file, "row": 3, "reason": _EVIL, "value": _EVIL + _LONG}],
    }
    artifacts = [
        (
            "rejected",
            recorder.artifact("footfall.RejectedRows", recorder.folder("rejected", summary=rejected)),
        ),
        ("profile", recorder.artifact("footfall.LogProfile", recorder.folder("profile", profile=profile))),
    ]
    recorder.execution("BehaviorExampleGen", outputs=artifacts)
    found = pathlib.Path(recorder.folder("anomalies"))
    evil = _EVIL.replace("\ud800", "")  # a protocol buffer holds no half of a character
    recorded_run.anomalies(found, "test", **{evil: (anomalies_pb2.AnomalyInfo.ERROR, evil)})
    anomalies = recorder.artifact("ExampleAnomalies", str(found))
    recorder.execution("ExampleValidator", outputs=[("anomalies", anomalies)])
    recorder.execution("Trainer", state=_STATE.FAILED, message=_EVIL + _LONG)
    (recorder.run_dir / "experiment.yaml").write_text(f"log: {json.dumps(_EVIL)}\n", encoding="utf-8")
    recorder.finish(command=f"footfall run {_EVIL}", name=_EVIL)
    page = assert_safe(pathlib.Path(report.build(str(recorder.run_dir))).read_text(encoding="utf-8"))
    assert "part.csv" in page.text and "(10,0" in page.text
    # The store has what was recorded, as it was.
    with open(recorder.run_dir / "run.json", encoding="utf-8") as stream:
        kept = lineage.components(str(recorder.run_dir), json.load(stream))
    assert next(c.message for c in kept if c.id == "Trainer") == _EVIL + _LONG


_METHOD = {"interval": "bootstrap", "p": "x", "resamples": 10, "seed": 0, "groups_of_users": None}


@pytest.fixture
def comparison():
    row = rows.Row("ndcg@10", 0.1, 0.2, None, None, 0.1, 0.05, 0.15, 0.01)
    parts = [rows.SliceRows(part, 10, 5, (row,)) for part in ((), ((_EVIL, _EVIL),), (("slice", _LONG),))]
    return comparing.Comparison(
        (_EVIL,), ("b",), 0, 0, 0, ((_EVIL, _EVIL, _LONG),), (_EVIL,), _METHOD, tuple(parts), "ndcg@10"
    )


def test_the_comparison(comparison, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(comparing, "compare", lambda *arguments: comparison)
    monkeypatch.setattr(runs, "find_runs", lambda text: [])
    page = tmp_path / "page.html"
    assert cli.execute(["compare", str(tmp_path), str(tmp_path), "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert set(test_text.acting(shown)) <= {"\n"} and "\\u202e" in shown and "ndcg@10" in shown
    assert_safe(page.read_text(encoding="utf-8"))
    assert cli.execute(["compare", str(tmp_path), str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr().out
    assert set(test_text.acting(shown)) <= {"\n"} and json.loads(shown)["notes"] == [_EVIL]


def test_what_a_run_says(capsys):
    with progress.Progress(["Trainer"], __import__("sys").stdout) as shown:
        shown.start("Trainer")
        progress.logging.getLogger(progress.LOGGER).info("%s", _EVIL)
        shown.finish(progress.FAILED, _EVIL)
    out = capsys.readouterr().out
    assert set(test_text.acting(out)) <= {"\n"} and "\\u001b[2J" in out


def test_every_command_writes_through_one_gate(capsys, monkeypatch):
    """What it prints, what is wrong with the input (in one line), and what argparse says of an argument."""

    def evil(options):
        print(_EVIL)
        raise errors.InputError(_EVIL)

    monkeypatch.setattr(lists, "_models", evil)
    assert cli.execute(["models"]) == 2
    with pytest.raises(SystemExit):
        cli.execute(["sweep", "x", "--search", _EVIL])
    assert cli.execute(["run", _EVIL.replace("\x00", "")]) == 2
    found = capsys.readouterr()
    assert "second" in found.err and not re.search("^second", found.err.partition("usage:")[0], re.MULTILINE)
    for stream in found:
        assert set(test_text.acting(stream)) <= {"\n"} and "\\u202e" in stream


def test_windows_keep_ids_and_files_have_names_of_their_own(tmp_path):
    """Ids, behaviours and attributes come back byte by byte; no name of a file is made of them."""
    ids = list(hostile.IDS)
    rows = [
        {"user_id": ids[u], "item_id": ids[(u + n) % len(ids)], "timestamp": 10 * n + u, "behavior": ids[n]}
        for u in range(len(ids))
        for n in range(8)
    ]
    rows += [
        {"user_id": _LONG, "item_id": "i", "timestamp": 1},
        {"user_id": "a\nb", "item_id": "i", "timestamp": 1},
    ]
    path = tmp_path / "<img src=x>\u202e.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    log = spec.LogSpec(
        path=str(path), timestamp_unit="ms", columns=spec.Columns(behavior="behavior"), max_rejected_share=0.1
    )
    found, profile, summary = harness.run(tmp_path, log)
    assert {window["user_id"] for window in found["test"]} == set(ids)
    assert {window["target_item_id"] for window in found["test"]} <= set(ids)
    assert set(profile["behaviors"]) == set(ids[:8]) and summary["rejected"] == 2
    assert all(len(example["value"]) <= 200 for example in summary["examples"])
    names_of_files = [name for _, folders, files in os.walk(tmp_path / "out") for name in (*folders, *files)]
    assert names_of_files and all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names_of_files)


@pytest.mark.parametrize(
    "name", ["<script>", "../../x", "=cmd()", "\u202ex", "a\x1bb", "[PAD]", "a b", "x" * 300, ""]
)
def test_names_that_become_files_or_features_are_refused(tmp_path, name):
    good = {"name": "mine", "log": {"path": "log.csv"}, "model": {"name": "sasrec"}}
    exposure = {"kind": "exposure", "steps": [name]}
    for change in (
        {"name": name},
        {"log": {"path": "x", "columns": {"item": {name: "c"}}}},
        {"log": {"path": "x", "columns": {"label": {name: "c"}}}},
        {"window": exposure, "model": {"name": "bpcm"}},
    ):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**good, **change}), encoding="utf-8")
        with pytest.raises(errors.InputError) as caught:
            config.load(str(path))
        assert "\n" not in str(caught.value)
    assert names.SPLITS  # `train`, `__proto__` and the like are names as others
    for fine in ("train", "__proto__", "PAD"):
        spec.Columns(item={fine: "c"}, context={fine: "c"})
