"""The TFMA metric of conversion models: against exact values, and what its intervals promise."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from scipy import stats
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import bootstrap, conversion_metrics, conversion_results, conversion_sums
from schemas import names
from tests.components.evaluator import test_conversion as exact

STEPS = ("cart", "buy")


def _config(model_names=("",), baseline=None, steps=STEPS, **settings):
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(name=name, is_baseline=name == baseline) for name in model_names],
        metrics_specs=[
            config_pb2.MetricsSpec(
                model_names=list(model_names),
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="ConversionMetrics",
                        module="components.evaluator.conversion_metrics",
                        config=json.dumps({"steps": list(steps), **settings}),
                    )
                ],
            )
        ],
    )


def _computation(config):
    (computation,) = metric_specs.to_computations(config.metrics_specs, eval_config=config)
    return computation


def _extracts(users, labels, by_model, steps=STEPS):
    """Extracts as TFMA's: `[N, T]` labels, and `[N, T]` probabilities by model."""
    for index, user in enumerate(users):
        outputs = {
            model: {step: np.array([scores[index, t]]) for t, step in enumerate(steps)}
            for model, scores in by_model.items()
        }
        yield {
            tfma.PREDICTIONS_KEY: outputs if len(outputs) > 1 else next(iter(outputs.values())),
            tfma.FEATURES_KEY: {
                names.USER_ID: np.array([user], dtype=object),
                **{names.LABEL_PREFIX + step: np.array([labels[index, t]]) for t, step in enumerate(steps)},
            },
        }


def _run(config, extracts, parts=3):
    """Combines in `parts` accumulators, as workers would."""
    computation = _computation(config)
    combiner = computation.combiner
    accumulators = [combiner.create_accumulator() for _ in range(parts)]
    for index, extract in enumerate(extracts):
        for element in computation.preprocessors[0].process(extract):
            part = index % parts
            accumulators[part] = combiner.add_input(accumulators[part], element)
    accumulators[0] = combiner.compact(accumulators[0])
    result = combiner.extract_output(combiner.merge_accumulators(accumulators))
    return {(key.model_name, key.name, key.is_diff): value for key, value in result.items()}


def _chain(count, seed=0, users=None, noise=1.0):
    """Users, labels and probabilities `[N, 2]` of a chain; what a user is like holds for all examples."""
    rng = np.random.default_rng(seed)
    user = np.arange(count) if users is None else rng.integers(0, users, count)
    taste = rng.normal(0, 1, user.max() + 1)[user]
    logit = -1.5 + 0.8 * rng.normal(0, 1, count) + 0.5 * taste
    cart = 1 / (1 + np.exp(-logit))
    labels = np.zeros((count, 2), np.int64)
    labels[:, 0] = rng.random(count) < cart
    labels[:, 1] = labels[:, 0] * (rng.random(count) < 0.4)
    seen = 1 / (1 + np.exp(-(logit + noise * rng.normal(0, 1, count))))
    return [f"u{u}" for u in user], labels, np.stack([seen, 0.4 * seen], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def chain():
    return _chain(3000)


def test_values_equal_exact_ones(chain):
    users, labels, scores = chain
    result = _run(_config(), _extracts(users, labels, {"": scores}))
    for t, step in enumerate(STEPS):
        score, label = scores[:, t].astype(np.float64), labels[:, t]
        expected = exact.measured(score, label)
        # Scores of one cell tie; all other sums are exact.
        assert result["", f"auc/{step}", False] == pytest.approx(exact.pairwise_auc(score, label), abs=1e-4)
        assert result["", f"auc_pr/{step}", False] == pytest.approx(
            exact.threshold_average_precision(score, label), abs=2e-3
        )
        assert result["", f"ks/{step}", False] == pytest.approx(expected["ks"], abs=5e-3)
        for name in ("log_loss", "calibration", "positive_rate"):
            assert result["", f"{name}/{step}", False] == pytest.approx(expected[name], rel=1e-9)
        assert result["", f"lift/log_loss/{step}", False] == pytest.approx(expected["lift"], abs=1e-9)
        assert result["", f"ece/{step}", False] == pytest.approx(expected["ece"], abs=2e-3)
        assert result["", f"label_count/{step}", False] == 3000
    for name in ("auc", "auc_pr", "log_loss", "ks"):
        parts = [result["", f"{name}/{step}", False] for step in STEPS]
        assert result["", name, False] == pytest.approx(np.mean(parts))
    assert result["", "example_count", False] == 3000 and result["", "chain_violations", False] == 0


def test_scores_with_few_values_are_exact():
    """Each has a cell of its own."""
    rng = np.random.default_rng(4)
    scores = rng.choice([0.001, 0.0015, 0.002, 0.1, 0.5, 0.999], (400, 1))
    labels = (rng.random((400, 1)) < np.sqrt(scores)).astype(np.int64)
    users = ["u"] * 400
    result = _run(_config(steps=("buy",)), _extracts(users, labels, {"": scores}, ("buy",)))
    expected = exact.measured(scores[:, 0], labels[:, 0])
    for name in ("auc", "auc_pr", "ks", "log_loss", "ece", "calibration"):
        assert result["", f"{name}/buy", False] == pytest.approx(expected[name], abs=1e-12), name
    assert ("", "chain_violations", False) not in result
    curve = result["", "calibration_curve/buy", False]
    examples = conversion_results.CURVE_COLUMNS.index("examples")
    assert curve[:, examples].sum() == 400
    curve = curve[curve[:, examples] > 0]
    assert np.abs(curve[:, 0] - curve[:, 1]) @ curve[:, examples] / 400 == pytest.approx(expected["ece"])


def test_equal_to_tfmas_own_metrics(chain):
    """TFMA's AUC has 10,000 thresholds; its area under precision and recall is interpolated."""
    users, labels, scores = chain
    result = _run(_config(), _extracts(users, labels, {"": scores}))
    classes = {
        "AUC": "auc",
        "AUCPrecisionRecall": "auc_pr",
        "BinaryCrossEntropy": "log_loss",
        "Calibration": "calibration",
    }
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label", prediction_key="prediction")],
        slicing_specs=[config_pb2.SlicingSpec()],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name=own, config=json.dumps({"name": name}))
                    for own, name in classes.items()
                ]
            )
        ],
    )
    data = pd.DataFrame({"label": labels[:, 1].astype(np.float32), "prediction": scores[:, 1]})
    theirs = tfma.analyze_raw_data(data, config).get_metrics_for_slice()
    for name, tolerance in (("auc", 2e-4), ("auc_pr", 5e-3), ("log_loss", 1e-5), ("calibration", 1e-5)):
        found = result["", f"{name}/buy", False]
        assert found == pytest.approx(theirs[name]["doubleValue"], abs=tolerance), name


def test_unknown_labels_have_no_influence(chain):
    users, labels, scores = chain
    labels = labels.copy()
    labels[::3, 1] = names.UNKNOWN_LABEL
    shifted = scores.copy()
    # Where the label of `buy` is unknown, its score may be anything.
    shifted[::3, 1] = np.minimum(0.7 * shifted[::3, 0], 0.9)
    found = _run(_config(intervals=True), _extracts(users, labels, {"": scores}))
    other = _run(_config(intervals=True), _extracts(users, labels, {"": shifted}))
    known = labels[:, 1] >= 0
    for key, value in found.items():
        if "calibration_curve" not in key[1]:
            assert float(value) == pytest.approx(float(other[key])), key
    expected = exact.measured(scores[known, 1], labels[known, 1])
    assert float(found["", "log_loss/buy", False]) == pytest.approx(expected["log_loss"], rel=1e-9)
    assert float(found["", "auc/buy", False]) == pytest.approx(expected["auc"], abs=1e-4)
    assert found["", "label_count/buy", False] == known.sum()
    assert found["", "label_count/cart", False] == found["", "example_count", False] == 3000
    assert float(found["", "positive_rate/cart", False]) == pytest.approx(labels[:, 0].mean())


def test_a_step_with_one_class_has_no_value(chain):
    users, labels, scores = (part[:200] for part in chain)
    labels = labels.copy()
    labels[:, 1] = 0
    config = _config(("candidate", "baseline"), "baseline", intervals=True, gate_metric="auc")
    found = _run(config, _extracts(users, labels, {"candidate": scores, "baseline": scores}))
    for name in ("auc/buy", "auc_pr/buy", "ks/buy", "auc", "lift/log_loss/buy", "calibration/buy"):
        assert np.isnan(float(found["candidate", name, False])), name
    for name in ("auc/cart", "log_loss/buy", "log_loss", "ece/buy", "positive_rate/buy"):
        assert np.isfinite(float(found["candidate", name, False])), name
    assert np.isnan(float(found["candidate", "auc", True]))
    # On a slice that decides nothing; on the whole split it fails any threshold.
    assert found["candidate", "slice/auc", True] == 0
    assert found["candidate", "slice/lift/log_loss/buy", False] == np.inf
    assert np.isnan(found["candidate", "gate/auc", True])
    assert np.isnan(found["candidate", "gate/lift/log_loss/buy", False])
    labels[:] = names.UNKNOWN_LABEL
    found = _run(config, _extracts(users, labels, {"candidate": scores, "baseline": scores}))
    assert np.isnan(float(found["candidate", "log_loss/cart", False]))
    examples = conversion_results.CURVE_COLUMNS.index("examples")
    assert (found["candidate", "calibration_curve/cart", False][:, examples] == 0).all()


def test_curves_of_models_whose_scores_fill_other_numbers_of_bins_are_told(chain):
    """TFMA subtracts one from the other, whatever has ties."""
    users, labels, scores = (part[:200] for part in chain)
    tied = np.round(scores, 1) * 0.9 + 0.05
    config = _config(("candidate", "baseline"), "baseline", intervals=True)
    found = _run(config, _extracts(users, labels, {"candidate": tied, "baseline": scores}))
    curves = [found[model, "calibration_curve/buy", False] for model in ("candidate", "baseline")]
    examples = [curve[:, conversion_results.CURVE_COLUMNS.index("examples")] for curve in curves]
    assert np.count_nonzero(examples[0]) < np.count_nonzero(examples[1])
    assert [each.sum() for each in examples] == [200, 200]
    assert curves[0].shape == curves[1].shape


def test_chain_violations_count_examples(chain):
    users, labels, scores = chain
    swapped = scores.copy()
    swapped[:600] = swapped[:600, ::-1]
    labels = np.full_like(labels, names.UNKNOWN_LABEL)  # labels have nothing to do with it
    result = _run(_config(intervals=True), _extracts(users, labels, {"": swapped}))
    found = result["", "chain_violations", False]
    assert float(found) == pytest.approx(0.2)
    assert found.sample_standard_deviation == pytest.approx(np.sqrt(0.2 * 0.8 / 3000), rel=0.2)


def test_baseline_gives_paired_differences(chain):
    users, labels, scores = chain
    _, _, worse = _chain(3000, noise=2.0)
    config = _config(("candidate", "baseline"), "baseline", intervals=True, gate_metric="auc/buy")
    found = _run(config, _extracts(users, labels, {"candidate": scores, "baseline": worse}))
    ours, theirs = (exact.pairwise_auc(s[:, 1], labels[:, 1]) for s in (scores, worse))
    change = found["candidate", "auc/buy", True]
    assert ours - theirs > 0.02 and float(change) == pytest.approx(ours - theirs, abs=1e-4)
    assert found["candidate", "gate/auc/buy", True] == float(change)
    improved = found["candidate", "relaimpr/buy", True]
    assert float(improved) == pytest.approx((ours - 0.5) / (theirs - 0.5) - 1, abs=1e-3)
    # Paired: the two models err on the same examples.
    apart = np.hypot(
        found["candidate", "auc/buy", False].sample_standard_deviation,
        found["baseline", "auc/buy", False].sample_standard_deviation,
    )
    assert change.sample_standard_deviation < 0.9 * apart
    assert ("baseline", "auc/buy", True) not in found


def _hanley_mcneil(area, positives, negatives):
    """Standard error of an AUC of independent examples (Hanley and McNeil, 1982), roughly."""
    one, other = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (one - area**2) + (negatives - 1) * (other - area**2)
    return np.sqrt(variance / (positives * negatives))


def test_standard_errors_with_one_example_per_user(chain):
    users, labels, scores = chain
    found = _run(_config(intervals=True), _extracts(users, labels, {"": scores}))
    for t, step in enumerate(STEPS):
        value = found["", f"auc/{step}", False]
        positives = labels[:, t].sum()
        expected = _hanley_mcneil(float(value), positives, 3000 - positives)
        assert value.sample_standard_deviation == pytest.approx(expected, rel=0.25)
        score = scores[:, t].astype(np.float64)
        losses = -np.where(labels[:, t], np.log(score), np.log(1 - score))
        loss = found["", f"log_loss/{step}", False]
        assert loss.sample_standard_deviation == pytest.approx(losses.std() / np.sqrt(3000), rel=0.2)


def test_repeating_a_users_examples_does_not_narrow_the_interval(chain):
    users, labels, scores = (part[:300] for part in chain)
    once = _run(_config(intervals=True), _extracts(users, labels, {"": scores}))
    many = _run(
        _config(intervals=True), _extracts(users * 9, np.tile(labels, (9, 1)), {"": np.tile(scores, (9, 1))})
    )
    others = [f"{user}-{n}" for n in range(9) for user in users]
    more = _run(
        _config(intervals=True), _extracts(others, np.tile(labels, (9, 1)), {"": np.tile(scores, (9, 1))})
    )
    for name in ("auc/cart", "auc/buy", "log_loss/buy", "auc"):
        width = once["", name, False].sample_standard_deviation
        assert float(once["", name, False]) == pytest.approx(float(many["", name, False]))
        assert many["", name, False].sample_standard_deviation == pytest.approx(width, rel=1e-6)
        # Nine times as many users: a third.
        assert more["", name, False].sample_standard_deviation == pytest.approx(width / 3, rel=0.25)


def test_intervals_cover():
    """The AUC of a large sample is in 95 % of the intervals of small ones with several examples a user."""
    _, labels, scores = _chain(40_000, seed=99, users=10_000)
    truth = {
        f"{name}/{step}": exact.measured(scores[:, t], labels[:, t])[name]
        for t, step in enumerate(STEPS)
        for name in ("auc", "log_loss")
    }
    results = conversion_results.Results(("",), None, STEPS, True, True, None)
    combiner = conversion_metrics._Combiner(results)
    inside = {name: 0 for name in truth}
    runs = 100
    for seed in range(runs):
        users, labels, scores = _chain(500, seed, users=150)
        sums = combiner.create_accumulator()
        hashes = {user: int(np.random.default_rng(int(user[1:])).integers(2**63)) for user in set(users)}
        sums.pending = [
            conversion_sums.Example(hashes[user], tuple(label), tuple(score))
            for user, label, score in zip(users, labels.tolist(), scores.tolist())
        ]
        for key, value in combiner.extract_output(sums).items():
            if key.name in truth:
                reach = bootstrap.quantile(value.sample_degrees_of_freedom) * value.sample_standard_deviation
                inside[key.name] += abs(float(value) - truth[key.name]) <= reach
    # Three standard errors of a share of 100 are 0.065.
    for name, count in inside.items():
        assert 0.885 <= count / runs <= 1, (name, count / runs)


def test_order_and_partition_do_not_matter(chain):
    users, labels, scores = (part[:600] for part in chain)
    first = _run(_config(intervals=True), _extracts(users, labels, {"": scores}), parts=1)
    order = np.random.default_rng(1).permutation(600)
    second = _run(
        _config(intervals=True),
        _extracts([users[i] for i in order], labels[order], {"": scores[order]}),
        parts=7,
    )
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_allclose(
            np.asarray(value, np.float64), np.asarray(second[key], np.float64), atol=1e-12
        )
        if isinstance(value, tfma.types.ValueWithTDistribution):
            error = second[key].sample_standard_deviation
            assert value.sample_standard_deviation == pytest.approx(error, abs=1e-12)


def test_folding_in_parts_changes_nothing(chain, monkeypatch):
    users, labels, scores = (part[:300] for part in chain)
    whole = _run(_config(intervals=True), _extracts(users, labels, {"": scores}))
    monkeypatch.setattr(conversion_metrics, "_FOLD_AT", 7)
    parts = _run(_config(intervals=True), _extracts(users, labels, {"": scores}))
    for key, value in whole.items():
        np.testing.assert_allclose(
            np.asarray(value, np.float64), np.asarray(parts[key], np.float64), atol=1e-12
        )


def test_memory_is_bounded_by_cells_and_groups():
    """Twice the same examples need no more counts."""
    combiner = conversion_metrics._Combiner(
        conversion_results.Results(("",), None, ("buy",), True, True, None)
    )
    rng = np.random.default_rng(0)
    examples = [
        conversion_sums.Example(int(user), (int(label),), (float(score),))
        for user, label, score in zip(rng.integers(2**60, size=500), rng.integers(0, 2, 500), rng.random(500))
    ]
    one, two = combiner.create_accumulator(), combiner.create_accumulator()
    one.pending, two.pending = list(examples), list(examples)
    merged = combiner.compact(combiner.merge_accumulators([combiner.compact(one), combiner.compact(two)]))
    assert len(merged.keys) == len(one.keys) <= 500 and merged.values[:, 0].sum() == 1000
    assert (np.diff(merged.keys) > 0).all()


def test_a_rare_class_keeps_its_order():
    """Scores around 1e-5, where equal steps of probability would make all of them tie."""
    rng = np.random.default_rng(2)
    logit = -11 + rng.normal(0, 1, 4000)
    scores = 1 / (1 + np.exp(-logit))
    labels = (rng.random(4000) < np.minimum(1, 1000 * scores)).astype(np.int64)
    extracts = _extracts(["u"] * 4000, labels[:, None], {"": scores[:, None]}, ("buy",))
    result = _run(_config(steps=("buy",)), extracts)
    assert result["", "auc/buy", False] == pytest.approx(exact.pairwise_auc(scores, labels), abs=1e-4)


def test_no_interval_for_one_user_or_without_resamples(chain):
    _, labels, scores = (part[:50] for part in chain)
    for settings, users in (({"intervals": True}, ["u"] * 50), ({}, [f"u{n}" for n in range(50)])):
        result = _run(_config(**settings), _extracts(users, labels, {"": scores}))
        assert isinstance(result["", "auc/cart", False], float)
        assert np.isnan(result["", "calibration_curve/cart", False][:, 2]).all()


def test_hardly_any_positive_gives_no_interval(chain):
    """With one positive a third of the resamples have none; with a share below a half there is no spread."""
    users, labels, scores = (part[:100] for part in chain)
    labels = np.zeros_like(labels)
    labels[0] = 1
    errors = conversion_results._standard_errors(np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, 1.0]]))
    assert errors[0] == pytest.approx(np.sqrt(0.5)) and np.isnan(errors[1])
    result = _run(_config(intervals=True), _extracts(users, labels, {"": scores}))
    assert np.isfinite(float(result["", "auc/buy", False]))


def test_what_ranks_a_label_is_as_sure_as_the_users_with_the_rarer_one_are_many(chain):
    """Of one who has all positives no resample shows how the next one would be ranked: all have the same curve."""
    users, _, scores = (part[:800] for part in chain)
    users = [f"u{number % 400}" for number in range(800)]
    noise = 0.02 * np.random.default_rng(1).normal(size=scores.shape)
    config = _config(
        ("candidate", "baseline"), "baseline", gate_metric="auc/buy", confidence=0.95, intervals=True
    )
    for few, told in ((1, False), (2, True), (9, True), (12, True)):
        labels = np.zeros((800, 2), np.int64)
        labels[:, 0] = np.arange(800) % 2
        for number in range(few):
            # The last two examples of each are positive.
            labels[[number, number + 400], :] = 1
        base = np.clip(scores + 0.3 * labels, 0.001, 0.999)
        by_model = {"candidate": np.clip(base + noise, 0.001, 0.999), "baseline": base}
        found = _run(config, _extracts(users, labels, by_model))
        for name in ("auc/buy", "auc_pr/buy", "ks/buy", "auc"):
            for is_change in (False, True):
                value = found["candidate", name, is_change]
                assert isinstance(value, tfma.types.ValueWithTDistribution) == told, (few, name)
                if told:
                    assert value.sample_degrees_of_freedom == few - 1
        improved = found["candidate", "relaimpr/buy", True]
        assert isinstance(improved, tfma.types.ValueWithTDistribution) == told
        # Of the other label, and of what is a mean over examples, all users tell.
        assert found["candidate", "auc/cart", False].sample_degrees_of_freedom > 150
        assert found["candidate", "log_loss/buy", False].sample_degrees_of_freedom > 150
        assert found["candidate", "slice/auc/buy", True] == 0 or told
        assert told or found["candidate", "gate/auc/buy", True] == -np.inf


def test_of_what_few_users_have_most_of_the_freedom_is_theirs(chain):
    """By Kish's effective number, less 1: of the examples whose label is known, or of those with the rarer one."""
    _, _, scores = (part[:600] for part in chain)
    labels = np.repeat(np.arange(600)[:, np.newaxis] // 20 % 3 == 0, 2, axis=1).astype(np.int64)
    config = _config(("candidate", "baseline"), "baseline", intervals=True)

    def check(users, labels):
        by_model = {"candidate": scores * 0.9, "baseline": scores}
        # No two of these users share a group.
        found = _run(config, _extracts([f"member {each}" for each in users], labels, by_model))

        def freedom(users):
            numbers = np.bincount(users)
            return max(round(numbers.sum() ** 2 / (numbers**2).sum()) - 1, 0)

        expected = {"chain_violations": freedom(users)}
        for number, step in enumerate(STEPS):
            of_all = freedom(users[labels[:, number] >= 0])
            of_rarer = min(freedom(users[labels[:, number] == label]) for label in (0, 1))
            expected |= {f"{name}/{step}": of_rarer for name in ("auc", "auc_pr", "ks")}
            expected |= {f"{name}/{step}": of_all for name in ("log_loss", "ece", "lift/log_loss")}
        for name in ("auc", "log_loss"):
            expected[name] = min(expected[f"{name}/{step}"] for step in STEPS)
        for is_change in (False, True):
            given = {
                name: getattr(found["candidate", name, is_change], "sample_degrees_of_freedom", 0)
                for name in expected
            }
            assert given == expected
        return expected

    equal = np.arange(600) % 20
    assert set(check(equal, labels).values()) == {19}
    heavy = np.where(np.arange(600) < 300, equal, 0)
    assert set(check(heavy, labels).values()) == {2}
    # One has nearly all examples: there is no interval.
    alone = np.where(np.arange(600) < 40, equal, 0)
    assert set(check(alone, labels).values()) == {0}
    # What is unknown of a label does not count for it.
    unknown = labels.copy()
    unknown[300:, 1] = names.UNKNOWN_LABEL
    found = check(heavy, unknown)
    assert found["log_loss/buy"] == found["auc/buy"] == 19 and found["log_loss"] == found["auc"] == 2


@pytest.mark.parametrize(
    "counts",
    [[30] * 2, [10] * 6, [1] * 9, [500] + [1] * 20, [100] * 2 + [1] * 20, [20] * 3 + [2] * 9],
    ids=str,
)
def test_an_equal_model_is_rarely_shown_to_be_worse_by_a_label_of_few_users(counts):
    """Two trainings of one model that differ by user; by the bare estimates up to a half are worse."""
    having = len(counts)
    rng, blocked, runs = np.random.default_rng(having), 0, 100
    config = _config(("candidate", "baseline"), "baseline", ("buy",), gate_metric="auc", confidence=0.95)
    user = np.concatenate([np.repeat(np.arange(having), counts), having + np.arange(200)])
    labels = (user < having).astype(np.int64)[:, np.newaxis]
    for run in range(runs):
        names_of = [f"{run}-{number}" for number in user]
        logits = [
            labels[:, 0] * (1 + 0.5 * rng.normal(size=user.max() + 1)[user]) + rng.normal(size=len(user))
            for _ in range(2)
        ]
        by_model = {
            model: 1 / (1 + np.exp(-logit[:, np.newaxis]))
            for model, logit in zip(("candidate", "baseline"), logits)
        }
        found = _run(config, _extracts(names_of, labels, by_model, ("buy",)))
        # Without an interval nothing is shown.
        blocked += -np.inf < found["candidate", "gate/auc", True] < -0.005
    assert blocked <= 4


@pytest.mark.parametrize("metric, worst", [("log_loss", np.inf), ("auc", -np.inf)])
def test_without_an_interval_the_whole_split_shows_no_absence_of_a_drop(chain, metric, worst):
    """However small the change of one user's examples is; a slice of them decides nothing."""
    _, labels, scores = (part[:200] for part in chain)
    by_model = {"candidate": scores, "baseline": scores}
    config = _config(("candidate", "baseline"), "baseline", gate_metric=metric, confidence=0.95)
    found = _run(config, _extracts(["u"] * 200, labels, by_model))
    assert found["candidate", f"gate/{metric}", True] == worst
    assert found["candidate", f"slice/{metric}", True] == 0
    # By the estimates it has none.
    config = _config(("candidate", "baseline"), "baseline", gate_metric=metric)
    assert _run(config, _extracts(["u"] * 200, labels, by_model))["candidate", f"gate/{metric}", True] == 0


def test_computation_announces_the_keys_it_gives(chain):
    users, labels, scores = (part[:50] for part in chain)
    for steps in (STEPS, ("buy",)):
        columns = slice(-len(steps), None)
        config = _config(("candidate", "baseline"), "baseline", steps, gate_metric="auc_pr", intervals=True)
        by_model = {"candidate": scores[:, columns], "baseline": scores[:, columns]}
        result = _run(config, _extracts(users, labels[:, columns], by_model, steps))
        announced = {(key.model_name, key.name, key.is_diff) for key in _computation(config).keys}
        assert announced == set(result)


def test_labels_that_are_no_chain_have_no_order_to_violate(chain):
    """All else is the same to the last digit."""
    users, labels, scores = (part[:200] for part in chain)
    by_model = {"candidate": 1 - scores, "baseline": scores}
    found = {}
    for ordered in (True, False):
        settings = {"intervals": True, "gate_metric": "auc", "min_positives": 1}
        settings.update({} if ordered else {"chain": False})
        config = _config(("candidate", "baseline"), "baseline", **settings)
        found[ordered] = _run(config, _extracts(users, labels, by_model))
        assert {(key.model_name, key.name, key.is_diff) for key in _computation(config).keys} == set(
            found[ordered]
        )
    violations = {key for key in found[True] if "chain" in key[1]}
    assert violations == {
        ("candidate", "chain_violations", False),
        ("baseline", "chain_violations", False),
        ("candidate", "chain_violations", True),
    }
    assert float(found[True]["candidate", "chain_violations", False]) > 0.5
    assert (
        found[True].keys() - found[False].keys() == violations and found[False].keys() <= found[True].keys()
    )
    for key, value in found[False].items():
        np.testing.assert_array_equal(np.asarray(value, np.float64), np.asarray(found[True][key], np.float64))


def test_small_slices_pass_the_gate_results(chain):
    users, labels, scores = (part[:100] for part in chain)
    by_model = {"candidate": 1 - scores, "baseline": scores}
    positive = labels.sum(axis=0)
    assert positive[1] < positive[0] < 50
    for minimum, positives, cart, buy in (
        (100, 0, True, True),
        (101, 0, False, False),
        (100, positive[1], True, True),
        (100, positive[1] + 1, True, False),
        (100, positive[0] + 1, False, False),
    ):
        config = _config(
            ("candidate", "baseline"),
            "baseline",
            gate_metric="auc",
            min_slice_examples=minimum,
            min_positives=int(positives),
        )
        found = _run(config, _extracts(users, labels, by_model))
        assert (found["candidate", "slice/lift/log_loss/cart", False] < 0) == cart
        assert (found["candidate", "slice/lift/log_loss/buy", False] < 0) == buy
        # The mean is of both steps.
        assert (found["candidate", "slice/auc", True] < 0) == (cart and buy)
        assert found["candidate", "gate/lift/log_loss/cart", False] < 0
        assert found["candidate", "gate/auc", True] < 0
        assert found["candidate", "rarer_labels/buy", False] == positive[1]


def test_the_gate_sees_the_bounds_of_intervals(chain):
    """A loss's drop is a rise."""
    users, labels, scores = chain
    shifted = np.clip(scores + 0.002 * np.random.default_rng(0).normal(size=scores.shape), 0.001, 0.999)
    worse = scores / 3
    config = _config(("candidate", "baseline"), "baseline", gate_metric="log_loss/cart", confidence=0.9)
    near = _run(config, _extracts(users, labels, {"candidate": shifted, "baseline": scores}))
    lift = near["candidate", "lift/log_loss/cart", False]
    reach = stats.t.ppf(0.95, 199) * lift.sample_standard_deviation
    assert near["candidate", "gate/lift/log_loss/cart", False] == pytest.approx(float(lift) - reach)
    assert near["candidate", "slice/lift/log_loss/cart", False] == pytest.approx(float(lift) + reach)
    change = near["candidate", "log_loss/cart", True]
    assert abs(float(change)) < change.sample_standard_deviation
    assert near["candidate", "gate/log_loss/cart", True] == 0
    far = _run(config, _extracts(users, labels, {"candidate": worse, "baseline": scores}))
    assert (
        far["candidate", "gate/log_loss/cart", True] == float(far["candidate", "log_loss/cart", True]) > 0.05
    )
    # What the gate does not go by has no interval where none is asked for.
    assert isinstance(far["candidate", "auc/cart", False], float)


@pytest.mark.parametrize(
    "outputs, message",
    [
        ({"cart": np.array([0.1])}, "must give cart, buy, found \\['cart'\\]"),
        (np.array([1.0]), "must give cart, buy, found ndarray"),
        ({"cart": np.array([0.1]), "buy": np.array([1.5])}, "gave 1.5 as a probability of buy"),
        ({"cart": np.array([0.1]), "buy": np.array([np.nan])}, "gave nan as a probability of buy"),
    ],
)
def test_wrong_outputs(outputs, message):
    computation = _computation(_config())
    with pytest.raises(ValueError, match=message):
        list(computation.preprocessors[0].process({tfma.PREDICTIONS_KEY: outputs, tfma.FEATURES_KEY: {}}))


def test_wrong_labels_and_users(chain):
    computation = _computation(_config(intervals=True))
    users, labels, scores = (part[:1] for part in chain)
    for key, value, message in (
        ("label_buy", np.array([2]), "one label_buy of 0, 1 or -1, found \\[2\\]"),
        ("label_cart", np.array([]), "one label_cart of 0, 1 or -1, found \\[\\]"),
        (names.USER_ID, np.array([]), "one user_id per example, found 0"),
    ):
        (extract,) = _extracts(users, labels, {"": scores})
        extract[tfma.FEATURES_KEY][key] = value
        with pytest.raises(ValueError, match=message):
            list(computation.preprocessors[0].process(extract))


def test_a_single_output_has_no_name():
    """As TFMA gives it."""
    (computation,) = [_computation(_config(steps=("buy",)))]
    extract = {tfma.PREDICTIONS_KEY: np.array([0.25]), tfma.FEATURES_KEY: {"label_buy": np.array([1])}}
    (found,) = computation.preprocessors[0].process(extract)
    assert found.probabilities == (0.25,) and found.labels == (1,)


def test_wrong_settings():
    with pytest.raises(ValueError, match="there is a step at least"):
        conversion_metrics.ConversionMetrics(steps=[])
    with pytest.raises(ValueError, match="gate_metric must be one of .*'auc/buy'.*found ndcg@10"):
        conversion_metrics.ConversionMetrics(steps=["buy"], gate_metric="ndcg@10")
