"""The TFMA metrics against NumPy."""

import json

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from scipy import stats
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import metrics
from schemas import names


def _config(model_names=("",), baseline=None, **settings):
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(name=name, is_baseline=name == baseline) for name in model_names],
        metrics_specs=[
            config_pb2.MetricsSpec(
                model_names=list(model_names),
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="RankingMetrics",
                        module="components.evaluator.metrics",
                        config=json.dumps(settings),
                    )
                ],
            )
        ],
    )


def _computation(config):
    (computation,) = metric_specs.to_computations(config.metrics_specs, eval_config=config)
    return computation


def _extracts(users, ranks_by_model, **others):
    """Extracts as TFMA's: one per example, predictions by model where there are several."""
    for index, user in enumerate(users):
        outputs = {
            model: {
                names.RANK: np.array([ranks[index]]),
                names.POPULARITY_RANK: np.array([popularity[index]]),
                **{key: np.array([value]) for key, value in others.items()},
            }
            for model, (ranks, popularity) in ranks_by_model.items()
        }
        yield {
            tfma.PREDICTIONS_KEY: outputs if len(outputs) > 1 else next(iter(outputs.values())),
            tfma.FEATURES_KEY: {names.USER_ID: np.array([user], dtype=object)},
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


def _ndcg(ranks, k):
    return np.array([1 / np.log2(1 + rank) if rank <= k else 0.0 for rank in ranks])


@pytest.fixture(scope="module")
def ranks():
    rng = np.random.default_rng(0)
    return rng.integers(1, 60, 500), rng.integers(1, 90, 500)


def test_values_equal_numpy(ranks):
    own, popularity = ranks
    config = _config(cutoffs=[10, 1, 5])
    result = _run(config, _extracts(["u"] * 500, {"": (own, popularity)}))
    for k in (1, 5, 10):
        assert result["", f"hr@{k}", False] == pytest.approx(np.mean(own <= k))
        assert result["", f"ndcg@{k}", False] == pytest.approx(_ndcg(own, k).mean())
        assert result["", f"popularity/ndcg@{k}", False] == pytest.approx(_ndcg(popularity, k).mean())
        lift = (_ndcg(own, k) - _ndcg(popularity, k)).mean()
        assert result["", f"lift/ndcg@{k}", False] == pytest.approx(lift)
    assert result["", "mrr", False] == pytest.approx(np.mean(1 / own))
    assert result["", "popularity/mrr", False] == pytest.approx(np.mean(1 / popularity))
    assert result["", "example_count", False] == 500
    assert {model for model, _, _ in result} == {""}


@pytest.mark.parametrize(
    "rank, hr, ndcg", [(1, 1, 1), (2, 1, 1 / np.log2(3)), (5, 1, 1 / np.log2(6)), (6, 0, 0)]
)
def test_one_example(rank, hr, ndcg):
    result = _run(_config(cutoffs=[5]), _extracts(["u"], {"": ([rank], [3])}))
    assert result["", "hr@5", False] == hr
    assert result["", "ndcg@5", False] == pytest.approx(ndcg)
    assert result["", "mrr", False] == pytest.approx(1 / rank)


def test_target_outside_a_small_catalogue_is_a_miss():
    extracts = _extracts(["u", "v"], {"": ([4, 3], [3, 4])}, catalogue_size=3)
    result = _run(_config(cutoffs=[10]), extracts)
    assert result["", "hr@10", False] == 0.5
    assert result["", "mrr", False] == pytest.approx(1 / 6)
    assert result["", "popularity/ndcg@10", False] == pytest.approx(0.25)


def test_baseline_gives_paired_differences(ranks):
    own, popularity = ranks
    live = np.roll(own, 1)
    config = _config(("candidate", "baseline"), "baseline", cutoffs=[10], intervals=True)
    users = [f"u{i}" for i in range(500)]
    extracts = _extracts(users, {"candidate": (own, popularity), "baseline": (live, popularity)})
    result = _run(config, extracts)
    change = result["candidate", "ndcg@10", True]
    paired = _ndcg(own, 10) - _ndcg(live, 10)
    assert float(change) == pytest.approx(paired.mean(), abs=1e-12)
    assert change.sample_standard_deviation == pytest.approx(paired.std() / np.sqrt(500), rel=0.2)
    assert float(result["baseline", "ndcg@10", False]) == pytest.approx(_ndcg(live, 10).mean())
    assert float(result["candidate", "popularity/ndcg@10", True]) == 0
    assert ("baseline", "ndcg@10", True) not in result


def test_standard_error_with_one_example_per_user(ranks):
    own, popularity = ranks
    config = _config(cutoffs=[10], intervals=True)
    result = _run(config, _extracts([f"u{i}" for i in range(500)], {"": (own, popularity)}))
    estimate = result["", "ndcg@10", False]
    assert float(estimate) == pytest.approx(_ndcg(own, 10).mean())
    assert estimate.sample_standard_deviation == pytest.approx(_ndcg(own, 10).std() / np.sqrt(500), rel=0.2)
    assert estimate.sample_degrees_of_freedom == 199
    lift = result["", "lift/mrr", False]
    assert lift.sample_standard_deviation == pytest.approx(
        (1 / own - 1 / popularity).std() / np.sqrt(500), rel=0.2
    )


def test_repeating_a_users_examples_does_not_narrow_the_interval(ranks):
    own, popularity = (array[:100] for array in ranks)
    config = _config(cutoffs=[10], intervals=True)
    users = [f"u{i}" for i in range(100)]
    once = _run(config, _extracts(users, {"": (own, popularity)}))
    many = _run(config, _extracts(users * 9, {"": (np.tile(own, 9), np.tile(popularity, 9))}))
    for key in (("", "ndcg@10", False), ("", "lift/ndcg@10", False)):
        assert float(many[key]) == pytest.approx(float(once[key]))
        assert many[key].sample_standard_deviation == pytest.approx(once[key].sample_standard_deviation)
    # Nearly: users are counted from the spread of the resamples' sizes.
    assert 60 < many["", "ndcg@10", False].sample_degrees_of_freedom < 140


def test_results_do_not_depend_on_order_or_workers(ranks):
    own, popularity = ranks
    users = [f"u{i // 3}" for i in range(500)]
    config = _config(cutoffs=[10], intervals=True)
    first = _run(config, _extracts(users, {"": (own, popularity)}), parts=1)
    order = np.random.default_rng(1).permutation(500)
    second = _run(
        config, _extracts([users[i] for i in order], {"": (own[order], popularity[order])}), parts=7
    )
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert float(value) == pytest.approx(float(second[key]), abs=1e-12)
    error = first["", "ndcg@10", False].sample_standard_deviation
    assert error == pytest.approx(second["", "ndcg@10", False].sample_standard_deviation, abs=1e-12)


def test_folding_in_parts_changes_nothing(ranks, monkeypatch):
    own, popularity = ranks
    users = [f"u{i // 3}" for i in range(500)]
    config = _config(cutoffs=[10], intervals=True)
    whole = _run(config, _extracts(users, {"": (own, popularity)}))
    monkeypatch.setattr(metrics, "_FOLD_AT", 7)
    parts = _run(config, _extracts(users, {"": (own, popularity)}))
    np.testing.assert_allclose(
        [value.sample_standard_deviation for value in whole.values() if not isinstance(value, float)],
        [value.sample_standard_deviation for value in parts.values() if not isinstance(value, float)],
    )


def test_no_interval_for_one_user():
    result = _run(
        _config(cutoffs=[10], intervals=True), _extracts(["u"] * 5, {"": ([1, 2, 3, 4, 5], [9] * 5)})
    )
    assert isinstance(result["", "ndcg@10", False], float)


def test_poisson_weights_are_poisson():
    users = np.arange(5000, dtype=np.uint64) * np.uint64(2654435761)
    weights = metrics._poisson_weights(users)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert np.mean(weights == 0) == pytest.approx(np.exp(-1), abs=0.005)
    # Neither two resamples nor two users share their draws.
    assert abs(np.corrcoef(weights[:, 0], weights[:, 1])[0, 1]) < 0.06
    assert abs(np.corrcoef(weights[0], weights[1])[0, 1]) < 0.3


def test_small_slices_pass_the_gate_results():
    settings = dict(cutoffs=[10], gate_metric="ndcg@10", min_slice_examples=3)
    config = _config(("candidate", "baseline"), "baseline", **settings)
    bad, good = ([50, 60], [1, 2]), ([1, 2], [1, 2])
    small = _run(config, _extracts(["u", "v"], {"candidate": bad, "baseline": good}))
    assert small["candidate", "gate/lift/ndcg@10", False] == np.inf
    assert small["candidate", "gate/ndcg@10", True] == 0
    bad, good = ([50, 60, 70], [1, 2, 3]), ([1, 2, 3], [1, 2, 3])
    large = _run(config, _extracts(["u", "v", "w"], {"candidate": bad, "baseline": good}))
    expected = -_ndcg([1, 2, 3], 10).mean()
    assert large["candidate", "gate/lift/ndcg@10", False] == pytest.approx(expected)
    assert large["candidate", "gate/ndcg@10", True] == pytest.approx(expected)


def test_computation_announces_the_keys_it_gives(ranks):
    own, popularity = ranks
    config = _config(("candidate", "baseline"), "baseline", cutoffs=[10], gate_metric="mrr", intervals=True)
    extracts = _extracts(["u", "v"] * 250, {"candidate": (own, popularity), "baseline": (own, popularity)})
    result = _run(config, extracts)
    announced = {(key.model_name, key.name, key.is_diff) for key in _computation(config).keys}
    assert announced == set(result)


def test_sampled_metrics_of_model_popularity_and_change(ranks):
    """The whole way equals the mean of scipy's hypergeometric sums, for each of the three."""
    own, popularity = ranks
    live, candidates = np.roll(own, 1), 90 + np.arange(500) % 7
    config = _config(
        ("candidate", "baseline"), "baseline", cutoffs=[10], intervals=True, sampled_negatives=20
    )
    models = {"candidate": (own, popularity), "baseline": (live, popularity)}
    extracts = list(_extracts([f"u{i}" for i in range(500)], models))
    for extract, size in zip(extracts, candidates):
        for outputs in extract[tfma.PREDICTIONS_KEY].values():
            outputs[names.CANDIDATES] = np.array([size])
    result = _run(config, extracts)

    def expected(full):
        hits = stats.hypergeom.cdf(9, candidates - 1, full - 1, 20)
        gains = [stats.hypergeom.pmf(x, candidates - 1, full - 1, 20) / np.log2(2 + x) for x in range(10)]
        return hits, np.sum(gains, axis=0)

    (hits, gains), (_, of_popularity), (_, of_live) = map(expected, (own, popularity, live))
    name = "sampled20_ndcg@10"
    assert float(result["candidate", "sampled20_hr@10", False]) == pytest.approx(hits.mean(), rel=1e-9)
    assert float(result["candidate", name, False]) == pytest.approx(gains.mean(), rel=1e-9)
    popular = result["candidate", f"popularity/{name}", False]
    assert float(popular) == pytest.approx(of_popularity.mean(), rel=1e-9)
    lift, change = result["candidate", f"lift/{name}", False], result["candidate", name, True]
    for estimate, paired in ((lift, gains - of_popularity), (change, gains - of_live)):
        assert float(estimate) == pytest.approx(paired.mean(), abs=1e-9)
        assert estimate.sample_standard_deviation == pytest.approx(paired.std() / np.sqrt(500), rel=0.2)
    # The full metrics are what they are without.
    assert float(result["candidate", "ndcg@10", False]) == pytest.approx(_ndcg(own, 10).mean())
    assert "sampled20_mrr" in {name for _, name, _ in result}
    announced = {(key.model_name, key.name, key.is_diff) for key in _computation(config).keys}
    assert announced == set(result)


def test_sampled_metrics_need_the_number_of_candidates():
    computation = _computation(_config(cutoffs=[10], sampled_negatives=99))
    with pytest.raises(ValueError, match=r"must give candidates \(evaluation.sampled_negatives needs it\)"):
        list(computation.preprocessors[0].process(next(_extracts(["u"], {"": ([1], [1])}))))
    with pytest.raises(ValueError, match="among 99 negatives need the number of candidates"):
        metrics.metric_values(np.ones(3), (10,), 99)


@pytest.mark.parametrize(
    "outputs, message",
    [
        ({names.RANK: np.array([1])}, "must give popularity_rank, found \\['rank'\\]"),
        (np.array([1.0]), "must give rank and popularity_rank, found ndarray"),
        ({names.RANK: np.array([0]), names.POPULARITY_RANK: np.array([1])}, "ranks start at 1.*rank 0"),
    ],
)
def test_wrong_outputs(outputs, message):
    computation = _computation(_config(cutoffs=[10]))
    with pytest.raises(ValueError, match=message):
        list(computation.preprocessors[0].process({tfma.PREDICTIONS_KEY: outputs}))


def test_intervals_need_users():
    computation = _computation(_config(cutoffs=[10], intervals=True))
    extract = next(_extracts(["u"], {"": ([1], [1])}))
    extract[tfma.FEATURES_KEY] = {}
    with pytest.raises(ValueError, match="one user_id per example, found 0"):
        list(computation.preprocessors[0].process(extract))


@pytest.mark.parametrize("settings, message", [({"cutoffs": []}, "cutoffs"), ({"cutoffs": [0]}, "cutoffs")])
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        metrics.RankingMetrics(**settings)
    with pytest.raises(ValueError, match="gate_metric must be one of .*'ndcg@5'.*found ndcg@10"):
        metrics.RankingMetrics(cutoffs=[5], gate_metric="ndcg@10")
    with pytest.raises(ValueError, match="gate_metric must be one of"):
        metrics.RankingMetrics(cutoffs=[5], gate_metric="sampled9_hr@5", sampled_negatives=9)
    with pytest.raises(ValueError, match="sampled_negatives must be positive, found 0"):
        metrics.RankingMetrics(cutoffs=[5], sampled_negatives=0)
