"""What is suggested for the numbers of a log."""

from typing import Any

import pytest
import yaml

from components.behavior_example_gen import describe
from components.behavior_example_gen.windows.next import NextWindow
from pipeline import starting_points, suggest
from trainer import config

# As `describe` counts the shared logs.
BEAUTY = starting_points.Numbers(users=22_363, items=12_101, events=198_502, long_history=21)
MOVIETWEETINGS = starting_points.Numbers(users=21_081, items=12_611, events=141_695, long_history=28)
RETAILROCKET = starting_points.Numbers(users=2_174, items=29_905, events=97_381, long_history=164)
MOVIELENS = starting_points.Numbers(users=6_040, items=3_416, events=999_611, long_history=556)
NEWS = starting_points.Numbers(users=322_897, items=46_033, events=2_988_181, long_history=22)
TINY = starting_points.Numbers(users=9, items=5, events=200, long_history=23)
ALL = (BEAUTY, MOVIETWEETINGS, RETAILROCKET, MOVIELENS, NEWS, TINY)


def _suggested(log: starting_points.Numbers) -> dict[str, dict[str, Any]]:
    return starting_points.next_items(log).settings


def test_numbers_are_those_of_a_description() -> None:
    description = {
        "users": 3,
        "items": 4,
        "events": 60,
        "history": {"p50": 6.0, "p75": 9.0, "p95": 21.0},
        "repeat_share": 0.0,
    }
    found = starting_points.Numbers.of(description)
    assert found == starting_points.Numbers(users=3, items=4, events=60, long_history=21.0)
    assert found.events_per_item == 15
    # A log without events of a user has no percentiles.
    assert starting_points.Numbers.of({**description, "history": {}}).long_history == 0


@pytest.mark.parametrize("log", ALL)
def test_what_is_suggested_loads(log: starting_points.Numbers) -> None:
    settings = _suggested(log)
    NextWindow.from_values(settings["window"])
    config.TrainerSettings.from_values({part: settings[part] for part in ("model", "loss", "training")})


def test_a_sparse_log_gets_a_narrow_model_with_more_dropout() -> None:
    sparse, dense = _suggested(BEAUTY), _suggested(MOVIELENS)
    assert sparse["model"]["dim"] < dense["model"]["dim"]
    assert sparse["model"]["dropout"] > dense["model"]["dropout"]
    # 30 events for each item are where it changes.
    at = starting_points.Numbers(users=10_000, items=1_000, events=30_000, long_history=10)
    below = starting_points.Numbers(users=10_000, items=1_000, events=29_999, long_history=10)
    assert _suggested(at)["model"] == dense["model"]
    assert _suggested(below)["model"] == sparse["model"]


def test_a_large_catalogue_is_sampled_with_shared_negatives() -> None:
    for log in (BEAUTY, MOVIETWEETINGS, RETAILROCKET, NEWS):
        assert _suggested(log)["loss"] == {
            "name": "sampled_softmax",
            "negatives": 1024,
            "shared_negatives": True,
        }
    # A loss of its own replaces that of the rule before, and leaves none of its settings.
    assert _suggested(MOVIELENS)["loss"] == {"name": "softmax"}


def test_windows_hold_nearly_all_histories() -> None:
    assert starting_points.window_length(BEAUTY) == 50
    assert starting_points.window_length(RETAILROCKET) == 200
    assert starting_points.window_length(MOVIELENS) == 200
    lengths = [
        starting_points.window_length(starting_points.Numbers(9, 9, 99, long_history))
        for long_history in (0, 50, 50.5, 100, 101, 10_000)
    ]
    assert lengths == [50, 50, 100, 100, 200, 200]


def test_few_users_get_small_batches_and_many_events_few_epochs() -> None:
    assert _suggested(RETAILROCKET)["training"]["batch_size"] == 16
    assert _suggested(BEAUTY)["training"]["batch_size"] == 64
    assert _suggested(NEWS)["training"]["batch_size"] == 256
    assert _suggested(NEWS)["training"]["epochs"] < _suggested(BEAUTY)["training"]["epochs"]


@pytest.mark.parametrize("log", ALL)
def test_the_rate_falls_to_the_end_and_nothing_stops_it_before(log: starting_points.Numbers) -> None:
    training = _suggested(log)["training"]
    assert training["schedule"] == "cosine" and training["patience"] == training["epochs"]
    # Users are at most as many as windows.
    steps = training["epochs"] * -(-log.users // training["batch_size"])
    assert training["warmup_steps"] <= max(1, steps / 10)


def test_warming_up_is_a_tenth_of_a_short_training() -> None:
    # 9 users are a step of each epoch.
    assert _suggested(TINY)["training"]["warmup_steps"] == _suggested(TINY)["training"]["epochs"] // 10
    assert _suggested(BEAUTY)["training"]["warmup_steps"] == 100


def test_the_user_is_told_of_the_rules_that_hold() -> None:
    found = starting_points.next_items(BEAUTY).reasons
    assert [reason.split(":")[0] for reason in found] == ["Few events for each item", "Many items"]
    assert starting_points.next_items(MOVIELENS).reasons == ()


def test_rules_are_not_changed_by_what_is_made_of_them() -> None:
    _suggested(BEAUTY)["loss"]["negatives"] = 1
    assert _suggested(BEAUTY)["loss"]["negatives"] == 1024


def test_the_suggested_experiment_has_the_settings_and_their_reasons(tmp_path: Any) -> None:
    # 60 users with 6 events each among 40 items: 9 events for each item.
    rows = [f"u{n % 60},i{n * n % 41 % 40},{1_700_000_000 + n}" for n in range(360)]
    (tmp_path / "clicks.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    found = describe.describe(str(tmp_path / "clicks.csv"))
    text = suggest.experiment(found)
    start = starting_points.next_items(starting_points.Numbers.of(found))
    loaded = yaml.safe_load(text)
    assert {part: loaded[part] for part in start.settings} == start.settings
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert {f"# {reason}" for reason in start.reasons} <= set(comments) and start.reasons
    assert any("split: {by: [leave_one_out]}" in line for line in comments)


@pytest.mark.parametrize("rule", starting_points.RULES)
def test_each_rule_says_what_it_rests_on(rule: starting_points.Rule) -> None:
    assert rule.measured
    # It becomes a comment of a YAML file.
    assert "\n" not in rule.reason
