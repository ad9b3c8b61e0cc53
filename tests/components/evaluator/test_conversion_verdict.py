"""The standard Evaluator with conversion models: what is blessed, and the reasons given."""

import numpy as np
import pytest

from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.evaluator import config, sentences, slice_results, spec, verdict
from pipeline.reporting.objectives import labels as report_labels
from schemas import names
from tests.components.evaluator import direct, harness
from tests.components.evaluator import test_conversion as exact

_WINDOW = ExposureWindow(kind="exposure", steps=harness.STEPS)
_EVALUATION = spec.EvaluationSpec(slices=("user_frequency",))


@pytest.fixture(scope="module")
def data():
    return harness.exposures(size=800, users=160)


@pytest.fixture(scope="module")
def examples(data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exposures")
    harness.write_exposures(data, directory)
    return directory


def _judge(
    tmp_path,
    examples,
    candidate,
    baseline=None,
    evaluation=_EVALUATION,
    window=_WINDOW,
    whole=False,
    stub=harness.StepsStub,
    **gate,
):
    """The verdict; of a whole run of the Evaluator, if told, and then without Beam, too."""
    eval_config = config.eval_config(evaluation, spec.GateSpec(**gate), "labels", window)

    def judged(by, folder):
        result = by.evaluate(folder, examples, eval_config, candidate, baseline, stub_class=stub)
        found = verdict.read(result.evaluation_uri, result.blessing_uri)
        assert found.blessed == result.blessed
        return found

    found = judged(direct, tmp_path / "direct")
    if whole:
        run = judged(harness, tmp_path / "whole")
        direct.assert_equal(run, found)
        return run
    return found


def _exact(data, model, step, chosen=slice(None)):
    t = harness.STEPS.index(step)
    labels, scores = data.labels[chosen, t], data.probabilities[model][chosen, t]
    known = labels != names.UNKNOWN_LABEL
    return exact.measured(scores[known], labels[known]), known.sum(), (labels == 1).sum()


def test_a_good_model_is_blessed(tmp_path, examples, data):
    conditions = {"min": {"auc/buy": 0.6}, "max": {"ece/buy": 0.2, "chain_violations": 0.01}}
    found = _judge(tmp_path, examples, "good", whole=True, **conditions)
    assert found.blessed and not found.has_baseline and found.steps == harness.STEPS
    expected, known, positive = _exact(data, "good", "buy")
    overall = found.overall
    assert overall.examples == 800 and overall.labels["buy"] == slice_results.Labels(known, positive)
    auc = overall.candidate["auc/buy"]
    assert (
        f"auc/buy is {auc.value:.4f} [{auc.low:.4f}, {auc.high:.4f}] (asked: at least 0.6)" in found.reasons
    )
    assert "chain_violations is 0.0000 (asked: at most 0.01)" in found.reasons
    assert (
        f"{positive} of the {known} known labels of buy are positive (asked: at least 50 positive and 50 negative "
        "ones)"
    ) in found.reasons
    loss, lift = expected["log_loss"], expected["lift"]
    shown = overall.lift["log_loss/buy"]
    assert (
        f"log_loss/buy is {loss:.4f}, {lift:.4f} below the base rate's {loss + lift:.4f} [{-shown.high:+.4f}, "
        f"{-shown.low:+.4f}] (asked: below with 95 % confidence)"
    ) in found.reasons
    assert len(found.reasons) == 8
    for name in ("auc", "log_loss", "calibration", "positive_rate"):
        estimate = overall.candidate[f"{name}/buy"]
        assert estimate.value == pytest.approx(expected[name], abs=1e-3), name
        assert estimate.low < estimate.value < estimate.high
    assert overall.popularity == {} and set(overall.lift) == {"log_loss/cart", "log_loss/buy"}
    assert not {name for name in overall.candidate if name.startswith(("lift/", "label_count/", "relaimpr/"))}
    tail = data.frequency == names.TAIL
    assert [sentences.slice_name(part.slice) for part in found.slices][1:] == [
        "user_frequency head",
        "user_frequency tail",
    ]
    assert found.slices[2].examples == tail.sum()
    sliced, _, _ = _exact(data, "good", "cart", tail)
    assert found.slices[2].candidate["auc/cart"].value == pytest.approx(sliced["auc"], abs=1e-3)
    curve = overall.curves["buy"]
    assert sum(each.examples for each in curve) == known and len(curve) > 10
    assert sum(each.examples * each.observed.value for each in curve) == pytest.approx(positive)
    assert [each.predicted for each in curve] == sorted(each.predicted for each in curve)
    assert any(each.observed.low is not None for each in curve)


def test_labels_that_are_no_chain(tmp_path, examples):
    """However often one is likelier than the one before; with labels in this order a chain is violated."""
    window = ExposureWindow(kind="exposure", steps=("buy", "cart"), chain=False)
    found = _judge(tmp_path, examples, "good", window=window)
    assert found.blessed and found.steps == ("buy", "cart") and not found.chain
    assert report_labels.metrics(found)[:3] == ["auc", "auc_pr", "log_loss"]
    shown = [
        *report_labels.metrics(found),
        *(c.sentence for c in found.conditions),
        *report_labels.outcome(found, "exposures"),
    ]
    assert not any("chain" in text for text in shown)
    assert all("chain_violations" not in part.candidate for part in found.slices)
    assert [line.partition(":")[0] for line in report_labels.outcome(found, "exposures")] == [
        "auc/buy",
        "auc/cart",
    ]


def test_worse_than_the_base_rate_is_never_blessed(tmp_path, examples, data):
    """However well it ranks: `wild` has an AUC far above chance."""
    found = _judge(tmp_path, examples, "wild", min={"auc": 0.6}, max={"chain_violations": 0.5})
    assert found.blessed is False
    expected, _, _ = _exact(data, "wild", "cart")
    assert expected["auc"] > 0.6 and expected["lift"] < 0
    loss, lift = expected["log_loss"], expected["lift"]
    shown = found.overall.lift["log_loss/cart"]
    assert (
        f"log_loss/cart is {loss:.4f}, {-lift:.4f} above the base rate's {loss + lift:.4f} [{-shown.high:+.4f}, "
        f"{-shown.low:+.4f}] (asked: below with 95 % confidence)"
    ) in found.reasons
    cart, buy = data.probabilities["wild"].astype(np.float32).astype(np.float64).T
    violations = np.mean(buy > cart * (1 + 1e-6))
    share = found.overall.candidate["chain_violations"]
    assert (
        f"chain_violations is {violations:.4f} [{share.low:.4f}, {share.high:.4f}] (asked: at most 0.5)"
    ) in found.reasons
    assert all("auc is" not in reason for reason in found.reasons)
    assert any(
        condition.outcome == "passed" and condition.sentence.startswith("auc is ")
        for condition in found.conditions
    )


@pytest.mark.parametrize("metric, direction", [("auc/cart", "below"), ("log_loss", "above")])
def test_drops_have_the_metrics_direction(tmp_path, examples, data, metric, direction):
    # 49 of the tail's labels of buy are positive.
    gate = {"metric": metric, "max_drop": 0.01, "slices": ("user_frequency",), "min_positives": 40}
    # Of a whole run where lower is better.
    worse = _judge(tmp_path / "worse", examples, "noisy", "good", whole=direction == "above", **gate)
    assert worse.blessed is False and worse.has_baseline
    # The curve is the model's, not what it differs by.
    for step, curve in worse.overall.curves.items():
        _, known, positive = _exact(data, "noisy", step)
        assert sum(each.examples for each in curve) == known
        assert sum(each.examples * each.observed.value for each in curve) == pytest.approx(positive)
    reasons = [reason for reason in worse.reasons if "live model" in reason]
    assert len(reasons) == 3
    change = worse.overall.change[metric]
    assert (
        f"{metric} is {worse.overall.candidate[metric].value:.4f}, {abs(change.value):.4f} {direction} the live "
        f"model's {worse.overall.baseline[metric].value:.4f} [{change.low:+.4f}, {change.high:+.4f}] (asked: at most "
        f"0.01{' and 10 %' if direction == 'below' else ''} {direction}, but for chance at 95 % confidence)"
    ) == reasons[0]
    better = _judge(tmp_path / "better", examples, "good", "noisy", **gate)
    assert better.blessed, better.reasons
    ours, theirs = (getattr(better.overall, side)["auc/cart"].value for side in ("candidate", "baseline"))
    improved = better.overall.improvement["cart"]
    assert improved.value == pytest.approx((ours - 0.5) / (theirs - 0.5) - 1)
    assert 0 < improved.low < improved.value < improved.high


def test_a_step_without_positives_is_not_blessed_and_says_why(tmp_path, data):
    labels = data.labels.copy()
    labels[labels[:, 1] == 1, 1] = 0
    harness.write_exposures(data._replace(labels=labels), tmp_path / "examples")
    found = _judge(
        tmp_path, tmp_path / "examples", "good", "good", slices=("user_frequency",), min_positives=0
    )
    assert found.blessed is False
    why = f"none of the {(labels[:, 1] == 0).sum():,} known labels of buy is positive"
    assert set(found.reasons) == {f"log_loss/buy has no lift: {why}", f"auc has no value: {why}"}
    undecided = [condition.sentence for condition in found.conditions if condition.outcome == "undecided"]
    assert len(undecided) == 4 and all("has no" in text and "decides nothing" in text for text in undecided)
    # What can be measured is.
    assert found.overall.candidate["auc/cart"].value > 0.6 and np.isnan(found.overall.candidate["auc"].value)
    labels[:, 1] = names.UNKNOWN_LABEL
    harness.write_exposures(data._replace(labels=labels), tmp_path / "unknown")
    found = _judge(
        tmp_path / "again",
        tmp_path / "unknown",
        "good",
        min_lift_over_base_rate=None,
        min={"auc/buy": 0},
        min_positives=0,
    )
    assert found.reasons == ("auc/buy has no value: no label of buy is known",)


def test_28_positives_decide_nothing(tmp_path, data):
    """However well the model knows them."""
    labels = data.labels.copy()
    labels[np.flatnonzero(labels[:, 1] == 1)[28:], 1] = 0
    probabilities = {
        "good": np.stack([data.probabilities["good"][:, 0], 0.02 + 0.7 * (labels[:, 1] == 1)], 1)
    }
    harness.write_exposures(data._replace(labels=labels, probabilities=probabilities), tmp_path / "examples")
    found = _judge(tmp_path, tmp_path / "examples", "good", slices=("user_frequency",))
    assert found.overall.candidate["auc/buy"].value == 1 and found.overall.lift["log_loss/buy"].low > 0
    assert found.blessed is False
    known = int((labels[:, 1] != names.UNKNOWN_LABEL).sum())
    assert found.reasons == (
        f"28 of the {known} known labels of buy are positive: too few to decide (asked: at least 50 positive and 50 "
        "negative ones)",
    )
    undecided = [condition.sentence for condition in found.conditions if condition.outcome == "undecided"]
    assert len(undecided) == 2 and all(
        text.startswith("log_loss/buy for user_frequency ") and "too few to decide" in text
        for text in undecided
    )
    found = _judge(tmp_path / "asked", tmp_path / "examples", "good", min_positives=28)
    assert found.blessed


def test_a_small_slice_decides_nothing(tmp_path, examples):
    found = _judge(tmp_path, examples, "good", slices=("user_frequency",), min_slice_examples=10_000)
    assert found.blessed
    undecided = [condition for condition in found.conditions if condition.outcome == "undecided"]
    assert len(undecided) == 4
    assert undecided[0].sentence.startswith("log_loss/buy for user_frequency head decides nothing: ")


def test_a_model_that_is_compared_with_itself_is_no_worse_on_any_slice(tmp_path, examples):
    """As after a run of an unchanged log, whose training is taken from the cache."""
    found = _judge(tmp_path, examples, "good", "good", slices=("user_frequency",))
    changes = [one for one in found.conditions if ", equal to the live model's" in one.sentence]
    assert found.blessed and [one.outcome for one in changes] == 2 * ["passed"]
    assert not any("few users" in one.sentence or "[+0" in one.sentence for one in changes)


def test_a_label_that_one_user_has_shows_no_absence_of_a_drop(tmp_path, data):
    """However many examples they are, and however small the drop; of two users there is an interval."""
    positive = np.flatnonzero(data.labels[:, 1] == 1)
    assert len(positive) >= 50
    few = ", of too few users who have, or lack, one of the labels, to tell it from chance (asked: at most"
    for having in (1, 2):
        users = data.users.copy()
        users[positive] = [f"p{number % having}" for number in range(len(positive))]
        folder = tmp_path / str(having)
        harness.write_exposures(data._replace(users=users), folder / "examples")
        gate = {"metric": "auc", "max_drop": 0.4, "slices": ("user_frequency",), "min_positives": 10}
        found = _judge(folder, folder / "examples", "noisy", "good", **gate)
        changes = [one for one in found.conditions if "live model" in one.sentence]
        assert all((few in one.sentence) == (having == 1) for one in changes)
        assert all((" [-" in one.sentence) == (having == 2) for one in changes)
        assert {(bool(one.slice), one.outcome) for one in changes} == (
            {(False, "failed"), (True, "undecided")} if having == 1 else {(False, "passed"), (True, "passed")}
        )


def test_a_gate_without_conditions_is_open(tmp_path, examples):
    evaluation = spec.EvaluationSpec(slices=(), confidence_intervals=False)
    found = _judge(
        tmp_path,
        examples,
        "wild",
        evaluation=evaluation,
        min_lift_over_base_rate=None,
        max_drop=None,
        min_examples=0,
        min_positives=0,
    )
    assert found.blessed and found.reasons == ()
    assert found.overall.candidate["auc/cart"].low is None


def test_no_exposures(tmp_path, data):
    harness.write_exposures(harness.exposures(size=0, users=1), tmp_path / "examples")
    found = _judge(tmp_path, tmp_path / "examples", "good")
    assert found.blessed is False and found.reasons == ("the test split has no examples",)


def test_one_step(tmp_path, examples):
    """TFMA gives a single output another form."""
    window = ExposureWindow(kind="exposure", steps=("cart",))

    def stub(feature):
        return harness.StepsStub(feature, ("cart",))

    found = _judge(tmp_path, examples, "good", "noisy", window=window, whole=True, stub=stub)
    assert found.blessed and found.steps == ("cart",) and "chain_violations" not in found.overall.candidate
    assert found.overall.candidate["auc"].value == found.overall.candidate["auc/cart"].value
