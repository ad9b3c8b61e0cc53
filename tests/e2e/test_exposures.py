"""A whole run on exposures with the real components: gated, pushed, and asked as it was measured.

The run is the example that comes with Footfall, as it is shipped.
"""

import collections
import csv
import json

import numpy as np
import pytest

from components.evaluator import verdict
from pipeline import datasets
from pipeline.cli import parser
from pipeline.comparing import labels, runs
from schemas import names
from serving import client as client_lib
from serving import server as server_lib
from tests.e2e import walk

EXAMPLE = "exposures-example"
STEPS = ["click", "buy"]
HISTORY = 10
TOLERANCE = 1e-6


class Shop:
    """A finished run of the example and the log that it was made from."""

    def __init__(self, folder, log):
        self.folder, self.run_dir = folder, folder / "runs" / EXAMPLE
        self.log = log

    def table(self):
        """What the Trainer's model says of each test exposure: the examples through `evaluate`."""
        (run,) = runs.find_runs(str(self.run_dir))
        return labels.ask(run)

    def exposures(self):
        """By key, each exposure of the log as a client would ask for it: from the log alone, row by row."""
        by_user = collections.defaultdict(list)
        found = {}
        for row in csv.DictReader(self.log.read_text().splitlines()):
            time = 1000 * int(row["timestamp"])
            exposure = {
                "user_id": row["user_id"],
                "item_id": row["item_id"],
                "timestamp": time,
                "user_interest": row["interest"],
                "context_slot": row["slot"],
                "item_category": row["category"],
                "item_price": float(row["price"]) if row["price"] else None,
                "item_tags": [tag for tag in row["tags"].split("|") if tag],
                "history": [event for event in by_user[row["user_id"]] if event["timestamp"] < time][
                    -HISTORY:
                ],
            }
            by_user[row["user_id"]].append({"item_id": row["item_id"], "timestamp": time})
            found[row["user_id"], row["item_id"], time] = exposure
        return found

    def asked(self, table):
        """The exposures of a table's rows."""
        known = self.exposures()
        return [known[key] for key in zip(table[names.USER_ID], table[names.ITEM_ID], table[names.TIMESTAMP])]


@pytest.fixture(scope="module")
def shop(tmp_path_factory, one_device):
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        done = walk.inside(folder, "run", EXAMPLE)
        log = datasets.resolve(datasets.PREFIX + EXAMPLE)
    assert done.returncode == 0, done.stdout
    assert "Blessed by the gate." in done.stdout and "Pushed to " in done.stdout, done.stdout
    return Shop(folder, folder / log)


@pytest.fixture(scope="module")
def table(shop):
    return shop.table()


@pytest.fixture(scope="module")
def server(shop):
    with server_lib.Server(str(shop.run_dir / "serving" / EXAMPLE)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with client_lib.Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60.0) as asking:
        yield asking


def footfall(*arguments):
    """A command in this process, which has TensorFlow already."""
    options = parser.build().parse_args(arguments)
    assert options.run(options) == 0


def test_the_test_split_is_the_end_of_the_log(shop, table):
    rows = list(csv.DictReader(shop.log.read_text().splitlines()))
    last = rows[int(0.9 * len(rows)) :]
    wanted = {(row["user_id"], row["item_id"], 1000 * int(row["timestamp"])): row for row in last}
    keys = list(zip(table[names.USER_ID], table[names.ITEM_ID], table[names.TIMESTAMP]))
    assert len(keys) == len(last) and set(keys) == set(wanted)
    bought = np.array([int(wanted[key]["bought"]) for key in keys])
    clicked = np.array([int(wanted[key]["clicked"]) for key in keys])
    np.testing.assert_array_equal(table["label_buy"], bought)
    # `inconsistent: fill`: what was bought was clicked, whether the log has kept the click or not.
    np.testing.assert_array_equal(table["label_click"], clicked | bought)
    assert (bought & ~clicked & 1).any()


def test_the_pushed_model_answers_from_the_log_what_was_measured_offline(shop, table, client):
    answers = client.predict_exposures(shop.asked(table))
    assert sum(len(exposure["history"]) == HISTORY for exposure in shop.asked(table)) > 100
    for step in STEPS:
        served = np.array([answer[step] for answer in answers])
        np.testing.assert_allclose(served, table[step], rtol=0, atol=TOLERANCE)
        assert served.std() > 0.02


def test_candidates_are_answered_as_the_exposures_they_would_be(shop, table, client):
    rows = table.iloc[[0, len(table) // 2, len(table) - 1]].reset_index(drop=True)
    items = [
        {name: value for name, value in exposure.items() if name.startswith(names.ITEM_PREFIX)}
        for exposure in shop.asked(table.iloc[:20])
    ]
    for number, exposure in enumerate(shop.asked(rows)):
        own = {name: value for name, value in exposure.items() if name.startswith(names.ITEM_PREFIX)}
        user = {name: value for name, value in exposure.items() if name not in own and name != "history"}
        offered = [own, *items]
        answers = client.predict_candidates(user, exposure["history"], offered)
        singly = client.predict_exposures(
            [{**user, **item, "history": exposure["history"]} for item in offered]
        )
        for step in STEPS:
            assert answers[0][step] == pytest.approx(rows[step][number], abs=TOLERANCE)
            np.testing.assert_allclose(
                [answer[step] for answer in answers],
                [answer[step] for answer in singly],
                rtol=0,
                atol=TOLERANCE,
            )


def test_predict_prints_the_same(shop, table, server, tmp_path, capsys):
    asked = shop.asked(table.iloc[:5])
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, asked)))
    address = f"127.0.0.1:{server.grpc_port}"
    footfall("predict", address, "--exposures", str(tmp_path / "asked.jsonl"), "--json")
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    footfall("predict", address, "--exposure", json.dumps(asked[0]), "--json")
    (first,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 5 and first == pytest.approx(printed[0], abs=TOLERANCE)
    for step in STEPS:
        found = [answer[step] for answer in printed]
        np.testing.assert_allclose(found, table[step][:5], rtol=0, atol=TOLERANCE)


def test_the_verdict_is_of_these_probabilities(shop, table):
    """The Evaluator's metrics, from plain NumPy on the probabilities that are served."""
    evaluation = walk.made(shop.run_dir, "Evaluator", "evaluation")[-1]
    blessing = walk.made(shop.run_dir, "Evaluator", "blessing")[-1]
    found = verdict.read(str(evaluation), str(blessing))
    assert found.blessed and list(found.steps) == STEPS
    measured = found.overall.candidate
    for step in STEPS:
        p, label = table[step].to_numpy(np.float64), table[f"label_{step}"].to_numpy()
        positive, negative = p[label == 1], p[label == 0]
        above = (positive[:, np.newaxis] > negative).mean() + 0.5 * (
            positive[:, np.newaxis] == negative
        ).mean()
        loss = -np.mean(np.where(label == 1, np.log(p), np.log1p(-p)))
        # The Evaluator's scores tie within a cell: about 1e-4, see `components.evaluator.conversion_sums`.
        assert measured[f"auc/{step}"].value == pytest.approx(above, abs=5e-4)
        assert measured[f"log_loss/{step}"].value == pytest.approx(loss, abs=1e-5)
        assert measured[f"calibration/{step}"].value == pytest.approx(p.mean() / label.mean(), abs=1e-4)
        # Half of the negatives were not trained on: the probabilities are corrected for that.
        assert 0.8 < measured[f"calibration/{step}"].value < 1.25
    later = (table["buy"] > table["click"]).mean()
    assert measured["chain_violations"].value == pytest.approx(later, abs=1e-6)


def test_compared_with_itself_nothing_differs(shop, capsys):
    run = str(shop.run_dir)
    footfall("compare", run, run, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["noun"] == "exposures" and found["only_a"] == found["only_b"] == 0
    overall = found["slices"][0]
    assert overall["windows"] == 1200 and not overall["slice"]
    for name in ("auc", "auc/click", "auc/buy", "relaimpr/buy"):
        row = overall["metrics"][name]
        assert row["difference"] == pytest.approx(0.0, abs=1e-12) and row["p"] == 1.0


def test_the_report_has_the_steps(shop):
    report = (shop.run_dir / "report.html").read_text()
    assert "Steps and calibration" in report and "Every window ranks" not in report
    for step in STEPS:
        assert f"Calibration of {step}" in report and f"auc/{step}" in report
