"""`footfall embed`: as a server answers, whatever the order of the log and the number of shards."""

import datetime
import errno
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml

from pipeline import cli
from pipeline.batch_inference import arrays, questions, shard
from pipeline.batch_inference import model as model_lib
from pipeline.batch_inference import users as users_lib
from serving import client as client_lib
from serving import server as server_lib
from tests import held_models, period_fixtures
from tests.serving import test_embedding

_START = 1_600_000_000_000
_WINDOW = {"kind": "next", "length": 8, "shards": 2}
_PERIOD = {"kind": "period", "past": "1d", "future": "1h", "length": 8, "shards": 2}


def made_up_events():
    """Rows of users with 1 to 20 events at different times, in any order."""
    rng = np.random.default_rng(3)
    counts = (1, 2, 3, 5, 8, 9, 20)
    rows = [
        (f"u{user}", f"i{rng.integers(0, 22)}", str(rng.choice(["view", "buy"])), _START + 1000 * n + user)
        for user, count in enumerate(counts)
        for n in range(count)
    ]
    return [rows[n] for n in rng.permutation(len(rows))]


EVENTS = made_up_events()
users_model = test_embedding.served


def write_log(path, rows, header="user_id,item_id,behavior,timestamp"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def write_experiment(path, log, columns=(("behavior", "behavior"),), **others):
    values = {
        "name": "toy",
        "log": {"path": log, "timestamp_unit": "ms", "columns": dict(columns)},
        "window": _WINDOW,
        "model": {"name": "sasrec"},
        **others,
    }
    path.write_text(yaml.safe_dump(values))
    return str(path)


def histories(rows, before=None):
    """The events of each user as a client sends them."""
    found = {}
    for user, item, behavior, time in sorted(rows, key=lambda row: row[-1]):
        if before is None or time < before:
            found.setdefault(user, []).append({"item_id": item, "behavior": behavior, "timestamp": time})
    return found


@pytest.fixture(scope="module", autouse=True)
def read_once():
    with held_models.once():
        yield


@pytest.fixture(scope="module")
def base(toy, tmp_path_factory):
    """The toy model as version 7."""
    folder = tmp_path_factory.mktemp("versions")
    shutil.copytree(toy / "model", folder / "7")
    return folder


@pytest.fixture(scope="module")
def served(base):
    """A function from histories to what a server answers."""
    with server_lib.Server(str(base)) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as client:
            yield client.embed


@pytest.fixture
def embed(base, tmp_path, capsys):
    """A function from arguments of `footfall embed` to the rows by user, and what was printed."""

    def run(*arguments, model=None):
        output = tmp_path / "users.parquet"
        assert cli.execute(["embed", str(model or base), "-o", str(output), *arguments]) == 0
        printed = capsys.readouterr().out
        assert not [path for path in tmp_path.iterdir() if "inference" in path.name]
        return {row.pop("user_id"): row for row in pq.read_table(output).to_pylist()}, printed

    return run


def check(found, wanted, served):
    """That rows are those of histories by user."""
    assert set(found) == set(wanted)
    answers = dict(zip(wanted, served(list(wanted.values()))))
    for user, history in wanted.items():
        row = found[user]
        np.testing.assert_allclose(row["embedding"], answers[user], rtol=1e-5, atol=1e-6)
        assert row["events"] == len(history)
        assert row["last_timestamp"].timestamp() * 1000 == pytest.approx(history[-1]["timestamp"], abs=0.5)


def test_a_model_is_loaded_once(base, tmp_path, monkeypatch):
    """By the check of what a history is, and by the workers of the process."""
    read, original = [], tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda folder: read.append(folder) or original(folder))
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", EVENTS))
    asked = users_lib.ask(str(base), questions.EMBEDDINGS, experiment=experiment)
    assert users_lib.write(asked, str(tmp_path / "users.parquet")).users == 7
    assert read == [str(base / "7")]


def test_rows_are_what_a_server_answers(embed, served, tmp_path):
    """The client sends whole histories, of which the model itself takes the last ones."""
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", EVENTS))
    found, printed = embed("--experiment", experiment)
    check(found, histories(EVENTS), served)
    assert (
        "7 users, 4 numbers each as of each user's last event, by " in printed
        and "/7\n  item_id: " in printed
    )
    schema = pq.read_schema(tmp_path / "users.parquet")
    assert [str(field.type) for field in schema][:3] == ["string", "int64", "timestamp[ms, tz=UTC]"]
    assert schema.field("embedding").type.list_size == 4


def test_order_files_and_shards_do_not_matter(embed, tmp_path):
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", EVENTS))
    found, _ = embed("--experiment", experiment)
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, rows in enumerate((sorted(EVENTS)[::2], sorted(EVENTS)[1::2])):
        write_log(folder / f"{number}.csv", rows)
    other, _ = embed("--experiment", experiment, "--log", str(folder), "--set", "window.shards=1")
    assert list(other) == sorted(other) and set(found) == set(other)
    for user, row in found.items():
        np.testing.assert_allclose(row.pop("embedding"), other[user].pop("embedding"), rtol=1e-6, atol=1e-6)
        assert row == other[user]


def test_a_moment_leaves_out_what_is_not_strictly_before(embed, served, tmp_path):
    rows = [*EVENTS, ("late", "i1", "view", _START + 9000)]
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", rows))
    moment = _START + 5000 + 3
    text = datetime.datetime.fromtimestamp(moment / 1000, datetime.timezone.utc).isoformat()
    found, printed = embed("--experiment", experiment, "--at", text)
    wanted = histories(rows, before=moment)
    # The sixth event of user 3 would be at this moment; that of user 4 is after it.
    assert "u6" in wanted and len(wanted["u6"]) == 5 and "late" not in wanted
    check(found, wanted, served)
    assert f"4 numbers each as of {text}, by " in printed
    assert f"left out: 1 users without an event before {text}" in printed


def test_a_moment_that_names_no_zone_is_in_utc(base, tmp_path, capsys):
    """And what it would be on the clocks of the log is said, if that is another moment."""
    rows = [(*row[:3], time_of(row[3])) for row in EVENTS]
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", rows))
    output = tmp_path / "users.parquet"
    for at, zone, note in (
        ("2020-09-13T12:26:50", "Europe/Berlin", "2020-09-13T12:26:50+02:00"),
        ("2020-09-13T12:26:50", "Europe/London", "2020-09-13T12:26:50+01:00"),
        ("2020-09-13T14:26:50+02:00", "Europe/Berlin", None),
        ("2020-09-13T12:26:50", "Atlantic/Reykjavik", None),
        ("2020-09-13T12:26:50", None, None),
    ):
        settings = ["log.timestamp_unit=iso8601", *([f"log.timezone={zone}"] if zone else [])]
        command = ["embed", str(base), "-o", str(output), "--experiment", experiment, "--at", at]
        assert cli.execute([*command, *(word for one in settings for word in ("--set", one))]) == 0
        printed = capsys.readouterr()
        assert " as of 2020-09-13T12:26:50+00:00, by " in printed.out
        told = (
            f"--at {at} names no zone and is in UTC; in log.timezone ({zone}) it is {note}; "
            f"write that, or {at}Z for UTC"
        )
        assert (f"footfall: warning: {told}" in printed.err.splitlines()) == bool(note)
    # As do those of the log's settings, which alone are read of the experiment.
    settings = ["log.timestamp_unit=iso8601", "log.timezone=Europe/Berlin", "log.earliest=2020-01-01"]
    command = ["embed", str(base), "-o", str(output), "--experiment", experiment]
    assert cli.execute([*command, *(word for one in settings for word in ("--set", one))]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "names no zone" in line] == [
        "footfall: warning: log.earliest 2020-01-01T00:00:00 names no zone and is in UTC; in log.timezone "
        "(Europe/Berlin) it is 2020-01-01T00:00:00+01:00; write that, or 2020-01-01T00:00:00Z for UTC"
    ]


@pytest.mark.parametrize(
    "pause, wrong_clock, late, told",
    [
        # Behind the log's end by more than a day, and than its longest pause.
        (0, False, 23, False),
        (0, False, 25, True),
        (72, False, 71, False),
        (72, False, 73, True),
        # An event of a wrong clock is not when the log ends.
        (0, True, 25, True),
    ],
)
def test_a_moment_long_after_the_log_is_said(base, tmp_path, capsys, pause, wrong_clock, late, told):
    hour = 3_600_000
    # In the same order as without the pause.
    rows = [(*row[:3], row[3] + pause * hour * (row[3] > _START + 5000)) for row in EVENTS]
    end = max(row[3] for row in rows)
    if wrong_clock:
        rows.append(("u6", "i1", "view", end + 2000 * hour))
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", rows))
    command = ["embed", str(base), "-o", str(tmp_path / "users.parquet"), "--experiment", experiment]
    at = time_of(end // 1000 * 1000 + late * hour)
    assert cli.execute([*command, "--at", at]) == 0
    warning = f"footfall: warning: --at {at} is long after the log's last event, {time_of(end)[:19]}+00:00: "
    said_then = capsys.readouterr().err
    assert (warning in said_then) == ("long after" in said_then) == told
    assert cli.execute(command) == 0
    assert "long after" not in capsys.readouterr().err


def test_a_log_far_from_training_is_said(base, tmp_path, capsys):
    """As by a client."""
    with server_lib.Server(str(base)) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as client:
            trained = client.training_times()
    assert trained is not None and model_lib.trained_on(model_lib.load(str(base / "7"))) == trained
    output = tmp_path / "users.parquet"
    for ms, far in ((trained.last + trained.margin, False), (trained.last + trained.margin + 9**9, True)):
        rows = [(*row[:3], ms - 20_000 + row[3] - _START) for row in EVENTS]
        experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", rows))
        command = ["embed", str(base), "-o", str(output), "--experiment", experiment]
        command += ["--set", "log.earliest=1970-01-01"]
        said_by = {}
        for what, more in (("--at", ["--at", time_of(ms)]), ("the log's last event", [])):
            assert cli.execute([*command, *more]) == 0
            said_by[what] = capsys.readouterr().err
        for what, err in said_by.items():
            line = f"footfall: warning: {what} {time_of(ms)[:10]}"
            words = f" is far from the times that the model was trained on ({trained})"
            assert any(one.startswith(line) and one.endswith(words) for one in err.splitlines()) == far


def time_of(ms):
    """As text of a log, in UTC."""
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).isoformat()


def test_a_period_reaches_back_as_far_as_in_training(embed, served, tmp_path):
    period = {"kind": "period", "past": "4s", "future": "1s", "length": 8, "shards": 2}
    experiment = write_experiment(
        tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", EVENTS), window=period
    )
    found, _ = embed("--experiment", experiment)
    # An event each second: the last four, at any time of a user.
    check(found, {user: events[-4:] for user, events in histories(EVENTS).items()}, served)


def test_a_model_of_periods_is_asked_at_the_moment(embed, periods, tmp_path):
    rows = [(user, item, "home", time) for user, item, _, time in EVENTS]
    base = tmp_path / "versions"
    shutil.copytree(periods / "model", base / "7")
    log = write_log(tmp_path / "log.csv", rows, "user_id,item_id,scene,timestamp")
    experiment = write_experiment(tmp_path / "toy.yaml", log, window=_PERIOD)
    pathlib.Path(experiment).write_text(pathlib.Path(experiment).read_text().replace("behavior", "scene"))
    # All but the last few seconds of the log are too old.
    moment = datetime.datetime.fromtimestamp((_START + 86_400_000 + 15_000) / 1000, datetime.timezone.utc)
    found, _ = embed("--experiment", experiment, "--at", moment.isoformat(), model=base)
    told = round(moment.timestamp() * 1000)
    with server_lib.Server(str(base)) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as client:
            for wanted, now in ((found, told), (embed("--experiment", experiment, model=base)[0], None)):
                for user, history in histories(rows).items():
                    events = [{"scene": "home", **event} for event in history]
                    answer = client.embed([events], now=now)[0]
                    if user in wanted:
                        np.testing.assert_allclose(wanted[user]["embedding"], answer, rtol=1e-5, atol=1e-6)
                    else:
                        assert not answer.any()
    assert 0 < len(found) < len(wanted)


def test_a_model_of_users_is_asked_as_of_one_moment(embed, users_model, tmp_path):
    """Right after the log: how long a user has done nothing is of what it tells."""
    base = tmp_path / "versions"
    shutil.copytree(users_model[0], base / "7")
    times = {"idle": [0, 7_200_000], "busy": [40_000_000, 80_000_000], "gone": [-86_400_000, -86_300_000]}
    events = {
        user: [
            {
                "item_id": f"i{n}",
                "scene": "home",
                "timestamp": _START + time,
                "item_brand": "a",
                "context_price": 2.5,
            }
            for n, time in enumerate(at)
        ]
        for user, at in times.items()
    }
    rows = [(user, *event.values()) for user, history in events.items() for event in history]
    log = write_log(tmp_path / "log.csv", rows, "user_id,item_id,scene,timestamp,brand,price")
    columns = {"scene": "scene", **period_fixtures.ATTRIBUTES}
    experiment = write_experiment(tmp_path / "toy.yaml", log, columns, window=_PERIOD)
    found, printed = embed("--experiment", experiment, model=base)
    moment = _START + 80_000_001
    assert set(found) == {"idle", "busy"} and "left out: 1 users" in printed
    assert {round(row["moment"].timestamp() * 1000) for row in found.values()} == {moment}
    with server_lib.Server(str(base)) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as client:
            for user, row in found.items():
                answer = client.embed([events[user]], now=moment)[0]
                np.testing.assert_allclose(row["embedding"], answer, rtol=1e-5, atol=1e-6)
            untold = client.embed([events["idle"]])[0]
    assert np.abs(np.subtract(found["idle"]["embedding"], untold)).max() > 1e-3


@pytest.mark.parametrize(
    "window, change, words",
    [
        (
            _PERIOD,
            "window.past=300d",
            "window.past: .* in the 1d before a moment, and takes no others; found 300d ",
        ),
        (_PERIOD, "window.past=12h", "window.past: .*; found 12h "),
        (_PERIOD, "window.length=9", "window.length: .* the last 8 events of a history, .*; found 9$"),
        (_WINDOW, "window.shards=1", "window.past: .*; found none \\(window: {kind: next}\\)$"),
    ],
)
def test_a_window_that_is_not_the_models_is_refused(periods, tmp_path, capsys, window, change, words):
    """In a run's folder and with --experiment: users of whom the model takes no event would have a vector."""
    run = tmp_path / "runs" / "toy"
    shutil.copytree(periods / "model", run / "serving" / "toy" / "7")
    rows = [(user, item, "home", time) for user, item, _, time in EVENTS]
    log = write_log(tmp_path / "log.csv", rows, "user_id,item_id,scene,timestamp")
    experiment = write_experiment(run / "experiment.yaml", log, {"scene": "scene"}, window=window)
    output = tmp_path / "users.parquet"
    for model in (run, run / "serving" / "toy"):
        given = [] if model == run else ["--experiment", experiment]
        line = said(capsys, model, "-o", output, *given, "--set", change)
        assert re.search(words, line), line
    assert not output.exists()


def test_what_a_model_cuts_a_history_to(toy, periods):
    for folder, past in ((toy, None), (periods, period_fixtures.PAST_MS)):
        model = str(folder / "model")
        found = model_lib.history_of(
            model_lib.load(model), model_lib.takes(model, questions.EMBEDDINGS).inputs
        )
        assert found == model_lib.History(period_fixtures.LENGTH, past)


def test_a_run_tells_all_but_where_to_write(embed, base, tmp_path):
    run = tmp_path / "runs" / "toy"
    shutil.copytree(base, run / "serving" / "toy")
    log = write_log(tmp_path / "log.csv", EVENTS)
    written = write_experiment(run / "experiment.yaml", log)
    found, printed = embed(model=run)
    assert len(found) == 7 and f"by {run}/serving/toy/7" in printed
    assert found == embed("--experiment", written)[0]
    # What answers may be of an earlier run than the newest.
    assert model_lib.find(str(run))[1] == str(written)
    (run / "pushed").mkdir()
    of_version = write_experiment(run / "pushed" / "7.yaml", log)
    assert model_lib.find(str(run)) == (f"{run}/serving/toy/7", str(of_version))


def test_of_what_another_run_has_pushed_the_experiment_is_asked_for(base, tmp_path, capsys):
    """Its log may be read otherwise; `push.destination` says where both push."""
    run, log = tmp_path / "runs" / "toy", write_log(tmp_path / "log.csv", EVENTS)
    run.mkdir(parents=True)
    shutil.copytree(base, tmp_path / "serving")
    values = yaml.safe_load(pathlib.Path(write_experiment(run / "experiment.yaml", log)).read_text())
    values["push"] = {"destination": str(tmp_path / "serving")}
    (run / "experiment.yaml").write_text(yaml.safe_dump(values))
    output = tmp_path / "users.parquet"
    line = said(capsys, run, "-o", output)
    assert f"{tmp_path}/serving/7 answers, which this run has not pushed, so name the experiment" in line
    (run / "pushed").mkdir()
    of_version = write_experiment(run / "pushed" / "7.yaml", log)
    assert model_lib.find(str(run)) == (f"{tmp_path}/serving/7", str(of_version))
    assert cli.execute(["embed", str(run), "-o", str(output)]) == 0


def test_processes_at_one_output_have_folders_of_their_own(tmp_path):
    """What a killed one has left is removed, what another one is at stays."""
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    host = os.uname().nodename
    left = {
        who: tmp_path / f".a.parquet.inference-{host}-{who}"
        for who in (int(ended.stdout), os.getppid(), os.getpid())
    }
    elsewhere, of_other = (
        tmp_path / ".a.parquet.inference-elsewhere-1",
        tmp_path / f".b.parquet.inference-{host}-{2**30}",
    )
    for folder in (*left.values(), elsewhere, of_other):
        folder.mkdir()
    assert users_lib._scratch(str(tmp_path), "a.parquet") == str(left[os.getpid()])
    assert sorted(tmp_path.iterdir()) == sorted([left[os.getppid()], elsewhere, of_other])


def test_a_run_is_opened_with_what_a_new_one_may_not_have(embed, base, tmp_path, capsys):
    run = tmp_path / "runs" / "toy"
    shutil.copytree(base, run / "serving" / "toy")
    given = {
        "retrieval": {"name": "ivf", "queries": 100},
        "loop": {"name": "tp", "adversary": 0, "classes": "apart"},
    }
    written = write_experiment(run / "experiment.yaml", write_log(tmp_path / "log.csv", EVENTS), **given)
    found, _ = embed(model=run)
    assert len(found) == 7
    # And where the file is named: no more of it is read than how the log is.
    again, _ = embed("--experiment", written)
    assert set(again) == set(found)
    line = said(
        capsys, base, "-o", tmp_path / "o.parquet", "--experiment", written, "--set", "window.stride=1d"
    )
    assert "window.stride" in line


def test_a_run_whose_negatives_were_corrected_by_other_counts_is_opened(embed, periods, tmp_path, capsys):
    run = tmp_path / "runs" / "toy"
    shutil.copytree(periods / "model", run / "serving" / "toy" / "7")
    rows = [(user, item, "home", time) for user, item, _, time in EVENTS]
    log = write_log(tmp_path / "log.csv", rows, "user_id,item_id,scene,timestamp")
    given = {
        "columns": {"scene": "scene"},
        "window": _PERIOD,
        "model": {"name": "contrarec"},
        "loss": {"name": "bce", "negative_sampling": "in_batch"},
    }
    written = write_experiment(run / "experiment.yaml", log, **given)
    found, _ = embed(model=run)
    assert len(found) == 7
    again, _ = embed("--experiment", written, model=run)
    assert set(again) == set(found)


def test_bad_rows_are_set_aside_as_in_a_run(embed, served, tmp_path):
    rows = [*EVENTS, ("u1", "i1", "view", "soon")]
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", rows))
    found, _ = embed("--experiment", experiment, "--set", "log.max_rejected_share=0.5")
    check(found, histories(EVENTS), served)


def test_a_key_that_no_record_of_a_log_has_is_missing_in_all(embed, tmp_path, caplog):
    """A log of a day may lack what the model was trained with, whatever its other keys are named."""
    keys = ("user_id", "item_id", "behaviour", "timestamp")
    lines = [json.dumps({**dict(zip(keys, row)), "behaviour": None}) for row in EVENTS]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    experiment = write_experiment(tmp_path / "toy.yaml", str(tmp_path / "log.jsonl"))
    found, _ = embed("--experiment", experiment)
    assert set(found) == set(histories(EVENTS))
    assert "column 'behavior' (log.columns.behavior) has no value in any row" in caplog.text


def said(capsys, *arguments):
    assert cli.execute(["embed", *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("footfall: ")
    return lines[0]


def test_what_does_not_fit_is_one_line(base, tmp_path, capsys):
    log = write_log(tmp_path / "log.csv", EVENTS)
    experiment = write_experiment(tmp_path / "toy.yaml", log)
    bad = write_log(tmp_path / "bad.csv", [("u1", "i1", "view", "soon")] * 3)
    output = tmp_path / "users.parquet"
    output.write_text("of before")
    silent = tmp_path / "silent"
    module = tf.Module()
    function = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(silent), signatures={"predict": function.get_concrete_function()})
    plain = write_experiment(tmp_path / "plain.yaml", log)
    fine = (base, "--experiment", experiment)
    for arguments, words in (
        ((base, "-o", output), "name the experiment that says how the log is read: --experiment FILE"),
        ((tmp_path, "-o", output, "--experiment", experiment), "no version of a model there"),
        (
            (silent, "-o", output, "--experiment", experiment),
            "no signature 'embed'; models that rank items and models of users' embeddings (byb, user_*) have it, also the "
            "model.base_model that byb_labels is finetuned from; this one has predict",
        ),
        ((*fine, "-o", tmp_path), "-o names a file to write, found a folder"),
        ((*fine, "-o", tmp_path, "--arrays"), "-o names a folder of arrays to write, found one with "),
        ((*fine, "-o", experiment, "--arrays"), "-o names a folder to write, found something else"),
        ((*fine, "-o", tmp_path / "none" / "a.parquet"), "found no such folder"),
        ((*fine, "-o", output, "--at", "soon"), "--at takes an ISO 8601 moment"),
        (
            (*fine, "-o", output, "--at", "2001-01-01"),
            "no event is before --at 2001-01-01T00:00:00+00:00; the log begins at 2020-09-13T12:26:40+00:00",
        ),
        ((*fine, "-o", output, "--log", bad), "3 of 3 rows (100.0%) are bad"),
        ((*fine, "-o", output, "--log", tmp_path / "none.csv"), "no file matches"),
        ((*fine, "-o", output, "--set", "model.dim=3"), "--set takes settings of log, window, beam here"),
        (
            (base, "-o", output, "--experiment", plain, "--set", "log.columns={}"),
            "the model takes history_behavior, which needs log.columns.behavior, found none",
        ),
    ):
        assert words in said(capsys, *arguments), arguments
    # Nothing is left, and what was there stays.
    assert output.read_text() == "of before"
    assert not [path for path in tmp_path.iterdir() if "inference" in path.name]


def test_answers_are_not_written_into_what_is_read(base, tmp_path, capsys):
    """Whatever the path is that stands for the log, and whatever links lead there."""
    folder = tmp_path / "log"
    folder.mkdir()
    log = write_log(folder / "log.csv", EVENTS)
    (tmp_path / "linked").symlink_to(folder)
    (folder / "deep").mkdir()
    (tmp_path / "link.csv").symlink_to(log)
    experiment = write_experiment(tmp_path / "toy.yaml", log)
    there = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    saved = next(path for path in there if path.name == "saved_model.pb")
    for path, output, more, words in (
        (log, log, (), "found one that is read as the log"),
        (log, tmp_path / "linked" / "log.csv", (), "found one that is read as the log"),
        (tmp_path / "link.csv", log, (), "found one that is read as the log"),
        (tmp_path / "link.csv", tmp_path / "link.csv", (), "found one that is read as the log"),
        (folder, folder / "users.parquet", (), "found one that is read as the log"),
        (folder, folder / "deep" / "users.parquet", (), "found one that is read as the log"),
        (folder, tmp_path / "linked" / "users", ("--arrays",), "found one that is read as the log"),
        (tmp_path / "linked" / "*", folder / "users", (), "found one that is read as the log"),
        (log, experiment, (), f"found that of the experiment {experiment}"),
        (log, saved, (), f"found that of the model {saved.parent}"),
        (log, saved.parent / "users.parquet", (), f"found that of the model {saved.parent}"),
    ):
        before = sorted(tmp_path.rglob("*"))
        arguments = ("--experiment", experiment, "--log", path, "-o", output, *more)
        assert words in said(capsys, base, *arguments), (path, output)
        assert sorted(tmp_path.rglob("*")) == before
    assert pathlib.Path(log).read_text().count("\n") == len(EVENTS) + 1
    assert "name: toy" in pathlib.Path(experiment).read_text()
    assert {path: path.read_bytes() for path in base.rglob("*") if path.is_file()} == there
    # What is hidden, or is not of the pattern, is no part of the log.
    for path, output in ((folder, folder / "_users.parquet"), (f"{folder}/*.csv", folder / "users.parquet")):
        arguments = ("--experiment", experiment, "--log", str(path), "-o", str(output))
        assert cli.execute(["embed", str(base), *arguments]) == 0
        assert pq.read_table(output).num_rows == 7


def test_a_place_that_cannot_be_written_to_is_one_line(base, tmp_path, capsys):
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", EVENTS))
    line = said(capsys, base, "-o", "/proc/users.parquet", "--experiment", experiment)
    assert line.startswith("footfall: /proc/users.parquet: not written: ")


def test_a_disk_that_takes_no_more_is_one_line(base, tmp_path, capsys, monkeypatch):
    """In a worker of Beam, and where the parts are put together."""
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", EVENTS))
    output = tmp_path / "users.parquet"
    output.write_text("of before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        line = said(capsys, base, "-o", output, "--experiment", experiment)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    words = "a file is larger than the disk or a limit allows (File too large)"
    assert line == f"footfall: {output}: not written: {words}"

    def fill(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(users_lib, "_join", fill)
    line = said(capsys, base, "-o", output, "--experiment", experiment)
    assert line == f"footfall: {output}: not written: the disk is full (No space left on device)"
    assert output.read_text() == "of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "toy.yaml", "users.parquet"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_keeps_nothing_and_says_so(base, tmp_path, capsys, monkeypatch, number):
    experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", EVENTS))
    output = tmp_path / "users.parquet"
    output.write_text("of before")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(users_lib, "_join", lambda *_: os.kill(os.getpid(), number))
    try:
        for command in ("embed", "recommend"):
            assert cli.execute([command, str(base), "-o", str(output), "--experiment", experiment]) == 130
            assert capsys.readouterr().err == "footfall: stopped; the same command begins anew\n"
    finally:
        signal.signal(signal.SIGINT, before)
    assert output.read_text() == "of before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "toy.yaml", "users.parquet"]


def test_arrays_have_what_the_rows_have_in_float16(embed, base, tmp_path, monkeypatch):
    rows = [(user[1:], *rest) for user, *rest in EVENTS]
    monkeypatch.setattr(shard, "_ROW_GROUP", 2)
    for users, kind in ((rows, "int64"), ([*rows, ("07", "i1", "buy", _START)], "<U2")):
        experiment = write_experiment(tmp_path / "toy.yaml", write_log(tmp_path / "log.csv", users))
        found, _ = embed("--experiment", experiment)
        output = tmp_path / "arrays"
        # Once more over what is there.
        arguments = ["embed", str(base), "-o", str(output), "--arrays", "--experiment", experiment]
        assert cli.execute(arguments) == 0
        assert sorted(path.name for path in output.iterdir()) == [arrays.EMBEDDINGS, arrays.IDS][::-1]
        ids, embeddings = (np.load(output / name) for name in (arrays.IDS, arrays.EMBEDDINGS))
        assert str(ids.dtype) == kind and embeddings.dtype == np.float16
        assert sorted(map(str, ids)) == sorted(found) and embeddings.shape == (len(found), 4)
        for user, vector in zip(ids, embeddings):
            np.testing.assert_allclose(vector, found[str(user)]["embedding"], rtol=1e-3, atol=1e-3)


def test_numbers_that_float16_has_not_become_its_largest(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1e6, -1e6, 0.5, 1.0], pa.float32()), 2)
    path = str(tmp_path / "users.parquet")
    pq.write_table(pa.table({"user_id": ["1", "2"], "embedding": vectors}), path)
    arrays.write([path], str(tmp_path), 2)
    assert np.load(tmp_path / arrays.EMBEDDINGS).tolist() == [[65504.0, -65504.0], [0.5, 1.0]]
