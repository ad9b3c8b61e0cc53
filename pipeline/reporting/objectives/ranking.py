"""What is said of models that rank items."""

from typing import Any

from components.evaluator import spec
from pipeline.reporting import words

_SHOWN = ("ndcg@10", "hr@10", "period_ndcg@10", "period_recall@10")


def note(found: Any) -> str:
    """How an evaluation (`verdict.Verdict`) has measured."""
    if found.candidates:
        return f"{found.candidates}. Ties count against the model."
    return "Every window ranks the whole catalogue; ties count against the model."


def metrics(found: Any) -> list[str]:
    """The metrics of an evaluation (`verdict.Verdict`) in order: those of the whole catalogue first."""
    return sorted(found.overall.candidate, key=lambda name: name.startswith(spec.SAMPLED_PREFIX))


def steps(found: Any) -> list[dict[str, Any]]:
    """There are no labels."""
    return []


def outcome(found: Any, noun: str) -> list[str]:
    """The main metrics in lines for a terminal.

    Args:
      found: the evaluation.
      noun: what its examples are called.
    """
    overall, lines = found.overall, []
    for metric in _SHOWN:
        if metric not in overall.candidate:
            continue
        floors = "".join(
            f", {spec.FLOOR_TITLES[floor]} {words.estimate(values[metric])}"
            for floor, values in overall.floors.items()
        )
        lines.append(
            f"{metric}: {words.estimate(overall.candidate[metric])}{floors} on {overall.examples:,} test {noun}"
        )
    if found.candidates:
        lines.append(f"{found.candidates}.")
    return lines
