"""The TFMA metrics against NumPy."""

import json

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from scipy import stats
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import bootstrap, metrics, spec
from components.evaluator import ranks as rank_metrics
from schemas import names
from schemas import ranks as rank_lib


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
    # Floors are the candidate's: the examples are the same.
    assert not {
        key for key in result if key[0] == "baseline" and "/" in key[1] or key[1][:3] == "pop" and key[2]
    }
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
    weights = bootstrap.poisson_weights(users)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert np.mean(weights == 0) == pytest.approx(np.exp(-1), abs=0.005)
    # Neither two resamples nor two users share their draws.
    assert abs(np.corrcoef(weights[:, 0], weights[:, 1])[0, 1]) < 0.06
    assert abs(np.corrcoef(weights[0], weights[1])[0, 1]) < 0.3


def _gated(candidate, baseline, popularity, count=None, confidence=None, users=None, **settings):
    """Gate results of the candidate: ranks of each example, `count` of them needed on a slice."""
    config = _config(
        ("candidate", "baseline"),
        "baseline",
        cutoffs=[10],
        gate_metric="ndcg@10",
        min_slice_examples=count or 1,
        confidence=confidence,
        **settings,
    )
    models = {"candidate": (candidate, popularity), "baseline": (baseline, popularity)}
    return _run(config, _extracts(users or [f"u{i}" for i in range(len(candidate))], models))


def test_small_slices_pass_the_gate_results():
    small = _gated([50, 2], [1, 2], [1, 2], count=3)
    assert small["candidate", "slice/lift/ndcg@10", False] == np.inf
    assert small["candidate", "slice/ndcg@10", True] == 0
    # The whole split has no such excuse.
    expected = (1 / np.log2(3) - _ndcg([1, 2], 10).sum()) / 2
    assert small["candidate", "gate/lift/ndcg@10", False] == pytest.approx(expected)
    assert small["candidate", "gate/ndcg@10", True] == pytest.approx(expected)
    large = _gated([50, 60, 2], [1, 2, 3], [1, 2, 3], count=3)
    expected = (1 / np.log2(3) - _ndcg([1, 2, 3], 10).sum()) / 3
    for prefix in ("gate", "slice"):
        assert large["candidate", f"{prefix}/lift/ndcg@10", False] == pytest.approx(expected)
        assert large["candidate", f"{prefix}/ndcg@10", True] == pytest.approx(expected)


def test_the_gate_sees_the_bounds_of_intervals(ranks):
    own, popularity = ranks
    found = _gated(own, np.roll(own, 1), popularity, confidence=0.9, intervals=True)
    lift = found["candidate", "lift/ndcg@10", False]
    reach = stats.t.ppf(0.95, 199) * lift.sample_standard_deviation
    assert found["candidate", "gate/lift/ndcg@10", False] == pytest.approx(float(lift) - reach)
    assert found["candidate", "slice/lift/ndcg@10", False] == pytest.approx(float(lift) + reach)
    # A change of noise is none.
    change = found["candidate", "ndcg@10", True]
    assert 0 < abs(float(change)) < change.sample_standard_deviation
    assert found["candidate", "gate/ndcg@10", True] == found["candidate", "slice/ndcg@10", True] == 0
    worse = _gated(own + 3, own, popularity, confidence=0.9)
    assert worse["candidate", "gate/ndcg@10", True] == float(worse["candidate", "ndcg@10", True]) < -0.02
    # One that is better never stands in the way, nor does it where the gate goes by estimates.
    better = _gated(own, own + 3, popularity)
    assert better["candidate", "gate/ndcg@10", True] > 0.02


def test_intervals_are_there_for_the_gate_alone(ranks):
    own, popularity = ranks
    found = _gated(own, own, popularity, confidence=0.95)
    spread = {key for key, value in found.items() if isinstance(value, tfma.types.ValueWithTDistribution)}
    assert spread == {("candidate", "lift/ndcg@10", False), ("candidate", "ndcg@10", True)}


def test_few_hits_are_less_sure_than_they_look():
    """Hits against none: one more on either side is two more for the sum of squares."""
    for hits in (3, 5, 9):
        own = [1] * hits + [50] * (500 - hits)
        found = _gated(own, own, [60] * 500, confidence=0.95, intervals=True)
        lift = found["candidate", "lift/ndcg@10", False]
        share = hits / 500
        plain = share * (1 - share) / 500
        assert lift.sample_standard_deviation == pytest.approx(np.sqrt(plain + 2 * 500.0**-2), rel=0.2)
        # A sign test of 5 against 0 has p = 0.031, of 3 against 0 0.125 (one-sided).
        assert (found["candidate", "gate/lift/ndcg@10", False] > 0) == (hits == 9)
    # Without any spread at all there is one, too.
    constant = _gated([1] * 500, [1] * 500, [60] * 500, confidence=0.95, intervals=True)
    assert constant["candidate", "lift/ndcg@10", False].sample_standard_deviation == pytest.approx(
        np.sqrt(2) / 500, rel=0.3
    )
    assert constant["candidate", "gate/lift/ndcg@10", False] > 0.99


def test_a_model_without_a_hit_has_no_lift():
    for confidence in (None, 0.95):
        found = _gated([50] * 200, [50] * 200, [60] * 200, confidence=confidence)
        assert float(found["candidate", "lift/ndcg@10", False]) == 0
        assert np.isnan(found["candidate", "gate/lift/ndcg@10", False])


def test_a_slice_in_which_nothing_is_hit_blocks_no_model():
    """As that of items which training has not met; the whole split has no such excuse."""
    found = _gated([50] * 200, [50] * 200, [60] * 200, confidence=0.95)
    assert found["candidate", "slice/lift/ndcg@10", False] == np.inf
    # Where the floor hits something, it does.
    found = _gated([50] * 200, [50] * 200, [1] * 200, confidence=0.95)
    assert found["candidate", "slice/lift/ndcg@10", False] < 0


def test_one_users_examples_show_nothing():
    found = _gated([1] * 200, [1] * 200, [60] * 200, confidence=0.95, users=["u"] * 200)
    assert found["candidate", "gate/lift/ndcg@10", False] == -np.inf
    assert found["candidate", "slice/lift/ndcg@10", False] == np.inf
    # Nor that there is no drop.
    assert found["candidate", "gate/ndcg@10", True] == -np.inf
    assert found["candidate", "slice/ndcg@10", True] == 0


@pytest.mark.parametrize("size, rate", [(100, 0.1), (400, 0.02), (400, 0.2)])
def test_a_model_that_is_no_better_is_rarely_shown_to_be(size, rate):
    """Of models that hit as often as popularity, at most about 2.5 % are blessed at 95 % confidence."""
    rng = np.random.default_rng(size)
    settings = ranks_settings(confidence=0.95)
    blessed, runs = 0, 300
    for _ in range(runs):
        own, popularity = (np.where(rng.random(size) < rate, 1.0, np.inf) for _ in range(2))
        blessed += settings(rng.integers(0, 2**63, size), own, popularity) > 0
    # Three standard errors above 2.5 %.
    assert blessed / runs <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / runs)


def test_a_better_model_is_mostly_shown_to_be():
    """HR@10 of 0.2 against 0.1 on 400 windows: four standard errors."""
    rng = np.random.default_rng(0)
    settings = ranks_settings(confidence=0.95)
    shown = [
        settings(
            rng.integers(0, 2**63, 400),
            *(np.where(rng.random(400) < rate, 1.0, np.inf) for rate in (0.2, 0.1)),
        )
        > 0
        for _ in range(100)
    ]
    assert np.mean(shown) > 0.9


def ranks_settings(**settings):
    """A function of users, ranks and popularity ranks that gives `gate/lift/ndcg@10`, without TFMA around it."""
    computation = _computation(_config(cutoffs=[10], gate_metric="ndcg@10", **settings))
    key = rank_metrics.metric_key("gate/lift/ndcg@10", "")

    def found(users, own, popularity):
        combiner = computation.combiner
        sums = combiner.create_accumulator()
        reachable = float(names.REACHABLE)
        sums.pending = [
            metrics._Example(int(user), (a, b, reachable)) for user, a, b in zip(users, own, popularity)
        ]
        return combiner.extract_output(sums)[key]

    return found


def test_the_best_floor_is_the_one_to_beat():
    """Lifts are over the floor with most of each metric: here the most frequent items by HR@10, popularity by MRR."""
    floors = ["popularity", "own_frequent", "own_recent"]
    config = _config(cutoffs=[10], floors=floors, gate_metric="hr@10")
    answers = {
        names.RANK: [1, 2, 3, 40],
        names.POPULARITY_RANK: [1, 20, 20, 20],
        names.OWN_FREQUENT_RANK: [9, 9, 20, 20],
        names.OWN_RECENT_RANK: [20, 20, 20, 20],
    }
    extracts = [
        {
            tfma.PREDICTIONS_KEY: {name: np.array([ranks[i]]) for name, ranks in answers.items()},
            tfma.FEATURES_KEY: {},
        }
        for i in range(4)
    ]
    found = _run(config, extracts)
    hits = {floor: found["", f"{floor}/hr@10", False] for floor in floors}
    assert hits == {"popularity": 0.25, "own_frequent": 0.5, "own_recent": 0.0}
    assert found["", "lift/hr@10", False] == found["", "gate/lift/hr@10", False] == 0.75 - 0.5
    mrr = (1 + 1 / 2 + 1 / 3 + 1 / 40) / 4 - (1 + 3 / 20) / 4
    assert found["", "lift/mrr", False] == pytest.approx(mrr)
    del answers[names.OWN_RECENT_RANK]
    with pytest.raises(ValueError, match="must give own_recent_rank, found"):
        _run(
            config, [{tfma.PREDICTIONS_KEY: {name: np.array([1]) for name in answers}, tfma.FEATURES_KEY: {}}]
        )


def test_targets_that_cannot_be_recommended_are_counted():
    codes = [names.NOT_IN_CATALOGUE, names.LEFT_OUT, names.REACHABLE, names.REACHABLE]
    config = _config(cutoffs=[10])
    extracts = []
    for code in codes:
        (extract,) = _extracts(["u"], {"": ([4 if code else 1], [4])}, catalogue_size=3)
        extract[tfma.PREDICTIONS_KEY][names.UNREACHABLE] = np.array([code])
        extracts.append(extract)
    found = _run(config, extracts)
    assert found["", "unreachable/catalogue", False] == found["", "unreachable/seen", False] == 0.25
    # A model of before tells only that they are beyond the catalogue.
    for extract in extracts:
        del extract[tfma.PREDICTIONS_KEY][names.UNREACHABLE]
    found = _run(config, extracts)
    assert found["", "unreachable/catalogue", False] == 0.5 and found["", "unreachable/seen", False] == 0


def test_candidates_are_told_of_each_slice():
    codes = [names.NOT_IN_CATALOGUE, names.LEFT_OUT, names.REACHABLE, names.NOT_A_CANDIDATE]
    config = _config(cutoffs=[10], candidates_within=3600.0, intervals=True, gate_metric="hr@10")
    extracts = []
    for number, code in enumerate(codes):
        (extract,) = _extracts(
            ["u"], {"": ([4 if code else 1], [4])}, catalogue_size=3, candidate_set=number + 1
        )
        extract[tfma.PREDICTIONS_KEY][names.UNREACHABLE] = np.array([code])
        extracts.append(extract)
    found = {
        name: getattr(value, "unsampled_value", value)
        for (_, name, _), value in _run(config, extracts).items()
    }
    # A candidate that is left out as seen is one.
    assert found["candidates/share"] == 0.5 and found["candidates/size"] == 2.5
    assert found["hr@10"] == found["unreachable/candidates"] == found["unreachable/seen"] == 0.25
    announced = {key.name for key in _computation(config).keys}
    assert announced == set(found)
    del extracts[0][tfma.PREDICTIONS_KEY][names.CANDIDATE_SET]
    with pytest.raises(ValueError, match="must give candidate_set, found"):
        _run(config, extracts)


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


def test_sampled_metrics_need_ranks_among_what_was_not_met():
    computation = _computation(_config(cutoffs=[10], sampled_negatives=99))
    extract = next(_extracts(["u"], {"": ([1], [1])}))
    needs = r" \(evaluation.sampled_negatives needs it\)"
    with pytest.raises(ValueError, match="must give unmet_candidates" + needs):
        list(computation.preprocessors[0].process(extract))
    # A model that ranks what was seen, of a version that does not tell how it ranks the rest.
    extract[tfma.PREDICTIONS_KEY].update(
        {names.CANDIDATES: np.array([9]), names.OWN_FREQUENT_RANK: np.array([1])}
    )
    every = "unmet_rank and unmet_popularity_rank and unmet_candidates"
    with pytest.raises(ValueError, match="must give " + every + needs):
        list(computation.preprocessors[0].process(extract))
    with pytest.raises(ValueError, match="among 99 negatives need ranks among what these are drawn from"):
        rank_metrics.metric_values(np.ones(3), (10,), 99)


def test_sampled_metrics_go_by_ranks_among_what_was_not_met(ranks):
    """Where a model tells both; a live model that cannot has none, and all else of it is compared."""
    own, popularity = ranks
    unmet, floor = np.maximum(1, own // 2), np.maximum(1, popularity - 3)
    config = _config(("candidate", "baseline"), "baseline", cutoffs=[10], sampled_negatives=20)
    models = {"candidate": (own, popularity), "baseline": (own, popularity)}
    extracts = list(_extracts([f"u{i}" for i in range(500)], models))
    size = own.max() + popularity.max()
    for number, extract in enumerate(extracts):
        for model, outputs in extract[tfma.PREDICTIONS_KEY].items():
            outputs[names.CANDIDATES] = np.array([size])
            outputs[names.OWN_FREQUENT_RANK] = np.array([1])
            if model == "candidate":
                outputs[names.of_unmet(names.RANK)] = unmet[number : number + 1]
                outputs[names.of_unmet(names.POPULARITY_RANK)] = floor[number : number + 1]
                outputs[names.of_unmet(names.CANDIDATES)] = np.array([size - 5])
    result = _run(config, extracts)
    for key, among in (("", unmet), ("popularity/", floor)):
        expected = stats.hypergeom.cdf(9, size - 6, among - 1, 20).mean()
        assert float(result["candidate", f"{key}sampled20_hr@10", False]) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(float(result["candidate", "sampled20_hr@10", True]))
    assert np.isnan(float(result["baseline", "sampled20_hr@10", False]))
    assert float(result["candidate", "hr@10", True]) == 0


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
    with pytest.raises(ValueError, match="floors are of popularity, .*found mean"):
        metrics.RankingMetrics(cutoffs=[5], floors=["popularity", "mean"])


def _periods(rng, number, size):
    """Ranks of up to six items of each example, some of them misses, with nothing between and behind."""
    found = rng.integers(1, size + 2, [number, 6])
    found[:, 1:][rng.random([number, 5]) < 0.4] = names.NO_ITEM_RANK
    return found


def test_all_items_of_a_period_are_measured_like_the_next_one():
    rng, size = np.random.default_rng(5), 30
    rank, popularity = rng.integers(1, size + 2, 200), rng.integers(1, size + 2, 200)
    own, of_popularity, live = (_periods(rng, 200, size) for _ in range(3))
    users = [f"u{number}" for number in range(200)]

    def extracts(**models):
        for number, user in enumerate(users):
            outputs = {
                model: {
                    names.RANK: rank[number : number + 1],
                    names.POPULARITY_RANK: popularity[number : number + 1],
                    names.of_period(names.RANK): ranks[number][np.newaxis],
                    names.of_period(names.POPULARITY_RANK): of_popularity[number][np.newaxis],
                    names.CATALOGUE_SIZE: np.array([size]),
                }
                for model, ranks in models.items()
            }
            yield {
                tfma.PREDICTIONS_KEY: outputs,
                tfma.FEATURES_KEY: {names.USER_ID: np.array([user], dtype=object)},
            }

    config = _config(
        ("candidate", "baseline"),
        "baseline",
        cutoffs=[5, 3],
        period=True,
        gate_metric="period_ndcg@5",
        confidence=0.95,
    )
    result = _run(config, extracts(candidate=own, baseline=live))

    def expected(found):
        kept = [row[row != names.NO_ITEM_RANK].astype(float) for row in found]
        kept = [np.where(row > size, np.inf, row) for row in kept]
        return np.mean([rank_lib.set_values(row, [3, 5]) for row in kept], axis=0)

    for place, name in enumerate(spec.period_metrics([3, 5])):
        value, floor = expected(own)[place], expected(of_popularity)[place]
        assert float(result["candidate", name, False]) == pytest.approx(value)
        assert float(result["candidate", f"popularity/{name}", False]) == pytest.approx(floor)
        assert float(result["candidate", f"lift/{name}", False]) == pytest.approx(value - floor)
        assert float(result["candidate", name, True]) == pytest.approx(value - expected(live)[place])
    assert ("candidate", "gate/lift/period_ndcg@5", False) in result
    # What comes next is measured as it is without a period.
    assert float(result["candidate", "hr@5", False]) == pytest.approx(np.mean(rank <= 5))


def test_the_next_scene_is_measured_like_the_next_item():
    rng, size = np.random.default_rng(6), 9
    rank, scene, of_popularity, live = (rng.integers(1, size + 2, 200) for _ in range(4))
    of_scene = {names.RANK: scene, names.POPULARITY_RANK: of_popularity}

    def extracts(baseline):
        for number in range(200):
            items = {key: rank[number : number + 1] for key in (names.RANK, names.POPULARITY_RANK)}
            scenes = {names.of_scene(key): ranks[number : number + 1] for key, ranks in of_scene.items()}
            sizes = {
                names.CATALOGUE_SIZE: np.array([999]),
                names.of_scene(names.CATALOGUE_SIZE): np.array([size]),
            }
            candidate = {**items, **scenes, **sizes}
            before = (
                {**candidate, names.of_scene(names.RANK): live[number : number + 1]} if baseline else items
            )
            yield {
                tfma.PREDICTIONS_KEY: {"candidate": candidate, "baseline": before},
                tfma.FEATURES_KEY: {names.USER_ID: np.array([f"u{number}"], dtype=object)},
            }

    asked = {"cutoffs": [3, 20], "scenes": True, "gate_metric": "scene_hr@3", "confidence": 0.95}
    config = _config(("candidate", "baseline"), "baseline", **asked)
    with_live, without = (_run(config, extracts(baseline)) for baseline in (True, False))

    def expected(found):
        return rank_lib.values(rank_lib.or_infinite(found, size), [3, 20]).mean(axis=0)

    for place, name in enumerate(spec.scene_metrics([3, 20])):
        value, floor = expected(scene)[place], expected(of_popularity)[place]
        for result in (with_live, without):
            assert float(result["candidate", name, False]) == pytest.approx(value)
            assert float(result["candidate", f"lift/{name}", False]) == pytest.approx(value - floor)
        assert float(with_live["candidate", name, True]) == pytest.approx(value - expected(live)[place])
        # A live model that ranks no scenes has none of it, and what it does rank is compared.
        assert np.isnan(float(without["candidate", name, True]))
        assert (
            without["candidate", "gate/scene_hr@3", True]
            == 0
            == without["candidate", "slice/scene_hr@3", True]
        )
    assert float(without["candidate", "hr@3", True]) == 0
    assert ("candidate", "gate/lift/scene_hr@3", False) in with_live


@pytest.mark.parametrize("found", [[0, 0], [], [2, -1]])
def test_a_period_without_an_item_is_told(found):
    asked = rank_metrics.Asked((), sampled=False, period=(5,))
    outputs = {names.RANK: np.array([1]), names.of_period(names.RANK): np.array([found])}
    with pytest.raises(ValueError, match="period_rank has ranks from 1 on of at least one item, found"):
        asked.of(outputs)
