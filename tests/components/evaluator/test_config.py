"""From the settings to TFMA's configuration."""

import pytest
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import proto_utils

from components.behavior_example_gen import spec as window_spec
from components.evaluator import config, spec
from schemas import errors


def _eval_config(evaluation, gate, window=window_spec.NextWindow()):
    return config.eval_config(evaluation, gate, window)


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
        min_lift_over_popularity=0.02,
        max_drop=0.003,
        metric="ndcg@20",
        slices=("user_status",),
    )
    thresholds = _thresholds(_eval_config(spec.EvaluationSpec(), gate))
    assert thresholds["hr@5", None].value_threshold.lower_bound.value == 0.1
    for name, feature in (("lift/ndcg@20", None), ("gate/lift/ndcg@20", "user_status")):
        assert thresholds[name, feature].value_threshold.lower_bound.value == 0.02
    for name, feature in (("ndcg@20", None), ("gate/ndcg@20", "user_status")):
        assert thresholds[name, feature].change_threshold.absolute.value == -0.003
        assert (
            thresholds[name, feature].change_threshold.direction
            == config_pb2.MetricDirection.HIGHER_IS_BETTER
        )


def test_a_gate_without_conditions_is_still_checked():
    gate = spec.GateSpec(min_lift_over_popularity=None, max_drop=None)
    eval_config = _eval_config(spec.EvaluationSpec(), gate)
    assert set(_thresholds(eval_config)) == {("example_count", None)}


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


@pytest.mark.parametrize(
    "gate, message",
    [
        (
            {"min": {"ndcg@7": 0.1}},
            r"gate.min: found ndcg@7, which is not measured; allowed: hr@5, .*ndcg@10.*evaluation.cutoffs",
        ),
        ({"min": {"auc": 0.1}}, "gate.min: found auc, which is not measured"),
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
