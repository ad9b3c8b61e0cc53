"""What is suggested beside what was: windows without a pipeline around them, floors and what is kept."""

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import next_windows, suggested
from components.behavior_example_gen import spec
from components.behavior_example_gen.windows.next import NextWindow
from schemas import names

# Items by their row in the catalogue, as features hold them.
A, B, C, D = range(names.FIRST_INDEX, names.FIRST_INDEX + 4)
OOV, PADDING = names.OOV_INDEX, names.PADDING_INDEX


def _windows(history: list[list[int]], target: list[int], seen: list[list[int]]) -> next_windows.Windows:
    test = {
        names.HISTORY_ITEM_INDEX: np.array(history),
        names.TARGET_ITEM_INDEX: np.array(target),
        names.SEEN_ITEM_INDEX: tf.sparse.from_dense(np.array(seen)),
    }
    counts, recent = np.array([4, 3, 2, 1]), np.array([1, 0, 1, 1])
    return next_windows.Windows({names.TEST: test}, {}, counts, np.array(history).shape[1], recent)


def test_windows_are_those_of_the_log(tmp_path: Any) -> None:
    # u1: a b c d, u2: c b a, in this order; of each the last event is for test and the one before for eval.
    events = [("u1", "a"), ("u2", "c"), ("u1", "b"), ("u2", "b"), ("u1", "c"), ("u2", "a"), ("u1", "d")]
    lines = [f"{user},{item},{1_700_000_000 + n}" for n, (user, item) in enumerate(events)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    table = next_windows.read(spec.LogSpec(path=str(tmp_path / "log.csv")))
    found = next_windows.cut(table, NextWindow(length=3), spec.SplitSpec(by=("leave_one_out",)))
    # u1 trains on a, b, u2 on c alone: a window without a history has none to learn from. b is the one
    # target that has a history.
    train, test = found.features[names.TRAIN], found.features[names.TEST]
    assert found.counts.tolist() == [1]
    assert train[names.HISTORY_ITEM_INDEX].tolist() == [[PADDING, PADDING, OOV]]
    assert train[names.TARGET_ITEM_INDEX].tolist() == [A]
    assert sorted(test[names.HISTORY_ITEM_INDEX].tolist()) == [[PADDING, OOV, A], [OOV, A, OOV]]
    assert test[names.TARGET_ITEM_INDEX].tolist() == [OOV, OOV]
    assert sorted(found.users[names.TEST].tolist()) == [0, 1]
    seen = tf.sparse.to_dense(test[names.SEEN_ITEM_INDEX]).numpy()
    assert sorted(sorted(row.tolist()) for row in seen) == [[0, OOV, A], [OOV, OOV, A]]


def test_popularity_ranks_without_what_was_seen() -> None:
    found = _windows([[A, B]] * 4, [C, D, A, OOV], [[A, B], [B, OOV], [A, B], [A, B]])
    # C is third, first without A and B; D fourth, third without B; A was seen.
    assert next_windows.popular_ranks(found, exclude_seen=True).tolist() == [1, 3, 0, 0]
    assert next_windows.popular_ranks(found, exclude_seen=False).tolist() == [3, 4, 1, 0]


def test_recent_popularity_ranks_equal_counts_by_all_time_popularity() -> None:
    found = _windows([[A, B]] * 4, [C, D, B, OOV], [[A, OOV], [B, OOV], [A, D], [A, B]])
    # The list is A C D, and then B.
    assert next_windows.recent_ranks(found, exclude_seen=False).tolist() == [2, 3, 4, 0]
    assert next_windows.recent_ranks(found, exclude_seen=True).tolist() == [1, 3, 2, 0]


def test_windows_of_a_split_by_time(tmp_path: Any) -> None:
    # A new item each day: what is learnt until day 16 is a target once, and the last tenth of 15 targets is one.
    lines = [f"u,i{day},{1_700_000_000 + 86_400 * day}" for day in range(20)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    table = next_windows.read(spec.LogSpec(path=str(tmp_path / "log.csv")))
    found = next_windows.cut(table, NextWindow(), spec.SplitSpec(by=("time",)))
    assert found.counts.tolist() == [1] * 15 and sorted(found.recent) == [0] * 14 + [1]
    assert [len(found.users[name]) for name in names.SPLITS] == [1, 2, 2]


def test_recent_counts_are_those_of_the_last_training_targets(tmp_path: Any) -> None:
    # u trains on a b c b d b, of which all but a are targets: the latest two are d and b.
    lines = [f"u,{item},{1_700_000_000 + n}" for n, item in enumerate("abcbdbxy")]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    table = next_windows.read(spec.LogSpec(path=str(tmp_path / "log.csv")))
    for length in (1, 2, 3, 9):
        window = NextWindow(length=length, recent_share=0.4)
        found = next_windows.cut(table, window, spec.SplitSpec(by=("leave_one_out",)))
        assert found.counts.tolist() == [3, 1, 1]
        # Of c and d, which are equally frequent, the order is that of the windows.
        assert found.recent[0] == 1 and sorted(found.recent[1:]) == [0, 1]


def test_own_items_rank_by_count_and_by_recency() -> None:
    history = [[A, A, B, C], [PADDING, B, A, B], [A, B, OOV, A], [PADDING, PADDING, PADDING, A]]
    found = _windows(history, [A, A, B, C], [[A]] * 4)
    frequent, recent = next_windows.own_ranks(found)
    # Of A A B C, A is the most frequent and the least recent; of B A B, A is second by both; of A B ? A,
    # where an unknown item cannot be recommended, B is second; C is not among A.
    assert frequent.tolist() == [1, 2, 2, 0]
    assert recent.tolist() == [3, 2, 2, 0]


def test_equal_counts_rank_the_later_first() -> None:
    frequent, _ = next_windows.own_ranks(_windows([[A, B, C, D]], [B], [[A]]))
    assert frequent.tolist() == [3]


def test_values_of_ranks() -> None:
    values = suggested._values(np.array([1, 3, 10, 11, 0]))
    assert values[:, 0].tolist() == [1, 1, 1, 0, 0]
    np.testing.assert_allclose(values[:, 1], [1, 0.5, 1 / np.log2(11), 0, 0])


def _run(seed: int, hr: float) -> dict[str, Any]:
    return {
        "seed": seed,
        "on_test": [[hr, 0.01], [hr / 2, 0.005]],
        "floors": {"popularity": [[0.1, 0.01], [0.05, 0.005]]},
        "epochs": 20,
        "best_epoch": 18,
        "cpu_seconds": 100.4,
    }


def test_what_is_kept_is_of_its_settings(tmp_path: Any) -> None:
    results = suggested.Results(str(tmp_path / "results" / "suggested.json"))
    results.keep("log, time, now", {"dim": 64}, _run(1, 0.2))
    results.keep("log, time, now", {"dim": 64}, _run(2, 0.3))
    again = suggested.Results(str(tmp_path / "results" / "suggested.json"))
    assert [run["seed"] for run in again.runs("log, time, now", {"dim": 64})] == [1, 2]
    assert again.runs("log, time, now", {"dim": 128}) == []
    again.keep("log, time, now", {"dim": 128}, _run(1, 0.4))
    assert len(again.points["log, time, now"]["runs"]) == 1


def test_the_table_has_floors_and_intervals() -> None:
    points = {
        "log, time, before": {"settings": {}, "runs": [_run(1, 0.2)]},
        "log, time, now": {"settings": {}, "runs": [_run(1, 0.2), _run(2, 0.3), _run(3, 0.4)]},
    }
    rows = suggested.table(points).splitlines()[2:]
    assert rows[0] == "| log, time | popularity | | | 0.1000 ± 0.0100 | 0.0500 ± 0.0050 | |"
    assert rows[1] == "| log, time | before | 1 | 18 of 20 | 0.2000 ± 0.0100 | 0.1000 ± 0.0050 | 100 |"
    # Student's of two degrees of freedom: 4.303 * 0.1 / sqrt(3).
    best = "18 of 20, 18 of 20, 18 of 20"
    assert rows[2] == f"| log, time | now | 3 | {best} | 0.3000 ± 0.2484 | 0.1500 ± 0.1242 | 100 |"


@pytest.mark.parametrize("option", ["logs", "splits", "suggestions"])
def test_what_there_is_not_is_refused(option: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        suggested.main([f"--{option}", "nothing"])
    assert f"--{option} takes " in capsys.readouterr().err


def test_quick_trains_and_ends_with_json(capsys: pytest.CaptureFixture) -> None:
    # Of both, which it trains otherwise, half of the time.
    suggested.main(["--quick", "--suggestions", "now", "--size", "users=60", "--size", "epochs=1"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures) == {"drawn, leave_one_out, now"}
    found = figures["drawn, leave_one_out, now"]
    assert found["seeds"] == 1 and 0 <= found["ndcg@10"][0] <= found["hr@10"][0] <= 1
