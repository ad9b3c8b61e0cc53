"""`footfall embed` and a client, of a model that reads attributes of events: both send what the log has."""

import math
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import cli
from schemas import names
from serving import client as client_lib
from serving import objectives, requests
from serving import server as server_lib
from tests.pipeline.batch_inference import test_embed
from tests.serving import test_embedding

served = test_embedding.served
_COLUMNS = {
    "scene": "scene",
    "item": {"brand": {"column": "brand"}},
    "context": {"price": {"column": "price", "type": "numeric"}},
}


def rows():
    """Events with a scene, a brand and a price, of some unknown."""
    rng = np.random.default_rng(5)
    made = []
    for user, item, _, time in test_embed.EVENTS:
        price = "" if rng.random() < 0.3 else f"{rng.uniform(0, 100):.3f}"
        made.append(
            (user, item, str(rng.choice(["home", "search"])), str(rng.choice(["", "a", "c"])), price, time)
        )
    return made


def histories(events):
    """As a client sends them: what an event has not is left out."""
    found = {}
    for user, item, scene, brand, price, time in sorted(events, key=lambda row: row[-1]):
        event = {"item_id": item, "scene": scene, "timestamp": time}
        event |= {"item_brand": brand} if brand else {}
        event |= {"context_price": float(price)} if price else {}
        found.setdefault(user, []).append(event)
    return found


@pytest.fixture
def base(served, tmp_path):
    path, *_ = served
    shutil.copytree(path, tmp_path / "versions" / "3")
    return str(tmp_path / "versions")


def test_rows_are_what_a_server_answers(base, tmp_path):
    log = test_embed.write_log(tmp_path / "log.csv", rows(), "user_id,item_id,scene,brand,price,timestamp")
    window = {"kind": "period", "past": "1d", "future": "1h", "length": 8, "shards": 2}
    experiment = test_embed.write_experiment(tmp_path / "users.yaml", log, _COLUMNS, window=window)
    output = tmp_path / "users.parquet"
    assert cli.execute(["embed", base, "-o", str(output), "--experiment", experiment]) == 0
    table = pq.read_table(output).to_pylist()
    found = {row["user_id"]: row["embedding"] for row in table}
    (moment,) = {round(row["moment"].timestamp() * 1000) for row in table}
    wanted = histories(rows())
    assert set(found) == set(wanted)
    with server_lib.Server(base) as server:
        with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as client:
            answers = client.embed(list(wanted.values()), now=moment)
            bare = [
                [{k: v for k, v in e.items() if k != "context_price"} for e in h] for h in wanted.values()
            ]
            without = client.embed(bare, now=moment)
            unknown = client.unknown({"history_item_brand": ["a", "never met"]})
    np.testing.assert_allclose([found[user] for user in wanted], answers, rtol=1e-4, atol=1e-5)
    assert np.abs(answers - without).max() > 1e-3
    assert unknown == {"history_item_brand": ["never met"]}


@pytest.mark.parametrize(
    "context, message",
    [
        (None, "the model takes context_price of each event, numeric; log.columns has item_brand"),
        ({"price": {"column": "price"}}, "log.columns has context_price, categorical"),
    ],
)
def test_a_log_without_what_the_model_takes_is_one_line(base, tmp_path, capsys, context, message):
    log = test_embed.write_log(tmp_path / "log.csv", rows(), "user_id,item_id,scene,brand,price,timestamp")
    columns = {**_COLUMNS, "context": context or {}}
    window = {"kind": "period", "past": "1d", "future": "1h", "length": 8}
    experiment = test_embed.write_experiment(tmp_path / "users.yaml", log, columns, window=window)
    assert cli.execute(["embed", base, "-o", str(tmp_path / "o.parquet"), "--experiment", experiment]) != 0
    assert message in capsys.readouterr().err


def test_a_request_may_lack_attributes_and_not_have_others_in_their_place(served):
    path, *_ = served
    takes = objectives.signatures_of(path)["embed"].inputs
    event = {"item_id": "i1", "scene": "home", "timestamp": 5}
    made = requests.of_histories(
        takes, [[event, {**event, "context_price": 2}], [{**event, "item_brand": 7}]]
    )
    assert made["history_context_price"].dtype == np.float32
    assert made["history_context_price"][0, 1] == 2 and math.isnan(made["history_context_price"][1, 1])
    assert np.isnan(made["history_context_price"]).sum() == 3
    assert made["history_item_brand"].tolist() == [["", ""], ["7", ""]]
    assert made[names.HISTORY_ITEM_ID].tolist() == [["i1", "i1"], ["i1", ""]]
    # A log may have behaviours which this model does not read.
    requests.of_histories(takes, [[{**event, "behavior": "view"}]])
    with pytest.raises(
        ValueError,
        match="^history 0, event 1: unknown 'prize'; the model takes context_price, item_brand, item_id, scene, timestamp of",
    ):
        requests.of_histories(takes, [[event, {**event, "prize": 3}]])
    with pytest.raises(ValueError, match="history 0, event 0: context_price is a number, found 'cheap'"):
        requests.of_histories(takes, [[{**event, "context_price": "cheap"}]])
