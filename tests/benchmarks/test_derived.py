"""Logs that studies make of others."""

import pandas as pd
import pytest

from benchmarks import derived


def _log(rows: str) -> pd.DataFrame:
    """Rows of user, item, time and behaviour."""
    columns = ["user_id", "item_id", "timestamp", "behavior"]
    found = pd.DataFrame([row.split() for row in rows.strip().splitlines()], columns=columns)
    return found.astype({"timestamp": int})


@pytest.fixture
def made(tmp_path):
    """Makes a log of one with these rows in a data set's folder."""

    def make(name: str, of: str, rows: str) -> pd.DataFrame:
        folder = tmp_path / of
        folder.mkdir(exist_ok=True)
        _log(rows).to_csv(folder / "events.csv.gz", index=False)
        path = derived.LOGS[name](str(tmp_path), str(tmp_path / "made"))
        return pd.read_csv(path, dtype={"user_id": str, "item_id": str})

    return make


def test_a_behavior_that_is_looked_up_by_user_and_item_tells_what_comes_later(made):
    """Of a pair the last one in time counts, wherever its row is; a buy that is asked for stays a buy."""
    found = made(
        "derived:retailrocket-pairs",
        "retailrocket",
        """
        u a 30 buy
        u a 10 view
        u a 20 cart
        u b 11 view
        u b 12 cart
        u b 13 view
        v a 14 view
        v b 15 buy
        v b 16 view
        """,
    )
    assert list(found["behavior"]) == [
        "buy",
        "bought",
        "bought",
        "view",
        "view",
        "view",
        "view",
        # Viewed after it was bought: the pair is told by that view.
        "buy",
        "view",
    ]
    assert list(found["timestamp"]) == [30, 10, 20, 11, 12, 13, 14, 15, 16]


def test_a_shuffled_day_keeps_its_events_and_the_order_of_days(made):
    days = "\n".join(
        f"u i{day}-{place} {day} {behavior}"
        for day in range(3)
        for place, behavior in enumerate(["fav"] * 10 + ["click", "cart"] + ["buy"] * 10)
    )
    found = made("derived:ijcai15-shuffled-days", "ijcai15", days)
    given = _log(days)
    given = given[given["behavior"] != "click"]
    assert list(found["timestamp"]) == list(given["timestamp"])
    key = ["timestamp", "item_id", "behavior"]
    pd.testing.assert_frame_equal(
        found.sort_values(key)[key].reset_index(drop=True), given.sort_values(key)[key].reset_index(drop=True)
    )
    for _, day in found.groupby("timestamp"):
        assert list(day["behavior"]) != ["fav"] * 10 + ["cart"] + ["buy"] * 10
    again = made("derived:ijcai15-shuffled-days", "ijcai15", days)
    pd.testing.assert_frame_equal(found, again)


@pytest.mark.parametrize(
    "name, of, left", [("ijcai15-no-clicks", "ijcai15", "abd"), ("ijcai15-buys", "ijcai15", "d")]
)
def test_events_of_some_behaviors_are_left_out(made, name, of, left):
    rows = "u a 1 fav\nu b 2 cart\nu c 3 click\nu d 4 buy"
    assert "".join(made(f"derived:{name}", of, rows)["item_id"]) == left


def test_a_log_that_is_made_again_is_the_same_file(made, tmp_path):
    """A newer one would be another log to a pipeline."""
    rows = "u a 1 view\nu b 2 buy"
    made("derived:retailrocket-buys", "retailrocket", rows)
    path = tmp_path / "made" / "retailrocket-buys.csv"
    before = path.stat().st_mtime_ns
    made("derived:retailrocket-buys", "retailrocket", rows)
    assert path.stat().st_mtime_ns == before
    made("derived:retailrocket-buys", "retailrocket", f"{rows}\nu c 3 buy")
    assert len(pd.read_csv(path)) == 2
    assert [p.name for p in path.parent.iterdir()] == [path.name]
