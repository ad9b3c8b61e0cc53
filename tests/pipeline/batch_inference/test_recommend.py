"""`footfall recommend`: as a server answers who sends all that a user has done."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import cli
from pipeline.batch_inference import histories, questions
from serving import client as client_lib
from serving import server as server_lib
from tests.pipeline.batch_inference import test_embed

base, read_once = test_embed.base, test_embed.read_once


@pytest.fixture
def recommend(base, tmp_path, capsys):
    experiment = test_embed.write_experiment(
        tmp_path / "toy.yaml", test_embed.write_log(tmp_path / "log.csv", test_embed.EVENTS)
    )

    def run(*arguments, model=base):
        output = tmp_path / "items.parquet"
        command = ["recommend", str(model), "-o", str(output), "--experiment", experiment, *arguments]
        assert cli.execute(command) == 0, capsys.readouterr().err
        return {row["user_id"]: row for row in pq.read_table(output).to_pylist()}, capsys.readouterr().out

    return run


def _check(found, wanted, base, k):
    """That items and scores are those of whole histories."""
    assert set(found) == set(wanted)
    with server_lib.Server(str(base)) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as client:
            answers = client.recommend(list(wanted.values()), k=k)
    for (user, history), answer in zip(wanted.items(), answers):
        row = found[user]
        assert row["item_id"] == answer.item_ids
        np.testing.assert_allclose(row["score"], answer.scores, rtol=1e-5, atol=1e-6)
        assert not set(row["item_id"]) & {event["item_id"] for event in history}
        assert row["events"] == len(history)


def test_items_are_those_of_a_server_that_is_told_all(recommend, base):
    wanted = test_embed.histories(test_embed.EVENTS)
    # Longer than the model's history, so that the first of its items are seen, and no part of it.
    assert max(map(len, wanted.values())) > 8
    found, printed = recommend("-k", "3")
    _check(found, wanted, base, 3)
    assert "7 users, item_id, score as of each user's last event, by " in printed
    assert all(len(row["item_id"]) == 3 for row in found.values())


def test_a_filter_of_training_hides_nothing_that_was_seen(recommend, base):
    """Each item is rare in a log of a few days, or in this one; counted here, it would be no history, and recommended again."""
    wanted = test_embed.histories(test_embed.EVENTS)
    rare = "log.filter={min_item_events: 1000, min_user_events: 1000}"
    found, _ = recommend("-k", "50", "--set", rare)
    _check(found, wanted, base, 50)
    assert found == recommend("-k", "50")[0]


def test_of_few_items_all_that_are_left(recommend, base):
    """Lists of unlike lengths, in batches of unlike users."""
    found, _ = recommend("-k", "50", "--set", "window.shards=3")
    _check(found, test_embed.histories(test_embed.EVENTS), base, 50)
    assert len({len(row["item_id"]) for row in found.values()}) > 1


def test_only_what_is_before_a_moment_is_seen(recommend, base):
    moment = test_embed._START + 5000 + 3
    found, printed = recommend("--at", "2020-09-13T12:26:45.003Z", "-k", "50")
    assert " users, item_id, score as of 2020-09-13T12:26:45.003000+00:00, by " in printed
    _check(found, test_embed.histories(test_embed.EVENTS, before=moment), base, 50)


def test_of_periods_what_is_too_old_is_no_history_but_seen(periods, tmp_path):
    base = tmp_path / "versions"
    shutil.copytree(periods / "model", base / "7")
    rows = [(user, item, "home", time) for user, item, _, time in test_embed.EVENTS]
    log = test_embed.write_log(tmp_path / "log.csv", rows, "user_id,item_id,scene,timestamp")
    experiment = test_embed.write_experiment(
        tmp_path / "toy.yaml", log, {"scene": "scene"}, window=test_embed._PERIOD
    )
    output = tmp_path / "items.parquet"
    # All but the last few seconds of the log are too old.
    now = test_embed._START + 86_400_000 + 15_000
    command = ["recommend", str(base), "-o", str(output), "--experiment", experiment, "-k", "50"]
    assert cli.execute([*command, "--at", "2020-09-14T12:26:55Z"]) == 0
    found = {row["user_id"]: row for row in pq.read_table(output).to_pylist()}
    wanted = test_embed.histories(rows)
    assert 0 < len(found) < len(wanted)
    with server_lib.Server(str(base)) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as client:
            for user, row in found.items():
                history = [{**event, "scene": "home"} for event in wanted[user]]
                (answer,) = client.recommend([history], k=50, now=now)
                assert row["item_id"] == answer.item_ids
                assert row["events"] < len(history)


@pytest.mark.parametrize("k", ["0", "1001"])
def test_a_number_of_items_that_is_none(base, tmp_path, capsys, k):
    assert cli.execute(["recommend", str(base), "-o", str(tmp_path / "i.parquet"), "-k", k]) == 2
    assert capsys.readouterr().err.strip() == f"footfall: -k takes 1 to 1,000 items, found {k}"


def test_batches_are_bounded_by_what_they_hold():
    lengths = np.array([5, 1, 1, 100, 2, 3])
    found = histories.Histories(
        **dict.fromkeys(("users", "begin", "counts", "times", "texts", "numbers", "of_users", "left_out")),
        lengths=lengths,
    )
    parts = [part.tolist() for part in found.by_length(3, most=6)]
    # One user may be more than that.
    assert parts == [[1, 2, 4], [5], [0], [3]]
    assert [part.tolist() for part in found.by_length(2)] == [[1, 2], [4, 5], [0, 3]]


def test_lists_end_where_items_do():
    answers = {
        "item_id": np.array([[b"a", b"b"], [b"c", b""], [b"", b""]], object),
        "score": np.array([[2, 1], [3, -9], [-9, -9]], np.float32),
    }
    found = questions.Recommendations(2).columns(answers)
    assert found["item_id"].to_pylist() == [["a", "b"], ["c"], []]
    assert found["score"].to_pylist() == [[2.0, 1.0], [3.0], []]
