"""The TFMA metrics of users' embeddings against `schemas.embeddings` and NumPy, and what the gate asks of them."""

import json

import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import bootstrap, checks, config, embedding_metrics, gating, objectives, spec
from schemas import embeddings, errors, names
from tests import uninformative

USERS, MODELS = 60, ("candidate", "baseline")


def computation(**settings):
    asked = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(name=name, is_baseline=name == "baseline") for name in MODELS],
        metrics_specs=[
            config_pb2.MetricsSpec(
                model_names=list(MODELS),
                metrics=[
                    config_pb2.MetricConfig(
                        class_name="EmbeddingMetrics",
                        module="components.evaluator.embedding_metrics",
                        config=json.dumps(settings),
                    )
                ],
            )
        ],
    )
    (found,) = metric_specs.to_computations(asked.metrics_specs, eval_config=asked)
    return found


@pytest.fixture(scope="module")
def examples():
    """Two windows of each user: the candidate embeds by what follows, the baseline by chance."""
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.integers(0, 4, USERS), 2)
    following = [5 * group + 1 + rng.integers(0, 5, 3) for group in groups]
    candidate = np.eye(4)[groups] + 0.05 * rng.normal(size=[2 * USERS, 4])
    return np.repeat(np.arange(USERS), 2), following, (candidate, rng.normal(size=[2 * USERS, 3]))


def extracts(users, following, vectors):
    for n, user in enumerate(users):
        padded = np.concatenate([following[n], [names.NOTHING_FOLLOWS]])
        yield {
            tfma.PREDICTIONS_KEY: {
                model: {names.EMBEDDING: of_model[n], names.FOLLOWING: padded}
                for model, of_model in zip(MODELS, vectors)
            },
            tfma.FEATURES_KEY: {
                names.USER_ID: np.array([f"u{user}"], object),
                names.MOMENT: np.array([n % 2]),
            },
        }


def run(examples, parts=3, **settings):
    found = computation(**settings)
    accumulators = [found.combiner.create_accumulator() for _ in range(parts)]
    for n, extract in enumerate(extracts(*examples)):
        for element in found.preprocessors[0].process(extract):
            accumulators[n % parts] = found.combiner.add_input(accumulators[n % parts], element)
    result = found.combiner.extract_output(found.combiner.merge_accumulators(accumulators))
    assert set(result) == set(found.keys)
    return {(key.model_name, key.name, key.is_diff): value for key, value in result.items()}


def test_values_are_those_of_all_examples_on_any_number_of_workers(examples):
    users, following, vectors = examples
    for parts in (1, 3):
        found = run(examples, parts)
        for model, of_model in zip(MODELS, vectors):
            agreements = embeddings.Agreements(of_model, users, following)
            nearest, of_all = agreements.nearest, agreements.of_all
            assert found[model, "neighbor_agreement", False] == pytest.approx(nearest.mean())
            assert found[model, "effective_rank", False] == pytest.approx(embeddings.effective_rank(of_model))
            assert found[model, "spread", False] == pytest.approx(embeddings.spread(of_model))
            assert found[model, "example_count", False] == 2 * USERS
        assert found["candidate", "random/neighbor_agreement", False] == pytest.approx(of_all.mean())
        candidate, baseline = (found[model, "neighbor_agreement", False] for model in MODELS)
        assert found["candidate", "lift/neighbor_agreement", False] == pytest.approx(
            candidate - of_all.mean()
        )
        assert found["candidate", "neighbor_agreement", True] == pytest.approx(candidate - baseline)
        assert candidate > 2 * baseline


def test_intervals_and_what_the_gate_sees(examples):
    users, following, (vectors, _) = examples
    found = run(examples, intervals=True, gate_metric="neighbor_agreement", confidence=0.95)
    value = found["candidate", "neighbor_agreement", False]
    agreements = embeddings.Agreements(vectors, users, following)
    hashes = np.array(
        [bootstrap.user_hash(one) for one in extracts(users, following, (vectors, vectors))], np.uint64
    )
    means = agreements.nearest_means(bootstrap.poisson_weights(hashes))
    assert value.sample_mean == pytest.approx(agreements.nearest.mean())
    assert value.sample_standard_deviation == pytest.approx(means.std(ddof=1))
    lift = (agreements.nearest - agreements.of_all).mean()
    assert 0 < found["candidate", "gate/lift/neighbor_agreement", False] < lift
    assert found["candidate", "slice/lift/neighbor_agreement", False] > lift
    # Better than the live model beyond chance.
    assert found["candidate", "gate/neighbor_agreement", True] == 0.0
    few = run(examples, gate_metric="neighbor_agreement", min_slice_examples=1000)
    assert few["candidate", "slice/lift/neighbor_agreement", False] == np.inf


def test_a_slice_where_no_two_users_have_an_item_in_common_decides_nothing(examples):
    users, following, vectors = examples
    apart = [np.array([1000 + number]) for number in range(len(following))]
    found = run((users, apart, vectors), gate_metric="neighbor_agreement", confidence=0.95)
    assert float(found["candidate", "lift/neighbor_agreement", False]) == 0.0
    assert found["candidate", "slice/lift/neighbor_agreement", False] == np.inf
    # The whole split must show what is asked all the same.
    assert found["candidate", "gate/lift/neighbor_agreement", False] == 0.0


def test_the_error_of_a_difference_is_of_its_size():
    """Agreements are some hundredths: a user that is imagined to agree in all would hide any lift."""
    rng = np.random.default_rng(0)
    values, weights = rng.normal(0.3, 1.0, 300), rng.poisson(1.0, (300, 200))
    sizes = weights.sum(axis=0)

    def found(scale):
        return embedding_metrics._Means(scale * values, scale * (values @ weights) / sizes)

    large, small = (embedding_metrics._estimate(found(scale), sizes, True) for scale in (1.0, 0.01))
    assert small.error == pytest.approx(large.error / 100)
    plain = embedding_metrics._estimate(found(1.0), sizes)
    imagined = 2 * (np.abs(values).max() / 300) ** 2
    assert large.error**2 - plain.error**2 == pytest.approx(imagined, rel=0.3)
    # A lift of a third of a standard deviation shows on 300 users, whatever its size.
    assert small.value / small.error == pytest.approx(large.value / large.error)
    assert small.value / small.error > 3


def test_a_model_that_is_no_better_is_rarely_shown_to_be():
    """Vectors that tell nothing, but have a direction in common, so that some users are near to all others."""
    passed, gate = 0, gating.Gate("neighbor_agreement", 50, 0.95)
    for seed in range(60):
        users, vectors, sets = uninformative.embeddings(1000 * seed)
        weights = bootstrap.poisson_weights(users)
        found = embeddings.Agreements(vectors, users, sets)
        nearest = embedding_metrics._Means(found.nearest, found.nearest_means(weights))
        of_all = embedding_metrics._Means(found.of_all, found.of_all_means(weights))
        passed += gate.lift(embedding_metrics._estimate(nearest.above(of_all), weights.sum(axis=0), True)) > 0
    # Where only whose neighbours they are is weighed, ten of them are.
    assert passed <= 3


def test_a_sample_is_the_same_on_any_number_of_workers(examples, monkeypatch):
    monkeypatch.setattr(embeddings, "MOST", 30)
    one, two = (run(examples, parts) for parts in (1, 4))
    key = ("candidate", "neighbor_agreement", False)
    assert one[key] == two[key] and one["candidate", "example_count", False] == 2 * USERS
    monkeypatch.undo()
    assert one[key] != run(examples)[key]


def test_other_signatures_are_named():
    preprocessor = embedding_metrics._Preprocessor(("",))
    with pytest.raises(ValueError, match=r"must give embedding and following, found \['rank'\]"):
        list(preprocessor.process({tfma.PREDICTIONS_KEY: {"rank": np.array([1])}}))
    with pytest.raises(ValueError, match="gate_metric must be neighbor_agreement, found spread"):
        embedding_metrics.EmbeddingMetrics(gate_metric="spread")


def test_the_gate_asks_for_what_is_measured():
    evaluation, window = spec.EvaluationSpec(), None
    gate = spec.GateSpec(min={"effective_rank": 3.0}, max={"spread": 1.0}, min_lift_over_floor=0.01)
    found = config.eval_config(evaluation, gate, "user_embedding", window)
    (metrics_spec,) = found.metrics_specs
    thresholds = metrics_spec.per_slice_thresholds
    assert {"effective_rank", "spread", "gate/lift/neighbor_agreement", "gate/neighbor_agreement"} < set(
        thresholds
    )
    assert objectives.of_metrics("components.evaluator.embedding_metrics", "EmbeddingMetrics")
    for wrong, message in (
        (spec.GateSpec(min={"ndcg@10": 0.1}), "ndcg@10, which is not measured; allowed: neighbor_agreement"),
        (spec.GateSpec(metric="spread"), "spread, which has no better direction"),
    ):
        with pytest.raises(errors.InputError, match=message):
            checks.check(evaluation, wrong, "user_embedding", window)
