"""What is said of models of users' embeddings."""

from typing import Any

from components.evaluator import spec
from pipeline.reporting import words
from schemas import embeddings

_NOTE = (
    f"Neighbour agreement is how much of what two users do next they have in common (Jaccard index of the sets of items), of "
    f"each user with the {embeddings.NEIGHBORS} others whose embeddings are nearest; the floor is that of any two users. "
    f"Measured on at most {embeddings.MOST:,} windows of each slice. It counts items alone, and says nothing of tasks "
    "that the embeddings are made for."
)


def note(found: Any) -> str:
    """How an evaluation (`verdict.Verdict`) has measured."""
    return _NOTE


def metrics(found: Any) -> list[str]:
    """The metrics of an evaluation (`verdict.Verdict`) in order."""
    return [name for name in spec.EMBEDDING_METRICS if name in found.overall.candidate]


def steps(found: Any) -> list[dict[str, Any]]:
    """There are no labels."""
    return []


def outcome(found: Any, noun: str) -> list[str]:
    """The main metrics in lines for a terminal.

    Args:
      found: the evaluation.
      noun: what its examples are called.
    """
    overall, metric = found.overall, embeddings.AGREEMENT
    floors = "".join(
        f", {spec.FLOOR_TITLES[floor]} {words.estimate(values[metric])}"
        for floor, values in overall.floors.items()
    )
    return [
        f"{metric}: {words.estimate(overall.candidate[metric])}{floors} on {overall.examples:,} test {noun}",
        f"{embeddings.EFFECTIVE_RANK}: {words.estimate(overall.candidate[embeddings.EFFECTIVE_RANK])}, "
        f"{embeddings.SPREAD}: {words.estimate(overall.candidate[embeddings.SPREAD])}",
    ]
