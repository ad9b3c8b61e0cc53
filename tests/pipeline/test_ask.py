"""Where `footfall predict` and `serve` find the model of a run, and at which moment `predict` asks it."""

import contextlib
import datetime
import functools
import io
import json
import shutil
import sys

import pytest

from pipeline import ask, cli, config
from schemas import errors, names
from serving import client as client_lib
from serving import server as server_lib
from tests import period_fixtures


@pytest.fixture
def run_dir(tmp_path):
    """A function that writes the folder of a run as a run does, by where its experiment pushes."""

    def write(destination=None):
        source = tmp_path / "shop.yaml"
        source.write_text("name: shop\nlog: {path: shop.csv}\nmodel: {name: sasrec}\n")
        overrides = [] if destination is None else [f"push.destination={destination}"]
        folder = tmp_path / "runs" / "shop"
        folder.mkdir(parents=True)
        (folder / "experiment.yaml").write_text(config.load(str(source), overrides).to_yaml())
        return folder

    return write


def test_a_run_that_pushes_to_its_folder(run_dir):
    folder = run_dir()
    with pytest.raises(errors.InputError, match="no version of a model there; a run pushes to serving/NAME"):
        ask.model_dir(str(folder))
    (folder / "serving" / "shop" / "7").mkdir(parents=True)
    assert ask.model_dir(str(folder)) == str(folder / "serving" / "shop")


def test_a_run_that_pushes_to_a_local_folder_elsewhere(run_dir, tmp_path):
    served = tmp_path / "served"
    folder = run_dir(served)
    # Of a time when it pushed to its own folder: not what is live.
    (folder / "serving" / "shop" / "7").mkdir(parents=True)
    with pytest.raises(errors.InputError, match=f"this run pushes to {served}$"):
        ask.model_dir(str(folder))
    (served / "8").mkdir(parents=True)
    assert ask.model_dir(str(folder)) == str(served)


def test_a_run_that_pushes_to_a_bucket_names_it(run_dir):
    folder = run_dir("gs://bucket/models/shop")
    with pytest.raises(errors.InputError, match="no version of a model there.* gs://bucket/models/shop$"):
        ask.model_dir(str(folder))


@pytest.mark.parametrize("text", ["", "[", "push: gs://bucket", "push: {destination: null}", "\x00"])
def test_an_experiment_that_says_nothing_of_it(tmp_path, text):
    (tmp_path / "experiment.yaml").write_text(text)
    (tmp_path / "serving" / "shop" / "7").mkdir(parents=True)
    assert ask.model_dir(str(tmp_path)) == str(tmp_path / "serving" / "shop")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A function from the folder of an export to the address of a server."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def serve(exported):
            base = tmp_path_factory.mktemp("base")
            shutil.copytree(exported / "model", base / "7")
            return f"127.0.0.1:{running.enter_context(server_lib.Server(str(base))).grpc_port}"

        yield serve


def test_a_model_of_periods_is_asked_at_a_moment(periods, address, tmp_path, capsys):
    window = period_fixtures.random_windows()[0]
    moment = window[names.MOMENT]
    times = [*window[names.HISTORY_TIMESTAMP], moment, moment + 5]
    items = [*window[names.HISTORY_ITEM_ID], "i7", "i8"]
    file = tmp_path / "histories.jsonl"

    def answer(count, *more):
        events = [
            {"item_id": item, "timestamp": time, "scene": "home"}
            for item, time in zip(items[:count], times[:count])
        ]
        file.write_text(json.dumps(events) + "\n")
        assert cli.execute(["predict", address(periods), "--history", str(file), *more]) == 0
        return capsys.readouterr().out

    known = len(items) - 2
    as_text = datetime.datetime.fromtimestamp(moment / 1000, datetime.timezone.utc).isoformat()
    plain = answer(known)
    assert answer(len(items), "--now", str(moment)) == answer(len(items), "--now", as_text) == plain
    assert answer(len(items)) != plain


def test_a_row_has_the_moment_that_it_tells_or_that_of_now():
    rows = [{"a": 1}, {"a": 2, "moment": None}, {"a": 3, "moment": 5}]
    assert [row["moment"] for row in ask._at(rows, 7)] == [7, 7, 5] and rows[1]["moment"] is None


def test_histories_of_which_no_event_counts_are_named(toy, periods, address, tmp_path, capsys):
    moment = 1_600_000_000_000
    event = {"item_id": "i1", "behavior": "view", "scene": "home"}
    file = tmp_path / "histories.jsonl"

    def said(model, times, *more):
        histories = [[{**event, "timestamp": time} for time in some] for some in times]
        file.write_text("".join(json.dumps(history) + "\n" for history in histories))
        assert cli.execute(["predict", address(model), "--history", str(file), *more]) == 0
        printed = capsys.readouterr()
        assert len(printed.out.splitlines()) == len(times)
        return [line for line in printed.err.splitlines() if "no event" in line]

    old = moment - period_fixtures.PAST_MS
    at = ("--now", str(moment))
    assert said(
        periods, [[moment], [old - 1], [old], [old - 1, moment - 1], [], [moment, moment + 1]], *at
    ) == [
        f"footfall: warning: {file} line 1, 2, 5, 6: no event in the period before the moment that the model was trained on, "
        "so the answer is that of any user without history; training had none"
    ]
    assert said(periods, [[old], [moment]]) == []
    assert said(toy, [[moment], []]) == [
        f"footfall: warning: {file} line 2: no event, so the answer is that of any user without history; training had none"
    ]


def test_exposures_whose_history_lies_behind_them_are_named(shop, address, tmp_path, capsys):
    """As of a client whose events have another clock, or another time zone."""
    moment = 1_600_000_000_000
    file = tmp_path / "exposures.jsonl"

    def said(*times):
        event = {"item_id": "i1", "behavior": "view", "scene": "home"}
        exposures = [
            {
                "user_id": "u1",
                "item_id": "i2",
                "timestamp": moment,
                "history": [{**event, "timestamp": t} for t in some],
            }
            for some in times
        ]
        file.write_text("".join(json.dumps(exposure) + "\n" for exposure in exposures))
        assert cli.execute(["predict", address(shop), "--exposures", str(file)]) == 0
        printed = capsys.readouterr()
        assert len(printed.out.splitlines()) == len(times)
        return [line for line in printed.err.splitlines() if "no event" in line]

    assert said([moment], [], [moment - 1, moment], [moment, moment + 5]) == [
        f"footfall: warning: {file} line 1, 4: no event of history is before timestamp, so the answer is that of a user "
        "without history"
    ]
    assert said([moment - 1], []) == []
    with client_lib.Client(address(shop), timeout_s=60.0) as client:
        history = [{"item_id": "i1", "timestamp": moment}]
        for signature in ("predict", "predict_candidates"):
            assert client.without_events(signature, [history] * 2, [moment, moment + 1]) == [0]


def test_items_have_been_met_just_before_the_moment(periods, address, capsys):
    answers = []
    for more in ([], ["--now", "2020-09-14"]):
        command = ["predict", address(periods), "--items", "i1,i2", "--scene", "home", *more]
        assert cli.execute(command) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] != ""


@pytest.mark.parametrize(
    "model, asked, words",
    [
        (
            "toy",
            ["--items", "i1"],
            "now is for models of periods, and this one takes exclude, history_behavior, ",
        ),
        (
            "shop",
            ["--exposure", '{"item_id": "i1", "timestamp": 1600000000000}'],
            "--now is for models of periods; an exposure has its own timestamp",
        ),
    ],
)
def test_other_models_are_asked_at_no_moment(model, asked, words, request, address, capsys):
    served = address(request.getfixturevalue(model))
    assert cli.execute(["predict", served, *asked, "--now", "1600000000000"]) == 2
    assert words in capsys.readouterr().err


def test_now_without_a_zone_is_told_of_where_the_log_of_the_run_is_in_another(tmp_path, capsys):
    """The run's folder says so; it has no model, of which the command fails."""
    command = ["predict", str(tmp_path), "--items", "i1", "--now"]
    told = (
        "footfall: warning: --now 2024-06-01T12:00:00 names no zone and is in UTC; in log.timezone (Asia/Tokyo) "
        "it is 2024-06-01T12:00:00+09:00; write that, or 2024-06-01T12:00:00Z for UTC"
    )
    for zone, now, said in (
        ("Asia/Tokyo", "2024-06-01T12:00:00", True),
        ("Asia/Tokyo", "2024-06-01T12:00:00Z", False),
        ("Asia/Tokyo", "1717243200000", False),
        ("null", "2024-06-01T12:00:00", False),
    ):
        (tmp_path / "experiment.yaml").write_text(f"log: {{timezone: {zone}}}")
        assert cli.execute([*command, now]) == 2
        assert (told in capsys.readouterr().err.splitlines()) == said


def test_a_moment_that_is_none(tmp_path, capsys):
    assert cli.execute(["predict", str(tmp_path), "--items", "i1", "--now", "soon"]) == 2
    assert (
        "--now takes ms since 1970 or a time as 2024-06-01T12:00:00Z (UTC where it names no zone), found 'soon'"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_in_which_nothing_is_asked_is_refused(tmp_path, text, monkeypatch, capsys):
    file = tmp_path / "asked.jsonl"
    file.write_text(text)
    for what in ("history", "exposure"):
        option = "--history" if what == "history" else "--exposures"
        assert cli.execute(["predict", str(tmp_path), option, str(file)]) == 2
        assert capsys.readouterr().err == f"footfall: {file}: one {what} per line, found none\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert cli.execute(["predict", str(tmp_path), "--history", "-"]) == 2
    assert capsys.readouterr().err == "footfall: -: one history per line, found none\n"


def test_what_is_asked_of_models_of_labels_is_an_object(tmp_path, capsys):
    assert cli.execute(["predict", str(tmp_path), "--exposure", '["i1"]']) == 2
    said = capsys.readouterr().err
    assert (
        "an exposure is an object with user_id, item_id and timestamp; of a model of labels of periods, one"
        in said
    )
    assert said.endswith('one with history and what the model takes of the user, as user_id; found ["i1"]\n')
