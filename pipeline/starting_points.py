"""What a first experiment on next items trains: rules on the numbers of a log, each with its reason.

`footfall data describe` writes it into the experiment that it suggests. A rule names what was measured for
it: the tables are in benchmarks/README.md, and `python -m benchmarks.suggested` measures the whole anew.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

# Events per item below which a log is sparse. Measured: 11 (MovieTweetings) and 16 (Amazon Beauty) are, 135
# (MovieLens-1M) is not; where between them the line is was not.
SPARSE = 30
# Items from which scores of all of them are too much work for a step: at 12,000 they are nine tenths of it.
MANY_ITEMS = 5_000
# Users below which batches of 64 make too few steps.
FEW_USERS = 2_500
# Events from which a pass takes minutes rather than seconds.
MANY_EVENTS = 2_000_000
# The windows to choose from. Short ones share batches with short ones, so that a long window costs only where
# histories are long.
_LENGTHS = (50, 100, 200)
_WARMUP_STEPS = 100
# Ranking the whole catalogue for each user takes about as long as an epoch does.
_EVALUATE_EVERY = 4


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What the rules go by.

    Attributes:
      users, items, events: how many the log has.
      long_history: events of a user that 95 % of the users do not exceed.
    """

    users: int
    items: int
    events: int
    long_history: float

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> "Numbers":
        """Those of a log that `describe` has seen."""
        history = description["history"]
        return cls(description["users"], description["items"], description["events"], history.get("p95", 0))

    @property
    def events_per_item(self) -> float:
        """How much there is to learn an item from."""
        return self.events / max(1, self.items)


@dataclasses.dataclass(frozen=True)
class Rule:
    """Settings for the logs that a condition holds for; those of later rules take the place of earlier ones.

    Attributes:
      holds: the condition.
      settings: parts of an experiment; a part with a `name` of its own replaces the part before it.
      reason: for the user, a sentence; empty where there is nothing to tell.
      measured: what it rests on.
    """

    holds: Callable[[Numbers], bool]
    settings: Mapping[str, Mapping[str, Any]]
    reason: str
    measured: str


RULES: tuple[Rule, ...] = (
    Rule(
        holds=lambda log: True,
        settings={
            "model": {"name": "sasrec", "dim": 128, "blocks": 2, "heads": 2, "dropout": 0.2},
            "loss": {"name": "softmax"},
            # With a falling rate the best epoch is a late one: patience as large as the epochs.
            "training": {"epochs": 40, "batch_size": 64, "learning_rate": 0.002, "schedule": "cosine"},
        },
        reason="",
        measured="study ml1m: 128 wide 0.1880 NDCG@10, 64 wide 0.1754, dropout of 0.3 0.1797, BCE 0.1217; on "
        "eval 0.178 after 22 epochs of the falling rate, 0.159 of a constant 0.001",
    ),
    Rule(
        holds=lambda log: log.events_per_item < SPARSE,
        settings={
            "model": {"name": "sasrec", "dim": 64, "blocks": 2, "heads": 2, "dropout": 0.3},
            "training": {"epochs": 20},
        },
        reason="Few events for each item: a narrow model with more dropout, which overfits less.",
        measured="benchmarks.suggested on Amazon Beauty; studies tp-beauty and tp-movietweetings, whose best "
        "epochs are 28 to 40 of 40 and 12 to 20 of 20",
    ),
    Rule(
        holds=lambda log: log.items > MANY_ITEMS,
        settings={"loss": {"name": "sampled_softmax", "negatives": 1024, "shared_negatives": True}},
        reason="Many items: the loss is over the target and 1,024 drawn items, much faster than over all.",
        measured="benchmarks.suggested on Amazon Beauty; A million items: 92,438 targets/s of shared draws, "
        "9,285 of draws for each target",
    ),
    Rule(
        holds=lambda log: log.users < FEW_USERS,
        settings={"training": {"batch_size": 16}},
        reason="Few users: small batches, or an epoch has few steps.",
        measured="study casm-retailrocket (2,174 users); study ml1m: batches of 16 0.174, of 64 0.178 on "
        "eval, so little is lost where they are not needed",
    ),
    Rule(
        holds=lambda log: log.events > MANY_EVENTS,
        settings={"training": {"epochs": 10, "batch_size": 256}},
        reason="Many events: fewer passes and larger batches, so that a first run takes minutes, not hours.",
        measured="for time alone; quality was not measured at this size",
    ),
)


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """What to train.

    Attributes:
      settings: the parts `window`, `model`, `loss` and `training` of an experiment.
      reasons: sentences for the user, of the rules that hold.
    """

    settings: dict[str, dict[str, Any]]
    reasons: tuple[str, ...]


def next_items(log: Numbers) -> StartingPoint:
    """The settings for a log of next items."""
    holding = [rule for rule in RULES if rule.holds(log)]
    settings: dict[str, dict[str, Any]] = {"window": {"kind": "next", "length": window_length(log)}}
    for rule in holding:
        for part, values in rule.settings.items():
            before = {} if "name" in values else settings.get(part, {})
            settings[part] = {**before, **copy.deepcopy(dict(values))}
    training = settings["training"]
    steps = training["epochs"] * -(-log.users // training["batch_size"])
    # A tenth at most: a small log has less than 100 steps in all.
    training["warmup_steps"] = min(_WARMUP_STEPS, steps // 10)
    training["patience"] = training["epochs"]
    training["evaluate_every"] = _EVALUATE_EVERY
    return StartingPoint(settings, tuple(rule.reason for rule in holding if rule.reason))


def window_length(log: Numbers) -> int:
    """The shortest window that holds 95 % of the users' histories whole, or else the longest.

    Measured: study ml1m, windows of the last 200 events alone 0.171, of all events 0.179 on eval.
    """
    return next((length for length in _LENGTHS if length >= log.long_history), _LENGTHS[-1])
