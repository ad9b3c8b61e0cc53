"""The report of a run, read from its folder."""

import html.parser
import json
import pathlib
import re
import sqlite3

import pytest
from ml_metadata.proto import metadata_store_pb2

from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.behavior_example_gen.windows.next import NextWindow
from components.evaluator import config, spec
from pipeline.reporting import axes, graph, report, words
from pipeline.runners import local
from schemas import errors
from tests.components.evaluator import direct, harness
from tests.pipeline import recorded_run

_STATE = metadata_store_pb2.Execution


class _Page(html.parser.HTMLParser):
    """Text of a page, by the section it stands in, and the tags used."""

    def __init__(self, path):
        super().__init__()
        self.source = pathlib.Path(path).read_text()
        self.tags, self.attributes, self.sections, self.rows = [], [], {}, []
        self._section = "verdict"
        self._open = []
        self.feed(self.source)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.attributes.append(attributes)
        if tag == "section":
            self._section = attributes["id"]
        if tag == "tr":
            self.rows.append((self._section, []))
        if tag not in ("meta", "input", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"{tag} closed out of order at {self.getpos()}"

    def handle_data(self, data):
        if not self._open or self._open[-1] in ("style", "script") or not data.strip():
            return
        text = " ".join(data.split())
        self.sections[self._section] = f"{self.sections.get(self._section, '')} {text}"
        if "tr" in self._open:
            self.rows[-1][1].append(text)

    def row(self, section, first):
        """Texts of the first row of a section that starts with `first`."""
        return next(cells for where, cells in self.rows if where == section and cells[:1] == [first])


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """URIs of real evaluations: `good` (against a live model) passes the gate, `random` does not.

    `good` has metrics of a sampled ranking, too; `random` is from before recent popularity was a floor.
    """
    directory = tmp_path_factory.mktemp("evaluations")
    harness.write_examples(harness.windows(size=300, users=60, better=0.9), directory / "examples")
    found = {}
    for candidate, baseline, sampled in (("good", "worse", 99), ("random", None, None)):
        evaluation = spec.EvaluationSpec(
            cutoffs=(5, 10), slices=("user_frequency",), sampled_negatives=sampled
        )
        eval_config = config.eval_config(
            evaluation, spec.GateSpec(slices=("user_frequency",)), "ranking", NextWindow()
        )
        if candidate == "random":
            metric = eval_config.metrics_specs[0].metrics[0]
            metric.config = json.dumps({**json.loads(metric.config), "floors": [spec.POPULARITY]})
        found[candidate] = direct.evaluate(
            directory / candidate, directory / "examples", eval_config, candidate, baseline
        )
    return found


@pytest.fixture(scope="module")
def exposures(tmp_path_factory):
    """The real evaluation of a conversion model against a live one."""
    directory = tmp_path_factory.mktemp("exposures")
    harness.write_exposures(harness.exposures(size=500, users=100), directory / "examples")
    window = ExposureWindow(kind="exposure", steps=harness.STEPS)
    evaluation = spec.EvaluationSpec(slices=("user_frequency",))
    eval_config = config.eval_config(evaluation, spec.GateSpec(min={"auc/buy": 0.6}), "labels", window)
    return direct.evaluate(
        directory / "run", directory / "examples", eval_config, "good", "noisy", stub_class=harness.StepsStub
    )


def _run(tmp_path, evaluated, **others):
    recorder = recorded_run.Recorder(tmp_path / "runs" / "demo")
    recorded_run.record(
        recorder,
        "first",
        evaluated.evaluation_uri,
        evaluated.blessing_uri,
        pushed=evaluated.blessed,
        **others,
    )
    return recorder


def _read(recorder):
    return _Page(report.build(str(recorder.run_dir)))


def test_a_pushed_run(tmp_path, evaluations):
    recorder = _run(tmp_path, evaluations["good"], cached=("BehaviorExampleGen",))
    page = _read(recorder)
    top = page.sections["verdict"]
    assert "Pushed Version 1795240497 is live" in top
    assert re.search(
        r"ndcg@10 is 0\.\d{4}, 0\.\d{4} above popularity's 0\.\d{4} \[\+0\.\d{4}, \+0\.\d{4}\] \(asked: above",
        top,
    )
    assert "above the live model's" in top

    number, intervals = r"\d\.\d{4}", r"\d\.\d{4}–\d\.\d{4}"
    for panel, metric in enumerate(("HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR")):
        assert metric in page.sections["metrics"]
        cells = [c for where, c in page.rows if where == "metrics" and c[:1] == ["all"]][panel]
        assert cells[1] == "300"
        assert all(re.fullmatch(number, cells[i]) for i in (2, 4, 6, 10)), cells
        assert all(re.fullmatch(intervals, cells[i]) for i in (3, 5, 7, 11)), cells
    assert page.row("metrics", "user_frequency tail")
    assert page.sections["gate"].count("passed") == 7
    assert "Recent popularity Lift over the best of these" in page.sections["metrics"]

    assert "epoch 11: 0.0584" in page.sections["training"]
    assert "14 until no better" in page.sections["training"] and "162,304" in page.sections["training"]
    assert "Trained for other windows" in page.sections["training"]
    assert "more may be better" not in page.source
    assert "/models/7: 9 of 9 weights; items: 1,680 known, 2 new" in page.sections["training"]
    assert "4.3 ms of 50 ms allowed" in page.sections["server"]
    assert page.row("server", "recommend") == ["recommend", "passed"]

    data = page.sections["data"]
    assert "943" in data and "1,682" in data and "100,000" in data
    assert (
        "12 of 100,012 rows (0.01%) could not be read: timestamp is not a number (7), no item_id (5)." in data
    )
    # The file's name is shown, its folder on demand.
    assert "part-3.csv 12 bad rows events/part-3.csv" in page.sections["data"]
    assert page.row("data", "1,042")[1:] == ["timestamp is not a number", "<script>alert(1)</script>"]
    assert page.row("data", "warning")[1:3] == ["test", "item_frequency"]
    assert "train: 2,132 windows" in data and "test: 9,990 windows" in data
    assert "8 Mar 1998, 10:12 UTC" in data

    assert page.row("lineage", "BehaviorExampleGen")[1] == "cached"
    trainer = page.row("lineage", "Trainer")
    assert trainer[1:3] == ["done", "1 min 28 s"]
    assert "pipeline_root/first/model_run" in trainer
    assert "earlier/model" in page.row("lineage", "Resolver")
    assert page.source.count('class="edge"') == 11, (
        "the components' waiting for each other, without shortcuts"
    )
    assert "footfall run demo.yaml --set training.epochs=14" in page.sections["again"]
    assert "name: sasrec" in page.sections["again"]


def test_sampled_metrics_come_last_and_are_explained(tmp_path, evaluations):
    page = _read(_run(tmp_path / "good", evaluations["good"]))
    panels = [cells[0] for where, cells in page.rows if where == "metrics" and "This model" in cells]
    full = sorted(panels[:5])
    assert full == ["HR@10", "HR@5", "MRR", "NDCG@10", "NDCG@5"]
    assert sorted(panels[5:]) == [f"SAMPLED99_{name}" for name in full]
    assert "only for comparison with papers" in page.sections["metrics"]
    page = _read(_run(tmp_path / "random", evaluations["random"]))
    assert "only for comparison with papers" not in page.sections["metrics"]


def test_a_run_on_exposures(tmp_path, exposures):
    trained = recorded_run.history()
    for epoch in trained["epochs"]:
        epoch["auc"] = round(0.7 + epoch.pop("ndcg@10"), 4)
    recorder = _run(tmp_path, exposures, trained={**trained, "objective": "auc", "rising": True})
    (recorder.run_dir / "experiment.yaml").write_text("window: {kind: exposure}\n")
    page = _read(recorder)
    top = page.sections["verdict"]
    assert "auc/buy is 0." in top and "(asked: at least 0.6)" in top and "the base rate's" in top
    assert "Test exposures 500" in top and "Popularity" not in page.source
    metrics = page.sections["metrics"]
    assert "AUC/CART" in metrics and "LOG_LOSS/BUY" in metrics and "CHAIN_VIOLATIONS" in metrics
    assert page.row("metrics", "AUC")[1:] == ["Exposures", "This model", "Live", "Change"]
    assert page.row("metrics", "user_frequency tail")
    cart = page.row("steps", "cart")
    assert cart[1] == "500" and cart[2].endswith("%") and re.fullmatch(r"0\.\d{4}", cart[3])
    assert re.fullmatch(r"0\.\d{4}–0\.\d{4}", cart[4])
    # RelaImpr over the live model and its interval come last.
    assert re.fullmatch(r"\+\d\.\d{4}", cart[-2]) and " to " in cart[-1]
    assert "in 0.0% of the exposures" in page.sections["steps"]
    assert page.source.count('aria-label="Calibration of') == 2
    assert "buy: probability and what came of it" in page.sections["steps"]
    assert "the last: more may be better" in page.sections["training"]
    assert "AUC on eval" in page.sections["training"] and "whole catalogue" not in page.source
    assert "nan" not in page.source
    lines = local.outcome(str(recorder.run_dir))
    interval = r"0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]"
    for line, step in zip(lines, harness.STEPS):
        assert re.fullmatch(
            rf"auc/{step}: {interval}, log loss {interval} on \d+ test exposures, \d+ of them positive", line
        )
    assert "Blessed by the gate." in lines


def test_the_page_asks_nobody_for_anything(tmp_path, evaluations, exposures):
    _asks_nobody(_read(_run(tmp_path / "windows", evaluations["good"])))
    _asks_nobody(_read(_run(tmp_path / "exposures", exposures)))


def _asks_nobody(page):
    assert not {"link", "img", "iframe", "object", "base"} & set(page.tags)
    assert page.tags.count("script") == 1, "a value of the log became a script"
    for attributes in page.attributes:
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page.source)
    ids = [attributes["id"] for attributes in page.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"][1:] for attributes in page.attributes if "href" in attributes]
    assert set(targets) <= set(ids)


def test_a_run_that_did_not_pass_the_gate(tmp_path, evaluations):
    page = _read(_run(tmp_path, evaluations["random"]))
    assert "Not pushed The model did not pass the gate" in page.sections["verdict"]
    why = r"ndcg@10 is 0\.0000, without a single hit: no lift over popularity's 0\.\d{4} \(asked: above with 95 % confidence\)"
    assert re.search(why, page.sections["verdict"])
    assert "The model is not blessed." in page.sections["gate"]
    assert "no live model to compare it with" in page.sections["gate"]
    assert page.sections["gate"].count("failed") >= 1
    assert "Live" not in page.sections["metrics"]
    # Its floors are those it was measured against.
    assert "Lift over popularity" in page.sections["metrics"] and "Recent" not in page.source


def test_a_run_that_was_too_slow(tmp_path, evaluations):
    slow = {
        **recorded_run.LATENCY,
        "blessed": False,
        "p50_ms": 81.0,
        "reasons": ["the median latency is 81.0 ms (asked: at most 50)"],
    }
    recorder = _run(tmp_path, evaluations["good"], latency=slow)
    recorder.artifact("PushedModel", "later")  # belongs to no run
    recorder.start("second")
    recorded_run.record(
        recorder,
        "second",
        evaluations["good"].evaluation_uri,
        evaluations["good"].blessing_uri,
        pushed=False,
        latency=slow,
    )
    page = _read(recorder)
    assert "Not pushed The model passed the gate, but not the server" in page.sections["verdict"]
    assert "the median latency is 81.0 ms (asked: at most 50)" in page.sections["verdict"]


def test_a_run_that_failed_at_once(tmp_path):
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("first")
    message = "log.path: 10 of 12 rows are bad: events.csv row 2: no item_id ('<b>u1</b>')"
    recorder.execution("BehaviorExampleGen", state=_STATE.FAILED, seconds=2.2, message=message)
    recorder.finish(waiting=["StatisticsGen", "Trainer"])
    page = _read(recorder)
    assert "Failed BehaviorExampleGen stopped the run " + message in page.sections["verdict"]
    assert page.row("lineage", "BehaviorExampleGen")[1:] == ["failed", "2.2 s", message]
    assert page.row("lineage", "Trainer")[1] == "not reached"
    assert set(page.sections) == {"verdict", "lineage", "again"}


def test_only_the_newest_attempt_counts(tmp_path, evaluations):
    recorder = _run(tmp_path, evaluations["good"])
    recorder.start("second")
    recorder.execution("BehaviorExampleGen", state=_STATE.CACHED)
    recorder.execution("StatisticsGen", state=_STATE.FAILED, message="no space left")
    recorder.finish(waiting=["Trainer"])
    page = _read(recorder)
    assert "StatisticsGen stopped the run no space left" in page.sections["verdict"]
    assert "metrics" not in page.sections and "training" not in page.sections


def test_a_killed_run(tmp_path):
    """Nothing is left but the metadata store."""
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("first")
    recorder.execution("BehaviorExampleGen")
    recorder.execution("Trainer")
    with sqlite3.connect(recorder.run_dir / "metadata.sqlite") as database:
        database.execute("UPDATE Execution SET last_known_state = ? WHERE id = 2", (_STATE.RUNNING,))
    page = _read(recorder)
    assert "Unfinished Trainer was interrupted" in page.sections["verdict"]
    assert "The command was not recorded." in page.sections["again"]


def test_an_empty_folder_and_no_folder(tmp_path):
    page = _Page(report.build(str(tmp_path)))
    assert "Nothing has run yet" in page.sections["verdict"]
    with pytest.raises(FileNotFoundError, match="no run at .*missing"):
        report.build(str(tmp_path / "missing"))
    (tmp_path / local.RUN).write_text('{"experiment": ')
    with pytest.raises(errors.InputError, match="run.json: damaged: not JSON .*the same run again"):
        report.build(str(tmp_path))


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 0.0654, [0, 0.02, 0.04, 0.06, 0.08]),
        (1, 14, [0, 5, 10, 15]),
        (3, 3, [3, 4]),
        (4.1, 6.8, [4, 5, 6, 7]),
        # Of rounding.
        (0, 3e-12, [0, 1e-12, 2e-12, 3e-12]),
    ],
)
def test_ticks_are_round_and_cover_the_range(low, high, expected):
    ticks = axes.ticks(low, high, 5)
    assert ticks[0] <= low and ticks[-1] >= high
    assert ticks == pytest.approx(expected, abs=0) and len(set(ticks)) == len(ticks)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (41.2, "41 s"),
        (88.4, "1 min 28 s"),
        (3725, "1 h 02 min"),
        (None, "–"),
    ],
)
def test_durations(seconds, text):
    assert words.seconds(seconds) == text


def test_differences_have_a_sign():
    assert [words.signed(value) for value in (0.01234, -0.5, 0.0, 1e-7, float("nan"))] == [
        "+0.0123",
        "\u22120.5000",
        "0.0000",
        "0.0000",
        "–",
    ]


def test_graph_without_shortcuts():
    before = {"a": [], "b": ["a"], "c": ["a", "b"], "d": ["a", "c"]}
    assert graph._without_shortcuts(before) == {"a": [], "b": ["a"], "c": ["b"], "d": ["c"]}


@pytest.mark.parametrize(
    "name, lines",
    [
        ("Trainer", ["Trainer"]),
        ("BehaviorExampleGen", ["Behavior", "ExampleGen"]),
        ("latest_blessed_model", ["latest_blessed_model"]),
    ],
)
def test_long_names_take_two_lines(name, lines):
    assert graph._two_lines(name) == lines


def test_what_a_filter_left_out(tmp_path):
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("first")
    counts = {"min_item_events": 5, "min_user_events": 3, "items": 1204, "item_events": 2999, "users": 17}
    folder = recorder.folder("profile", profile={"users": 3, "filter": {**counts, "user_events": 30}})
    recorder.execution("Everything", outputs=[("profile", recorder.artifact("footfall.LogProfile", folder))])
    recorder.finish()
    text = _read(recorder).sections["data"]
    assert "log.filter left out 2,999 events of 1,204 items with fewer than 5 events" in text
    assert "then 30 events of users with fewer than 3 left; 17 users are gone" in text


def test_what_became_of_exposures(tmp_path):
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("first")
    found = {
        "exposures": 12345,
        "censored": 678,
        "inconsistent": 91,
        "negatives_left_out": 2345,
        "positive_rate": {"train": {"click": 0.25, "buy": 0.125}, "test": {"click": 0.5, "buy": None}},
        "unknown": {"train": {"click": 0, "buy": 1234}, "test": {"click": 0, "buy": 0}},
    }
    written = {"train": 9000, "eval": 0, "test": 322, "dropped": 0}
    profile = {"users": 3, "items": 2, "events": 9, "windows": written, "exposures": found}
    folder = recorder.folder("profile", profile=profile)
    recorder.execution("Everything", outputs=[("profile", recorder.artifact("footfall.LogProfile", folder))])
    recorder.finish()
    page = _read(recorder)
    text = page.sections["data"]
    assert "Of 12,345 exposures 91 had a later step without an earlier one, the horizon of 678 ended" in text
    assert "2,345 without any step were left out of train" in text
    assert "train: 9,000 exposures" in text
    rows = [cells for where, cells in page.rows if where == "data"]
    assert ["Label", "train", "test"] in rows
    assert ["click", "25.0%", "50.0%"] in rows
    assert ["buy", "12.5% (1,234 unknown)", "–"] in rows


def test_labels_that_are_no_chain_are_never_inconsistent(tmp_path):
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("first")
    found = {"exposures": 12345, "censored": 678, "negatives_left_out": 0, "positive_rate": {"train": {}}}
    profile = {"users": 3, "items": 2, "events": 9, "windows": {"train": 9000}, "exposures": found}
    folder = recorder.folder("profile", profile=profile)
    recorder.execution("Everything", outputs=[("profile", recorder.artifact("footfall.LogProfile", folder))])
    recorder.finish()
    text = _read(recorder).sections["data"]
    assert "12,345 exposures, the horizon of 678 ended" in text and "earlier one" not in text


@pytest.mark.parametrize("objective", ["ndcg@10", "auc"])
def test_a_search_shows_its_trials_and_which_was_taken(tmp_path, objective):
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("first")
    tried = [
        ({"model.dim": 32, "training.learning_rate": 0.00123456789}, 0.09, ""),
        ({"model.dim": 33, "training.learning_rate": 0.001}, None, "model: dim <b>must</b> be a multiple"),
        ({"model.dim": 64, "training.learning_rate": 0.002}, 0.11, ""),
    ]
    trials = [
        {
            "values": values,
            "objective": "" if error else objective,
            "score": score,
            "error": error,
            "epochs": 10,
            "best_epoch": 7,
            "seconds": 41.0,
            "taken": score == 0.11,
        }
        for values, score, error in tried
    ]
    folder = recorder.folder("tuner", trials=trials)
    recorder.execution("Tuner", outputs=[("tuner_results", recorder.artifact("TunerResults", folder))])
    recorder.finish()
    page = _read(recorder)
    assert [cells for where, cells in page.rows if where == "search"] == [
        ["Trial", "model.dim", "training.learning_rate", objective.upper(), "Best epoch"],
        ["taken", "64", "0.002", "0.1100", "7", "of 10"],
        ["done", "32", "0.00123457", "0.0900", "7", "of 10"],
        ["failed", "33", "0.001", "model: dim <b>must</b> be a multiple"],
    ]
    assert "3 trials, 1 of which failed, took 1 min 22 s of training" in page.sections["search"]


def test_artifacts_that_lack_keys(tmp_path):
    recorder = recorded_run.Recorder(tmp_path / "demo")
    recorder.start("first")
    outputs = [
        (
            "profile",
            recorder.artifact("footfall.LogProfile", recorder.folder("profile", profile={"users": 3})),
        ),
        (
            "rejected",
            recorder.artifact("footfall.RejectedRows", recorder.folder("rejected", summary={"rows": 9})),
        ),
        ("model_run", recorder.artifact("ModelRun", recorder.folder("model_run", history={"epochs": [{}]}))),
        (
            "blessing",
            recorder.artifact("InfraBlessing", recorder.folder("infra", latency={"blessed": False})),
        ),
        ("evaluation", recorder.artifact("ModelEvaluation", str(tmp_path / "missing"))),
    ]
    recorder.execution("Everything", outputs=outputs)
    recorder.finish()
    page = _read(recorder)
    assert "Users 3 Items –" in page.sections["data"]
    assert "Median latency –" in page.sections["server"]
