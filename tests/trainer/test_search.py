"""Ranges, the settings of a point, and the oracles that choose one."""

import json
import re

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from serving import ivf
from trainer import config, search

EXPERIMENT = config.TrainerSettings.from_values({"model": {"name": "sasrec", "dim": 8, "heads": 2}})


def allowed(value):
    return search.Range.from_values(value)


@pytest.mark.parametrize(
    "value,values",
    [
        ([32, 64], (32, 64)),
        ([1, 0.5], (1.0, 0.5)),
        ([True, False], (True, False)),
        ({"low": 16, "high": 128, "step": 2, "log": True}, (16, 32, 64, 128)),
        ({"low": 8, "high": 31, "step": 8}, (8, 16, 24)),
        # In binary, five steps of 0.1 do not make 0.5, and 0.1 + 0.2 is not 0.3.
        ({"low": 0, "high": 0.5, "step": 0.1}, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        ({"low": 0.001, "high": 1, "step": 10, "log": True}, (0.001, 0.01, 0.1, 1.0)),
        ({"low": 0.001, "high": 1, "log": True}, ()),
        ({"low": 1, "high": 9}, ()),
    ],
)
def test_everything_a_range_allows(value, values):
    found = allowed(value)
    assert found.values == values and [type(v) for v in found.values] == [type(v) for v in values]
    # As it stands in a file, whatever way it was written.
    assert search.Range.from_json(found.to_json()) == found
    if isinstance(value, list):
        assert json.loads(found.to_json()) == [*values]


@pytest.mark.parametrize(
    "value,words",
    [
        ([], "choices are numbers, texts or true and false"),
        ([None, 1.0], "choices are numbers, texts or true and false"),
        ([1, "2"], "choices are numbers"),
        ([True, 1], "choices are numbers"),
        ([[1], [2]], "choices are numbers"),
        ([0.1, float("nan")], "choices are numbers"),
        ([1, float("inf")], "choices are numbers"),
        ({"low": 1}, "choices or low and high"),
        ({"low": "1", "high": 2}, 'a range is of numbers, found "1"'),
        ({"low": True, "high": 2}, "a range is of numbers"),
        ({"low": 2, "high": 2}, "a range goes up, found 2 to 2"),
        ({"low": 0, "high": 2, "log": True}, "above 0"),
        ({"low": 1, "high": 2, "step": 0}, "step must be above 0"),
        ({"low": 1, "high": 2, "step": 1, "log": True}, "step must be above 1"),
        ({"choices": [1, 2], "low": 1}, "found both"),
    ],
)
def test_ranges_that_are_none(value, words):
    with pytest.raises(pydantic.ValidationError, match=words):
        allowed(value)


def points(kind, space, trials=40, seed=1):
    """What an oracle proposes that hears that all are equally good."""
    oracle = search.build_oracle(kind, {key: allowed(value) for key, value in space.items()}, trials, seed)
    return [search.plain(oracle.populate_space(str(n))["values"]) for n in range(trials)]


def test_what_is_proposed_is_in_the_range_and_of_its_type():
    space = {
        "model.dim": {"low": 16, "high": 64, "step": 16},
        "model.dropout": {"low": 0, "high": 0.5, "step": 0.1},
        "model.blocks": {"low": 1, "high": 3},
        "training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "training.xla": [True, False],
        "training.mixed_precision": [True],
    }
    found = points("random", space)
    assert {type(point["training.xla"]) for point in found} == {bool}
    assert {point["training.mixed_precision"] for point in found} == {True}
    assert {point["model.dim"] for point in found} == {16, 32, 48, 64}
    assert {point["model.dropout"] for point in found} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    assert {point["model.blocks"] for point in found} == {1, 2, 3}
    rates = sorted(point["training.learning_rate"] for point in found)
    assert rates[0] >= 1e-4 and rates[-1] <= 1e-1
    # Half of them below the geometric mean, give or take three standard deviations.
    assert sum(rate < 10**-2.5 for rate in rates) == pytest.approx(20, abs=3 * 10**0.5)
    for point in found:
        search.merge(EXPERIMENT, point)


def test_values_take_the_place_of_settings_and_say_why_they_cannot():
    found = search.merge(EXPERIMENT, {"model.dim": 32, "training.learning_rate": 0.5})
    assert (found.model.dim, found.model.heads, found.training.learning_rate) == (32, 2, 0.5)
    assert search.merge(EXPERIMENT, {}) == EXPERIMENT
    with pytest.raises(search.ImpossiblePoint) as caught:
        search.merge(EXPERIMENT, {"model.dim": 9})
    assert str(caught.value) == "model: dim must be a multiple of heads (2), found 9"
    with pytest.raises(search.ImpossiblePoint, match="model: dim: Input should be .* integer.*; found 0.5"):
        search.merge(EXPERIMENT, {"model.dim": 0.5})


@pytest.mark.parametrize(
    "parts,point,words",
    [
        (
            {"loss": {"name": "sampled_softmax"}, "training": {"length_buckets": 3}},
            {"loss.negative_sampling": "in_batch"},
            "training.length_buckets: in-batch negatives are those of windows of any length: .*, found 3",
        ),
        (
            {"model": {"name": "contrarec", "contrast": 0}, "loop": {"name": "tp"}},
            {"model.contrast": 0.5},
            "model contrarec needs batches of any users, .*, found tp",
        ),
        (
            {"model": {"name": "casm"}, "loss": {"name": "softmax"}},
            {"model.weighted": "positives"},
            "model.weighted: positives .*",
        ),
    ],
)
def test_values_of_several_parts_that_do_not_go_together_are_an_impossible_point(parts, point, words):
    experiment = config.TrainerSettings.from_values({"model": {"name": "sasrec"}, **parts})
    with pytest.raises(search.ImpossiblePoint) as caught:
        search.merge(experiment, point)
    assert re.fullmatch(words, str(caught.value))


def test_the_budget_of_a_trial_is_no_part_of_its_point():
    tuning = search.TuningSettings.from_values(
        {"space": {"model.dim": [8, 16]}, "training": {"epochs": 3, "max_seconds": 9.5}}
    )
    found = tuning.of_trial(EXPERIMENT, {"model.dim": 16})
    assert (found.model.dim, found.training.epochs, found.training.max_seconds) == (16, 3, 9.5)
    assert found.training.patience == EXPERIMENT.training.patience
    assert search.TuningSettings.from_json(tuning.to_json()) == tuning


@pytest.mark.parametrize(
    "kind,trials,expected", [("grid", None, 6), ("random", None, 20), ("bayesian", 3, 3)]
)
def test_how_many_trials(kind, trials, expected):
    space = {"model.dim": [8, 16, 32], "model.dropout": {"low": 0.1, "high": 0.2, "step": 0.1}}
    tuning = search.TuningSettings.from_values({"search": kind, "trials": trials, "space": space})
    assert tuning.oracle(seed=1).max_trials == expected


def test_the_largest_seed_is_one_that_all_who_draw_by_it_take():
    largest = 2**32 - 2
    found = search.merge(EXPERIMENT, {"training.seed": largest}).training.seed
    assert found == largest
    with pytest.raises(search.ImpossiblePoint, match="training: seed: .* less than or equal to 4294967294"):
        search.merge(EXPERIMENT, {"training.seed": largest + 1})
    for kind in (search.RANDOM, search.BAYESIAN):
        assert len(points(kind, {"model.dim": [8, 16, 32]}, trials=2, seed=largest)) == 2
    tf.keras.utils.set_random_seed(largest)
    vectors = np.random.default_rng(0).normal(size=[20, 3])
    assert len(ivf.divide(vectors, 4, largest).rows) >= 4
