"""From the settings to TFMA's configuration."""

import pydantic
import pytest
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import proto_utils

from components.evaluator import config, spec
from schemas import errors


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
    thresholds = _thresholds(config.eval_config(spec.EvaluationSpec(), gate))
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
    eval_config = config.eval_config(spec.EvaluationSpec(), gate)
    assert set(_thresholds(eval_config)) == {("example_count", None)}


def test_models_and_slices():
    eval_config = config.eval_config(spec.EvaluationSpec(slices=("item_frequency",)), spec.GateSpec())
    assert [(model.name, model.signature_name, model.is_baseline) for model in eval_config.model_specs] == [
        ("candidate", "evaluate", False),
        ("baseline", "evaluate", True),
    ]
    assert [list(slicing.feature_keys) for slicing in eval_config.slicing_specs] == [[], ["item_frequency"]]


def test_equal_settings_give_equal_text():
    """The orchestrator caches by the text of the configuration."""
    texts = {
        proto_utils.proto_to_json(
            config.eval_config(
                spec.EvaluationSpec(cutoffs=cutoffs), spec.GateSpec(min={"mrr": 0.1, "hr@5": 0.2})
            )
        )
        for cutoffs in ((5, 10), (10, 5, 10))
    }
    assert len(texts) == 1


def test_sampled_metrics_only_where_asked():
    plain = config.eval_config(spec.EvaluationSpec(), spec.GateSpec())
    assert "sampled" not in proto_utils.proto_to_json(plain)
    evaluation = spec.EvaluationSpec(sampled_negatives=99)
    asked = config.eval_config(evaluation, spec.GateSpec(min={"sampled99_hr@5": 0.3}))
    assert _thresholds(asked)["sampled99_hr@5", None].value_threshold.lower_bound.value == 0.3
    with pytest.raises(errors.InputError, match="gate.min: sampled100_mrr is not measured"):
        config.eval_config(evaluation, spec.GateSpec(min={"sampled100_mrr": 0.3}))
    # What is compared with popularity and the live model is never a sampled metric.
    with pytest.raises(pydantic.ValidationError, match="metric"):
        spec.GateSpec(metric="sampled99_ndcg@10")
    with pytest.raises(errors.InputError, match="gate.metric: ndcg@50 is not measured; allowed: hr@5.* mrr "):
        config.eval_config(evaluation, spec.GateSpec(metric="ndcg@50"))


@pytest.mark.parametrize("value", [0, -1, 9.5, True])
def test_negatives_are_a_positive_number(value):
    with pytest.raises(pydantic.ValidationError, match="sampled_negatives"):
        spec.EvaluationSpec.from_values({"sampled_negatives": value})


@pytest.mark.parametrize(
    "gate, message",
    [
        (
            {"min": {"ndcg@7": 0.1}},
            r"gate.min: ndcg@7 is not measured; allowed: hr@5, .*ndcg@10.*evaluation.cutoffs",
        ),
        ({"min": {"auc": 0.1}}, "gate.min: auc is not measured"),
        (
            {"min": {"sampled99_ndcg@10": 0.1}},
            "sampled99_ndcg@10 is not measured.*sampled ones through evaluation.sampled_negatives",
        ),
        ({"metric": "hr@50"}, "gate.metric: hr@50 is not measured"),
        (
            {"slices": ("item_frequency",)},
            r"gate.slices: item_frequency is not in evaluation.slices \(user_status\)",
        ),
    ],
)
def test_conditions_on_what_is_not_measured(gate, message):
    evaluation = spec.EvaluationSpec(cutoffs=(5, 10), slices=("user_status",))
    with pytest.raises(errors.InputError, match=message):
        config.eval_config(evaluation, spec.GateSpec(**gate))
