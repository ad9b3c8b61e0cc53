"""What is said of models that give probabilities of labels."""

from collections.abc import Sequence
from typing import Any

from components.evaluator import spec
from pipeline.reporting import axes, words


def note(found: Any) -> str:
    """How an evaluation (`verdict.Verdict`) has measured."""
    return "Of examples whose label is known; a metric without the name of one is the mean over labels."


def metrics(found: Any) -> list[str]:
    """The metrics of an evaluation (`verdict.Verdict`) in order: means first, then those of each step."""
    return [
        name for name in spec.conversion_metrics(found.steps, found.chain) if name in found.overall.candidate
    ]


def steps(found: Any) -> list[dict[str, Any]]:
    """What is known of each step on the whole split."""
    return [_step(step, found) for step in found.steps]


def outcome(found: Any, noun: str) -> list[str]:
    """The main metrics of each step in lines for a terminal.

    Args:
      found: the evaluation.
      noun: what its examples are called.
    """
    return [_line(step, found.overall, noun) for step in found.steps]


def _line(step: str, overall: Any, noun: str) -> str:
    labels = overall.labels[step]
    return (
        f"auc/{step}: {words.estimate(overall.candidate[f'auc/{step}'])}, log loss "
        f"{words.estimate(overall.candidate[f'log_loss/{step}'])} on {labels.known:,} test {noun}, "
        f"{labels.positive:,} of them positive"
    )


def _step(step: str, found: Any) -> dict[str, Any]:
    """What is known of one step on the whole split."""
    overall = found.overall
    candidate, loss = overall.candidate, overall.candidate[f"log_loss/{step}"].value
    return {
        "name": step,
        "labels": overall.labels[step],
        **{
            metric: candidate[f"{metric}/{step}"]
            for metric in ("positive_rate", "auc", "auc_pr", "log_loss", "ece", "calibration")
        },
        # Evaluations of earlier versions have none.
        "ks": candidate.get(f"ks/{step}"),
        "base_loss": loss + overall.lift[f"log_loss/{step}"].value,
        "live_auc": overall.baseline[f"auc/{step}"] if found.has_baseline else None,
        "improvement": overall.improvement.get(step),
        "curve": _calibration(overall.curves.get(step, ())),
    }


def _calibration(bins: Sequence[Any]) -> dict[str, Any] | None:
    """Geometry of a calibration curve, 480 by 330; None where there is too little to draw."""
    if len(bins) < 2:
        return None
    left, right, top, bottom = 58.0, 468.0, 14.0, 284.0
    reached = [each.predicted for each in bins]
    reached += [each.observed.value if each.observed.high is None else each.observed.high for each in bins]
    marked = axes.ticks(0.0, max(reached), 6)

    def x(value: float) -> float:
        return round(left + value / marked[-1] * (right - left), 1)

    def y(value: float) -> float:
        return round(bottom - value / marked[-1] * (bottom - top), 1)

    return {
        "frame": (left, right, top, bottom),
        "ticks": [(x(tick), y(tick), f"{tick:g}") for tick in marked],
        "dots": [
            {
                "x": x(each.predicted),
                "y": y(each.observed.value),
                "low": None if each.observed.low is None else y(each.observed.low),
                "high": None if each.observed.high is None else y(each.observed.high),
                "bin": each,
            }
            for each in bins
        ],
        "path": " ".join(f"{x(each.predicted)},{y(each.observed.value)}" for each in bins),
    }
