"""From the settings to TFMA's configuration."""

import json

import pydantic
import pytest
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import proto_utils

from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.behavior_example_gen.windows.next import NextWindow
from components.behavior_example_gen.windows.period import PeriodWindow
from components.evaluator import config, spec
from schemas import errors


def _eval_config(evaluation, gate, window=None):
    objective = "labels" if window else "ranking"
    return config.eval_config(evaluation, gate, objective, window or NextWindow())


def _thresholds(eval_config):
    """(metric, feature or None) -> threshold."""
    (metrics_spec,) = eval_config.metrics_specs
    return {
        (name, next(iter(slicing.feature_keys), None)): item.threshold
        for name, thresholds in metrics_spec.per_slice_thresholds.items()
        for item in thresholds.thresholds
        for slicing in item.slicing_specs
    }


def test_conditions_become_thresholds():
    gate = spec.GateSpec(
        min={"hr@5": 0.1},
        min_lift_over_floor=0.02,
        max_drop=0.003,
        metric="ndcg@20",
        slices=("user_status",),
    )
    thresholds = _thresholds(_eval_config(spec.EvaluationSpec(), gate))
    assert thresholds["hr@5", None].value_threshold.lower_bound.value == 0.1
    for name, feature in (("gate/lift/ndcg@20", None), ("slice/lift/ndcg@20", "user_status")):
        assert thresholds[name, feature].value_threshold.lower_bound.value == 0.02
    for name, feature in (("gate/ndcg@20", None), ("slice/ndcg@20", "user_status")):
        assert thresholds[name, feature].change_threshold.absolute.value == -0.003
        assert (
            thresholds[name, feature].change_threshold.direction
            == config_pb2.MetricDirection.HIGHER_IS_BETTER
        )


def test_a_gate_without_conditions_is_still_checked():
    gate = spec.GateSpec(min_lift_over_floor=None, max_drop=None, min_examples=0)
    thresholds = _thresholds(_eval_config(spec.EvaluationSpec(), gate))
    assert set(thresholds) == {("example_count", None)}
    assert thresholds["example_count", None].value_threshold.lower_bound.value == 0


def _settings(eval_config):
    (metrics_spec,) = eval_config.metrics_specs
    return json.loads(metrics_spec.metrics[0].config)


def test_the_default_gate():
    eval_config = _eval_config(spec.EvaluationSpec(), spec.GateSpec())
    thresholds = _thresholds(eval_config)
    assert set(thresholds) == {
        ("example_count", None),
        ("gate/lift/ndcg@10", None),
        ("gate/ndcg@10", None),
    }
    assert thresholds["example_count", None].value_threshold.lower_bound.value == 100
    # Equal to the floor is not above it.
    assert 0 < thresholds["gate/lift/ndcg@10", None].value_threshold.lower_bound.value < 1e-8
    assert _settings(eval_config)["confidence"] == 0.95
    for off in (0, None):
        assert (
            _settings(_eval_config(spec.EvaluationSpec(), spec.GateSpec(confidence=off)))["confidence"]
            is None
        )


def test_floors_that_fit_the_settings():
    found = _settings(_eval_config(spec.EvaluationSpec(), spec.GateSpec()))["floors"]
    assert found == ["popularity", "recent_popularity"]
    found = _settings(_eval_config(spec.EvaluationSpec(exclude_seen=False), spec.GateSpec()))["floors"]
    assert found == ["popularity", "recent_popularity", "own_frequent", "own_recent"]


def test_the_lift_is_known_by_its_former_name():
    former = spec.GateSpec.from_values({"min_lift_over_popularity": 0.02, "max_drop": None})
    assert former.min_lift_over_floor == 0.02 and former.max_drop is None
    assert "min_lift_over_popularity" not in former.to_json()
    assert spec.GateSpec.from_values({"min_lift_over_popularity": None}).min_lift_over_floor is None
    assert spec.GateSpec.from_json(former.to_json()) == former
    # Not both.
    with pytest.raises(pydantic.ValidationError, match="min_lift_over_popularity\n  Extra inputs"):
        spec.GateSpec.from_values({"min_lift_over_popularity": 0.02, "min_lift_over_floor": 0.02})


@pytest.mark.parametrize(
    "key, value",
    [
        ("confidence", 1),
        ("confidence", -0.1),
        ("confidence", "high"),
        ("min_examples", -1),
        ("min_positives", 0.5),
    ],
)
def test_wrong_settings_of_the_gate_are_named(key, value):
    with pytest.raises(pydantic.ValidationError, match=key):
        spec.GateSpec.from_values({key: value})


def test_models_and_slices():
    eval_config = _eval_config(spec.EvaluationSpec(slices=("item_frequency",)), spec.GateSpec())
    assert [(model.name, model.signature_name, model.is_baseline) for model in eval_config.model_specs] == [
        ("candidate", "evaluate", False),
        ("baseline", "evaluate", True),
    ]
    assert [list(slicing.feature_keys) for slicing in eval_config.slicing_specs] == [[], ["item_frequency"]]


def test_equal_settings_give_equal_text():
    """The orchestrator caches by the text of the configuration."""
    texts = {
        proto_utils.proto_to_json(
            _eval_config(spec.EvaluationSpec(cutoffs=cutoffs), spec.GateSpec(min={"mrr": 0.1, "hr@5": 0.2}))
        )
        for cutoffs in ((5, 10), (10, 5, 10))
    }
    assert len(texts) == 1


def test_a_gate_without_lift_and_drop_has_no_metric_that_would_have_to_be_measured():
    evaluation = spec.EvaluationSpec(cutoffs=(5,))
    open_gate = {"min_lift_over_floor": None, "max_drop": None, "min": {"ndcg@5": 0.01}}
    found = _eval_config(evaluation, spec.GateSpec(**open_gate))
    (metric,) = [one for of in found.metrics_specs for one in of.metrics]
    assert json.loads(metric.config)["gate_metric"] is None
    with pytest.raises(errors.InputError, match="gate.metric: found ndcg@10, which is not measured"):
        _eval_config(evaluation, spec.GateSpec(**{**open_gate, "max_drop": 0.01}))


def test_sampled_metrics_only_where_asked():
    plain = _eval_config(spec.EvaluationSpec(), spec.GateSpec())
    assert "sampled" not in proto_utils.proto_to_json(plain)
    evaluation = spec.EvaluationSpec(sampled_negatives=99)
    asked = _eval_config(evaluation, spec.GateSpec(min={"sampled99_hr@5": 0.3}))
    assert _thresholds(asked)["sampled99_hr@5", None].value_threshold.lower_bound.value == 0.3
    with pytest.raises(errors.InputError, match="gate.min: found sampled100_mrr, which is not measured"):
        _eval_config(evaluation, spec.GateSpec(min={"sampled100_mrr": 0.3}))
    # What is compared with popularity and the live model is never a sampled metric.
    for metric in ("sampled99_ndcg@10", "ndcg@50"):
        with pytest.raises(errors.InputError, match=f"gate.metric: found {metric}, .*allowed: hr@5.* mrr"):
            _eval_config(evaluation, spec.GateSpec(metric=metric))


@pytest.mark.parametrize("value", [0, -1, 9.5, True])
def test_negatives_are_a_positive_number(value):
    with pytest.raises(pydantic.ValidationError, match="sampled_negatives"):
        spec.EvaluationSpec.from_values({"sampled_negatives": value})


@pytest.mark.parametrize(
    "gate, message",
    [
        (
            {"min": {"ndcg@7": 0.1}},
            r"gate.min: found ndcg@7, which is not measured; allowed: hr@5, .*ndcg@10.*evaluation.cutoffs",
        ),
        ({"min": {"auc": 0.1}}, "gate.min: found auc, which is not measured"),
        (
            {"min": {"sampled99_ndcg@10": 0.1}},
            "sampled99_ndcg@10, which is not measured.*sampled ones through evaluation.sampled_negatives",
        ),
        ({"metric": "hr@50"}, "gate.metric: found hr@50, which is not measured"),
        (
            {"slices": ("item_frequency",)},
            r"gate.slices: found item_frequency, which is not in evaluation.slices \(user_status\)",
        ),
    ],
)
def test_conditions_on_what_is_not_measured(gate, message):
    evaluation = spec.EvaluationSpec(cutoffs=(5, 10), slices=("user_status",))
    with pytest.raises(errors.InputError, match=message):
        _eval_config(evaluation, spec.GateSpec(**gate))


_EXPOSURES = ExposureWindow(kind="exposure", steps=("cart", "buy"))


def test_conditions_on_exposures_become_thresholds():
    gate = spec.GateSpec(
        min={"auc/buy": 0.7, "calibration/buy": 0.8},
        max={"calibration/buy": 1.25, "chain_violations": 0.01},
        min_lift_over_base_rate=0.001,
        metric="log_loss/buy",
        max_drop=0.002,
        slices=("user_status",),
    )
    thresholds = _thresholds(_eval_config(spec.EvaluationSpec(), gate, _EXPOSURES))
    assert thresholds["auc/buy", None].value_threshold.lower_bound.value == 0.7
    both = thresholds["calibration/buy", None].value_threshold
    assert (both.lower_bound.value, both.upper_bound.value) == (0.8, 1.25)
    top = thresholds["chain_violations", None].value_threshold
    assert top.upper_bound.value == 0.01 and not top.HasField("lower_bound")
    for step in ("cart", "buy"):
        assert thresholds[f"rarer_labels/{step}", None].value_threshold.lower_bound.value == 50
        for key in ((f"gate/lift/log_loss/{step}", None), (f"slice/lift/log_loss/{step}", "user_status")):
            assert thresholds[key].value_threshold.lower_bound.value == 0.001
    for key in (("gate/log_loss/buy", None), ("slice/log_loss/buy", "user_status")):
        assert thresholds[key].change_threshold.absolute.value == 0.002
        assert thresholds[key].change_threshold.direction == config_pb2.MetricDirection.LOWER_IS_BETTER


def test_the_default_gate_of_exposures():
    thresholds = _thresholds(_eval_config(spec.EvaluationSpec(), spec.GateSpec(), _EXPOSURES))
    assert {name for name, _ in thresholds} == {
        "example_count",
        "rarer_labels/cart",
        "rarer_labels/buy",
        "gate/lift/log_loss/cart",
        "gate/lift/log_loss/buy",
        "gate/auc",
    }
    assert thresholds["gate/auc", None].change_threshold.absolute.value == -0.005
    assert 0 < thresholds["gate/lift/log_loss/cart", None].value_threshold.lower_bound.value < 1e-8


@pytest.mark.parametrize(
    "gate, message",
    [
        (
            {"min": {"ndcg@10": 0.1}},
            "gate.min: found ndcg@10, which is not measured; allowed: auc, .*auc/buy",
        ),
        ({"max": {"ece/click": 0.1}}, "gate.max: found ece/click, which is not measured"),
        (
            {"metric": "calibration/buy"},
            "gate.metric: found calibration/buy, which has no better direction",
        ),
        ({"min": {"auc": 0.9}, "max": {"auc": 0.8}}, "gate.max: found 0.8 for auc, .* at least 0.9"),
        (
            {"min_lift_over_popularity": 0.01},
            "gate.min_lift_over_floor: found 0.01 with a model of labels, where the floor is "
            "gate.min_lift_over_base_rate",
        ),
    ],
)
def test_conditions_that_exposures_do_not_have(gate, message):
    with pytest.raises(errors.InputError, match=message):
        _eval_config(spec.EvaluationSpec(), spec.GateSpec(**gate), _EXPOSURES)


def test_conditions_that_windows_of_targets_do_not_have():
    gate = spec.GateSpec(min_lift_over_base_rate=0.01)
    with pytest.raises(
        errors.InputError, match="gate.min_lift_over_base_rate: found 0.01 with a model of ranking"
    ):
        _eval_config(spec.EvaluationSpec(), gate)
    one = ExposureWindow(kind="exposure", steps=("buy",))
    several = ExposureWindow(kind="exposure", steps=("like", "share"), chain=False)
    for window in (one, several):
        for key in ("min", "max"):
            asked = (
                f"gate.{key}: found chain_violations, which is not measured; .* where window.chain is true"
            )
            with pytest.raises(errors.InputError, match=asked):
                _eval_config(spec.EvaluationSpec(), spec.GateSpec(**{key: {"chain_violations": 0.1}}), window)


def test_the_metrics_are_told_that_labels_are_no_chain():
    """And nothing of a chain, so that its evaluations stay what they were."""

    def told(**settings):
        window = ExposureWindow(kind="exposure", steps=("cart", "buy"), **settings)
        found = _eval_config(spec.EvaluationSpec(), spec.GateSpec(), window)
        return json.loads(found.metrics_specs[0].metrics[0].config), _thresholds(found)

    of_chain, thresholds = told()
    assert "chain" not in of_chain
    assert told(chain=False) == ({**of_chain, "chain": False}, thresholds)


_PERIOD = PeriodWindow(kind="period", past="1d", future="1h")


def test_candidates_only_where_asked():
    gate = spec.GateSpec()
    found = config.eval_config(spec.EvaluationSpec(candidates_within="24h"), gate, "ranking", _PERIOD)
    assert _settings(found)["candidates_within"] == 86_400
    found = config.eval_config(spec.EvaluationSpec(), gate, "ranking", _PERIOD)
    assert "candidates_within" not in _settings(found)


@pytest.mark.parametrize(
    "objective, window, more, message",
    [
        (
            "ranking",
            NextWindow(),
            {},
            r"with window\.kind: next, whose windows have no moments .*; period has",
        ),
        ("ranking", _EXPOSURES, {}, r"with window\.kind: exposure, whose windows"),
        ("labels", _EXPOSURES, {}, "with a model of labels; only models of ranking have candidates"),
        ("user_embedding", _PERIOD, {}, "with a model of user_embedding; only"),
        (
            "ranking",
            _PERIOD,
            {"sampled_negatives": 99},
            r"with evaluation\.sampled_negatives: 99, which draws",
        ),
    ],
)
def test_candidates_that_there_are_not(objective, window, more, message):
    evaluation = spec.EvaluationSpec(candidates_within="12h", **more)
    with pytest.raises(errors.InputError, match=rf"^evaluation\.candidates_within: found 43200 s {message}"):
        config.eval_config(evaluation, spec.GateSpec(), objective, window)
