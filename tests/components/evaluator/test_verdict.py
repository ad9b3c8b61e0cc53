"""The standard Evaluator with our metrics and gate: what is blessed, and the reasons given."""

import json

import numpy as np
import pytest
from scipy import stats
from tensorflow_model_analysis.proto import config_pb2

from components.behavior_example_gen.windows.next import NextWindow
from components.evaluator import config, sentences, slice_results, spec, verdict
from schemas import names
from tests.components.evaluator import direct, harness

_EVALUATION = spec.EvaluationSpec(cutoffs=(10,), slices=("user_frequency",))


@pytest.fixture(scope="module")
def data():
    return harness.windows(size=400, users=80, better=0.7)


@pytest.fixture(scope="module")
def examples(data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("examples")
    harness.write_examples(data, directory)
    return directory


def _judge(tmp_path, examples, candidate, baseline=None, evaluation=_EVALUATION, whole=False, **gate):
    """The verdict; of a whole run of the Evaluator, if told, and then without Beam, too."""
    eval_config = config.eval_config(evaluation, spec.GateSpec(**gate), "ranking", NextWindow())
    found = _read(direct.evaluate(tmp_path / "direct", examples, eval_config, candidate, baseline))
    if whole:
        run = _read(harness.evaluate(tmp_path / "whole", examples, eval_config, candidate, baseline))
        direct.assert_equal(run, found)
        return run
    return found


def _read(result):
    found = verdict.read(result.evaluation_uri, result.blessing_uri)
    assert found.blessed == result.blessed
    return found


def _ndcg(ranks):
    return float(np.mean(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)))


def _interval(estimate):
    """Of a difference, as sentences give it."""
    return f"[{estimate.low:+.4f}, {estimate.high:+.4f}]"


def test_better_than_popularity_is_blessed(tmp_path, examples, data):
    found = _judge(tmp_path, examples, "good", whole=True, min={"ndcg@10": 0.05})
    assert found.blessed and not found.has_baseline
    good, popularity = _ndcg(data.ranks["good"]), _ndcg(data.popularity)
    own, lift = found.overall.candidate["ndcg@10"], found.overall.lift["ndcg@10"]
    assert found.reasons == (
        "400 test examples (asked: at least 100)",
        f"ndcg@10 is {good:.4f}, {good - popularity:.4f} above popularity's {popularity:.4f} {_interval(lift)} "
        "(asked: above with 95 % confidence)",
        f"ndcg@10 is {good:.4f} [{own.low:.4f}, {own.high:.4f}] (asked: at least 0.05)",
    )
    assert 0 < lift.low < good - popularity < lift.high
    assert found.overall.examples == 400
    estimate = found.overall.candidate["ndcg@10"]
    assert estimate.value == pytest.approx(good)
    assert estimate.low < estimate.value < estimate.high
    assert found.overall.popularity["ndcg@10"].value == pytest.approx(popularity)
    assert found.overall.baseline is None and found.overall.change is None
    assert [sentences.slice_name(result.slice) for result in found.slices] == [
        "all",
        "user_frequency head",
        "user_frequency tail",
    ]
    tail = data.frequency == names.TAIL
    assert found.slices[2].examples == tail.sum()
    assert found.slices[2].candidate["ndcg@10"].value == pytest.approx(_ndcg(data.ranks["good"][tail]))


def test_random_ranks_are_not_blessed(tmp_path, examples, data):
    found = _judge(tmp_path, examples, "random", min={"hr@10": 0.5})
    assert found.blessed is False
    random, popularity = _ndcg(data.ranks["random"]), _ndcg(data.popularity)
    hits = np.mean(data.ranks["random"] <= 10)
    own, lift = found.overall.candidate["hr@10"], found.overall.lift["ndcg@10"]
    assert set(found.reasons) == {
        f"hr@10 is {hits:.4f} [{own.low:.4f}, {own.high:.4f}] (asked: at least 0.5)",
        f"ndcg@10 is {random:.4f}, {popularity - random:.4f} below popularity's {popularity:.4f} "
        f"{_interval(lift)} (asked: above with 95 % confidence)",
    }


def test_worse_than_the_last_blessed_model(tmp_path, examples, data):
    found = _judge(tmp_path, examples, "worse", "good", whole=True, min_lift_over_floor=None, max_drop=0.01)
    assert found.blessed is False and found.has_baseline
    worse, good = _ndcg(data.ranks["worse"]), _ndcg(data.ranks["good"])
    change = found.overall.change["ndcg@10"]
    assert found.reasons == (
        f"ndcg@10 is {worse:.4f}, {good - worse:.4f} below the live model's {good:.4f} "
        f"{_interval(change)} (asked: at most 0.01 and 10 % below, but for chance at 95 % confidence)",
    )
    assert found.overall.baseline["ndcg@10"].value == pytest.approx(good)
    assert change.value == pytest.approx(worse - good) and change.low < change.value < change.high < 0


def test_within_the_margin_of_the_last_blessed_model(tmp_path, examples, data):
    drop = _ndcg(data.ranks["good"]) - _ndcg(data.ranks["close"])
    assert drop > 0
    found = _judge(tmp_path, examples, "close", "good", max_drop=drop + 0.001, slices=("user_frequency",))
    assert found.blessed, found.reasons
    assert len(found.conditions) == 7 and all(condition.outcome == "passed" for condition in found.conditions)


def _sampled_ndcg(ranks, candidates, negatives):
    chances = [stats.hypergeom.pmf(x, candidates - 1, ranks - 1, negatives) for x in range(10)]
    return float(np.mean(np.sum([p / np.log2(2 + x) for x, p in enumerate(chances)], axis=0)))


def test_sampled_metrics_stand_beside_the_full_ones(tmp_path, examples, data):
    evaluation = spec.EvaluationSpec(cutoffs=(10,), slices=("user_frequency",), sampled_negatives=99)
    found = _judge(
        tmp_path, examples, "good", "worse", evaluation=evaluation, min={"sampled99_ndcg@10": 0.999}
    )
    name = "sampled99_ndcg@10"
    expected = _sampled_ndcg(data.ranks["good"], data.candidates, 99)
    estimate = found.overall.candidate[name]
    assert estimate.value == pytest.approx(expected) and estimate.low < expected < estimate.high
    of_popularity = _sampled_ndcg(data.popularity, data.candidates, 99)
    assert found.overall.popularity[name].value == pytest.approx(of_popularity)
    assert found.overall.lift[name].value == pytest.approx(expected - of_popularity)
    # "worse" ranks as popularity does.
    assert found.overall.change[name].value == pytest.approx(expected - of_popularity)
    tail = data.frequency == names.TAIL
    assert found.slices[2].candidate[name].value == pytest.approx(
        _sampled_ndcg(data.ranks["good"][tail], data.candidates[tail], 99)
    )
    assert found.overall.candidate["ndcg@10"].value == pytest.approx(_ndcg(data.ranks["good"]))
    assert found.blessed is False
    low, high = estimate.low, estimate.high
    assert found.reasons == (f"{name} is {expected:.4f} [{low:.4f}, {high:.4f}] (asked: at least 0.999)",)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Windows where the model is good, except for the 40 of tail users."""
    data = harness.windows(size=400, users=80, better=0.9)
    tail = np.arange(400) < 40
    data.frequency[:] = np.where(tail, names.TAIL, names.HEAD)
    data.ranks["good"][tail] = 1000
    # Every second one is a hit of popularity's.
    data.popularity[tail] = np.where(np.arange(40) % 2, 1, 100)
    directory = tmp_path_factory.mktemp("uneven")
    harness.write_examples(data, directory)
    return directory


def test_a_bad_slice_blocks(tmp_path, uneven):
    found = _judge(tmp_path, uneven, "good", slices=("user_frequency",), min_slice_examples=40)
    assert found.blessed is False
    (reason,) = found.reasons
    tail = next(result for result in found.slices if result.slice == (("user_frequency", "tail"),))
    assert reason == (
        "ndcg@10 for user_frequency tail is 0.0000, without a single hit: no lift over popularity's 0.5000 (asked: "
        "not below, but for chance at 95 % confidence)"
    )
    assert tail.lift["ndcg@10"].high < 0
    # That none of 40 examples is a hit does not show that none ever is: no interval.
    assert (tail.candidate["ndcg@10"].value, tail.candidate["ndcg@10"].low) == (0.0, None)
    assert {condition.slice for condition in found.conditions if condition.outcome == "passed"} == {
        (),
        (("user_frequency", "head"),),
    }


def test_a_small_slice_decides_nothing(tmp_path, uneven):
    found = _judge(tmp_path, uneven, "good", "good", slices=("user_frequency",), min_slice_examples=41)
    assert found.blessed
    undecided = [condition for condition in found.conditions if condition.outcome == "undecided"]
    assert {condition.slice for condition in undecided} == {(("user_frequency", "tail"),)}
    assert undecided[0].sentence == (
        "ndcg@10 for user_frequency tail decides nothing: 40 examples (asked: at least 41)"
    )


@pytest.fixture(scope="module")
def lonely(tmp_path_factory):
    """Of 400 windows 60 are of one tail user, where `good` is worse than `close`; nobody hits those of new users."""
    data = harness.windows(size=400, users=80, better=0.9)
    tail, new = np.arange(400) < 60, (np.arange(400) >= 60) & (np.arange(400) < 120)
    data.frequency[:] = np.where(tail, names.TAIL, np.where(new, names.NEW, names.HEAD))
    data.users[tail] = "bot"
    data.ranks["close"][:] = data.ranks["good"]
    data.ranks["good"][tail] = 4
    data.ranks["close"][tail] = 3
    data.popularity[tail] = 5
    for rank in (data.ranks["good"], data.ranks["close"], data.popularity):
        rank[new] = 500
    directory = tmp_path_factory.mktemp("lonely")
    harness.write_examples(data, directory)
    return directory


def test_a_slice_of_one_user_or_without_a_hit_decides_nothing(tmp_path, lonely):
    gate = {"slices": ("user_frequency",), "max_drop": 0.001, "min_lift_over_floor": 0.01}
    found = _judge(tmp_path, lonely, "good", "close", **gate)
    assert found.blessed
    undecided = [condition for condition in found.conditions if condition.outcome == "undecided"]
    assert [
        condition.sentence for condition in undecided if condition.slice == (("user_frequency", "tail"),)
    ] == [
        "ndcg@10 for user_frequency tail is 0.4307, 0.0438 above popularity's 0.3869, of too few users to tell it from "
        "chance (asked: at least 0.01 above, but for chance at 95 % confidence)",
        "ndcg@10 for user_frequency tail is 0.4307, 0.0693 below the live model's 0.5000, of too few users to tell it from "
        "chance (asked: at most 0.001 and 10 % below, but for chance at 95 % confidence)",
    ]
    without = [one for one in found.conditions if one.slice == (("user_frequency", "new"),)]
    assert [one.outcome for one in without] == ["passed", "undecided"]
    assert without[1].sentence == (
        "ndcg@10 for user_frequency new is 0.0000, as is popularity's 0.0000: without a hit it decides nothing (asked: at "
        "least 0.01 above, but for chance at 95 % confidence)"
    )


def test_a_gate_without_conditions_is_open(tmp_path, examples):
    evaluation = spec.EvaluationSpec(cutoffs=(10,), slices=(), confidence_intervals=False)
    found = _judge(
        tmp_path,
        examples,
        "random",
        evaluation=evaluation,
        min_lift_over_floor=None,
        max_drop=None,
        min_examples=0,
    )
    assert found.blessed and found.reasons == ()
    assert found.overall.candidate["mrr"].low is None


def test_no_examples(tmp_path, data):
    harness.write_examples(harness.windows(size=0, users=1, better=0.5), tmp_path / "examples")
    found = _judge(tmp_path, tmp_path / "examples", "good", whole=True)
    assert found.blessed is False
    assert found.reasons == ("the test split has no examples",)
    assert found.overall is None


@pytest.fixture(scope="module")
def useless(tmp_path_factory):
    """48 windows whose targets are all outside the catalogue: neither model nor popularity has any."""
    data = harness.windows(size=48, users=48, better=0.7)
    beyond = np.full(48, harness.CATALOGUE + 1)
    data = data._replace(popularity=beyond, ranks={"good": beyond, "worse": beyond})
    directory = tmp_path_factory.mktemp("useless")
    harness.write_examples(data, directory)
    return directory


@pytest.mark.parametrize("gate", [{}, {"confidence": 0, "min_examples": 0}, {"min_lift_over_floor": -0.01}])
def test_nothing_against_nothing_is_never_blessed(tmp_path, useless, gate):
    found = _judge(tmp_path, useless, "good", **gate)
    assert found.blessed is False
    assert any(
        reason.startswith("ndcg@10 is 0.0000, without a single hit: no lift over popularity's 0.0000")
        for reason in found.reasons
    )
    few = "48 test examples are too few to decide (asked: at least 100)"
    assert (few in found.reasons) == ("min_examples" not in gate)
    assert found.overall.unreachable == {"catalogue": 1.0, "seen": 0.0}
    assert found.notes == (
        "100.0% of the test targets cannot be recommended and are misses: 100.0% are of items that are no target "
        "in training",
    )


@pytest.fixture(scope="module")
def slight(tmp_path_factory):
    """200 windows, 20 of which popularity hits; `good` 24 of others, `close` 23 of these."""
    data = harness.windows(size=200, users=200, better=0.7)
    place = np.arange(200)
    ranks = {"good": np.where((place >= 50) & (place < 74), 1, 500)}
    ranks["close"] = np.where((place >= 50) & (place < 73), 1, 500)
    ranks["far"] = np.where((place >= 50) & (place < 60), 1, 500)
    ranks["missed"] = np.full(200, 500)
    data = data._replace(
        users=np.array([f"u{i}" for i in place]), popularity=np.where(place < 20, 1, 500), ranks=ranks
    )
    directory = tmp_path_factory.mktemp("slight")
    harness.write_examples(data, directory)
    return directory


def test_a_lift_within_its_interval_is_none(tmp_path, slight):
    found = _judge(tmp_path / "sure", slight, "good", slices=("user_frequency",))
    assert found.blessed is False
    lift = found.overall.lift["ndcg@10"]
    assert lift.low < 0 < lift.value == pytest.approx(0.02)
    assert found.reasons == (
        f"ndcg@10 is 0.1200, 0.0200 above popularity's 0.1000, which may be chance {_interval(lift)} (asked: above "
        "with 95 % confidence)",
    )
    # A slice need not show it.
    undecided = [condition for condition in found.conditions if condition.outcome == "undecided"]
    assert {condition.slice for condition in undecided} == {
        (("user_frequency", "head"),),
        (("user_frequency", "tail"),),
    }
    assert all("which may be chance" in condition.sentence for condition in undecided)
    # By the estimate it is one.
    found = _judge(tmp_path / "unsure", slight, "good", confidence=None)
    assert found.blessed
    assert found.reasons[1] == "ndcg@10 is 0.1200, 0.0200 above popularity's 0.1000 (asked: above)"


def test_a_drop_within_its_interval_is_none(tmp_path, slight):
    gate = {"min_lift_over_floor": None, "max_drop": 0.001}
    found = _judge(tmp_path / "near", slight, "close", "good", **gate)
    change = found.overall.change["ndcg@10"]
    assert change.value == pytest.approx(-0.005) and change.low < change.value < 0 < change.high
    assert found.blessed and found.reasons[1] == (
        f"ndcg@10 is 0.1150, 0.0050 below the live model's 0.1200, which may be chance {_interval(change)} "
        "(asked: at most 0.001 and 10 % below, but for chance at 95 % confidence)"
    )
    assert _judge(tmp_path / "unsure", slight, "close", "good", confidence=0, **gate).blessed is False
    far = _judge(tmp_path / "far", slight, "far", "good", **gate)
    assert far.blessed is False and far.overall.change["ndcg@10"].high < 0


def test_a_share_of_the_live_models_metric_may_not_be_lost_either(tmp_path, slight):
    """Half of a small metric is little; a live model without a hit has nothing to lose."""
    gate = {"min_lift_over_floor": None, "max_drop": 0.5, "slices": ("user_frequency",)}
    found = _judge(tmp_path / "far", slight, "far", "good", **gate)
    change, live = found.overall.change["ndcg@10"], found.overall.baseline["ndcg@10"].value
    assert change.high < 0 and -change.value / live == pytest.approx(1 - 10 / 24)
    assert found.blessed is False and found.reasons[0] == (
        f"ndcg@10 is 0.0500, 0.0700 below the live model's 0.1200 {_interval(change)} (asked: at most 0.5 and 10 % below, "
        "but for chance at 95 % confidence)"
    )
    for name, share in (("none", None), ("most", 0.6)):
        assert _judge(tmp_path / name, slight, "far", "good", **gate, max_relative_drop=share).blessed
    assert _judge(tmp_path / "less", slight, "far", "good", **gate, max_relative_drop=0.58).blessed is False
    # What may be chance is no loss.
    assert _judge(tmp_path / "close", slight, "close", "good", **gate, max_relative_drop=0.01).blessed
    missed = _judge(tmp_path / "missed", slight, "good", "missed", **gate)
    assert missed.overall.baseline["ndcg@10"].value == 0 and missed.blessed
    assert _judge(tmp_path / "both", slight, "missed", "missed", **gate).blessed


def test_tfma_intervals_agree_with_ours(tmp_path):
    """With one example per user both leave out, or resample, the same things."""
    data = harness.windows(size=200, users=1, better=0.7)
    data = data._replace(users=np.array([f"u{i}" for i in range(200)]))
    harness.write_examples(data, tmp_path / "examples")
    ours = _judge(tmp_path / "ours", tmp_path / "examples", "good", "worse", slices=("user_frequency",))
    evaluation = spec.EvaluationSpec(cutoffs=(10,), slices=(), confidence_intervals=False)
    # The gate's own intervals are resamples, too.
    eval_config = config.eval_config(evaluation, spec.GateSpec(confidence=None), "ranking", NextWindow())
    eval_config.options.compute_confidence_intervals.value = True
    eval_config.options.confidence_intervals.method = (
        config_pb2.ConfidenceIntervalOptions.ConfidenceIntervalMethod.Value("JACKKNIFE")
    )
    result = harness.evaluate(tmp_path / "theirs", tmp_path / "examples", eval_config, "good", "worse")
    theirs = _read(result)
    assert theirs.blessed and ours.blessed
    for part in ("candidate", "popularity", "baseline", "lift", "change"):
        one, other = getattr(ours.overall, part)["ndcg@10"], getattr(theirs.overall, part)["ndcg@10"]
        assert one.value == pytest.approx(other.value, abs=1e-9)
        # Theirs leaves out one of 20 groups at a time: its width has a standard deviation of a sixth.
        assert 0.5 < (one.high - one.low) / (other.high - other.low) < 2.0


def _as_before(eval_config):
    """The configuration as it was while the gate went by estimates and popularity was the only floor."""
    (metrics_spec,) = eval_config.metrics_specs
    settings = json.loads(metrics_spec.metrics[0].config)
    for name in ("confidence", "floors"):
        del settings[name]
    metrics_spec.metrics[0].config = json.dumps(settings)
    names_before = {
        "example_count": "example_count",
        "gate/lift/ndcg@10": "lift/ndcg@10",
        "gate/ndcg@10": "ndcg@10",
        "slice/lift/ndcg@10": "gate/lift/ndcg@10",
        "slice/ndcg@10": "gate/ndcg@10",
    }
    thresholds = {old: metrics_spec.per_slice_thresholds[new] for new, old in names_before.items()}
    kept = {old: type(found).FromString(found.SerializeToString()) for old, found in thresholds.items()}
    metrics_spec.per_slice_thresholds.clear()
    for name, found in kept.items():
        metrics_spec.per_slice_thresholds[name].CopyFrom(found)
    for name in ("example_count", "lift/ndcg@10"):
        kept_threshold = metrics_spec.per_slice_thresholds[name].thresholds[0].threshold
        kept_threshold.value_threshold.lower_bound.value = 0
    return eval_config


def test_evaluations_of_before_are_read_as_they_were_decided(tmp_path, slight):
    gate = spec.GateSpec(slices=("user_frequency",), max_drop=0.001, max_relative_drop=None)
    eval_config = _as_before(config.eval_config(_EVALUATION, gate, "ranking", NextWindow()))
    found = _read(direct.evaluate(tmp_path, slight, eval_config, "close", "good"))
    assert found.blessed is False and set(found.overall.floors) == {"popularity"}
    assert found.reasons[0] == (
        "ndcg@10 is 0.1150, 0.0050 below the live model's 0.1200 (asked: at most 0.001 below)"
    )
    passed = [condition.sentence for condition in found.conditions if condition.outcome == "passed"]
    assert passed[0] == "ndcg@10 is 0.1150, 0.0150 above popularity's 0.1000 (asked: not below)"


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no evaluation at"):
        verdict.read(str(tmp_path))


def test_slices_are_in_natural_order():
    values = ["1-4", "10-19", "20-49", "5-9", "50+"]
    assert sorted(values, key=slice_results.value_order) == ["1-4", "5-9", "10-19", "20-49", "50+"]
    assert sorted(["high", "low", "medium"], key=slice_results.value_order) == ["low", "medium", "high"]
