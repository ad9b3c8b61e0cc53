"""Whether the gate asks for what is measured."""

from typing import Any

from components.evaluator import objectives, spec
from components.evaluator.objectives import objective as objective_lib
from schemas import errors, settings


def check(
    evaluation: spec.EvaluationSpec, gate: spec.GateSpec, name: str, window: Any, scenes: bool = False
) -> None:
    """Checks that the gate asks for what is measured.

    Args:
      evaluation, gate, window: settings of an experiment.
      name: of the objective.
      scenes: whether the model ranks scenes, too.

    Raises:
      errors.InputError: for a condition on a metric or slice that is not, or of another objective; for candidates
        that there are not.
    """
    objective = objectives.get(name)
    _check_candidates(evaluation, objective, window)
    measured, compared = (ask(evaluation, window, scenes) for ask in (objective.measured, objective.compared))
    for key, wanted, allowed in (
        ("gate.min", gate.min, measured),
        ("gate.max", gate.max, measured),
        ("gate.metric", [objective.gate_metric(gate)] if uses_metric(gate, objective) else [], compared),
    ):
        for metric in wanted:
            if metric not in allowed:
                if metric not in measured:
                    why = "which is not measured"
                elif metric.startswith(spec.SAMPLED_PREFIX):
                    why = "which is only for comparison with papers"
                else:
                    why = "which has no better direction"
                raise errors.InputError(
                    f"{key}: found {metric}, {why}; allowed: {', '.join(allowed)}"
                    + (objective.hint if metric not in measured else "")
                )
    _check_reachable(gate, objective)
    for metric in set(gate.min) & set(gate.max):
        if gate.min[metric] > gate.max[metric]:
            raise errors.InputError(
                f"gate.max: found {gate.max[metric]:g} for {metric}, which gate.min asks to be at least "
                f"{gate.min[metric]:g}"
            )
    # Written out, an experiment names the defaults of other objectives, too.
    for other in objectives.OBJECTIVES.values():
        found = getattr(gate, other.lift)
        if other.lift != objective.lift and found not in (None, spec.NO_LIFT):
            raise errors.InputError(
                f"gate.{other.lift}: found {found:g} with a model of {name}, where the floor is "
                f"gate.{objective.lift}"
            )
    for feature in gate.slices:
        if feature not in evaluation.slices:
            raise errors.InputError(
                f"gate.slices: found {feature}, which is not in evaluation.slices "
                f"({', '.join(evaluation.slices) or 'empty'})"
            )


def reads(
    evaluation: spec.EvaluationSpec, gate: spec.GateSpec, name: str, window: Any
) -> tuple[settings.Reads, ...]:
    """Which settings the objective of a model decides on; see `settings.Settings.reads`.

    Args:
      evaluation, gate, window: settings of an experiment.
      name: of the objective.
    """
    objective = objectives.get(name)
    lift_or_drop = f"gate.{objective.lift} or gate.max_drop"
    of_metric = objective.lift == spec.LIFT_OVER_FLOOR
    return (
        *(
            settings.Reads((key,), other.name == name, other.models)
            for other in objectives.OBJECTIVES.values()
            for key in other.own
            if not key.startswith("window.") or hasattr(window, key.partition(".")[2])
        ),
        settings.Reads(
            ("gate.metric",),
            uses_metric(gate, objective),
            lift_or_drop if of_metric else "gate.max_drop",
        ),
        settings.Reads(("gate.confidence", "gate.slices"), asks_for_change(gate, objective), lift_or_drop),
    )


def asks_for_change(gate: spec.GateSpec, objective: objective_lib.Objective) -> bool:
    """Whether the gate asks for a lift or a drop, whatever of."""
    return gate.max_drop is not None or getattr(gate, objective.lift) is not None


def uses_metric(gate: spec.GateSpec, objective: objective_lib.Objective) -> bool:
    """Whether the gate asks for a lift or a drop of its metric."""
    of_metric = objective.lift == spec.LIFT_OVER_FLOOR
    return gate.max_drop is not None or of_metric and asks_for_change(gate, objective)


def _check_reachable(gate: spec.GateSpec, objective: objective_lib.Objective) -> None:
    """Refuses what no model can reach.

    Raises:
      errors.InputError: naming the bound of the metric.
    """
    for metric, least in gate.min.items():
        highest = spec.metric_range(metric)[1]
        if least > highest:
            raise errors.InputError(
                f"gate.min: found {least:g} for {metric}, which is {highest:g} at most: no model would be blessed"
            )
    for metric, most in gate.max.items():
        lowest = spec.metric_range(metric)[0]
        if most < lowest:
            raise errors.InputError(
                f"gate.max: found {most:g} for {metric}, which is {lowest:g} at least: no model would be blessed"
            )
    lift = getattr(gate, objective.lift)
    if lift is not None and lift > objective.highest_lift:
        raise errors.InputError(
            f"gate.{objective.lift}: found {lift:g}, and no model exceeds a floor by more than "
            f"{objective.highest_lift:.3g}: none would be blessed"
        )


def _check_candidates(
    evaluation: spec.EvaluationSpec, objective: objective_lib.Objective, window: Any
) -> None:
    """Checks that candidates go with what is ranked.

    Raises:
      errors.InputError: if they do not.
    """
    if evaluation.candidates_within is None:
        return
    key = f"evaluation.candidates_within: found {evaluation.candidates_within:g} s with"
    if not objective.ranks:
        raise errors.InputError(f"{key} a model of {objective.name}; only models of ranking have candidates")
    if not window.has_moments:
        raise errors.InputError(
            f"{key} window.kind: {window.kind}, whose windows have no moments to be seen before; period has"
        )
    if evaluation.sampled_negatives is not None:
        raise errors.InputError(
            f"{key} evaluation.sampled_negatives: {evaluation.sampled_negatives}, which draws from the whole "
            "catalogue: leave one of the two out"
        )
