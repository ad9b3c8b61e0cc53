"""What became of a run, in a word and in sentences."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import lineage


def status(
    components: Sequence[lineage.Component],
    artifacts: Mapping[str, lineage.Artifact],
    evaluation: Mapping[str, Any] | None,
    latency: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What became of the run: `kind` is good, bad or open; reasons are plain sentences."""
    open_or_failed = _of_components(components)
    if open_or_failed is not None:
        return open_or_failed
    return _of_model(evaluation["verdict"] if evaluation else None, artifacts.get("PushedModel"), latency)


def _of_components(components: Sequence[lineage.Component]) -> dict[str, Any] | None:
    """What stopped the run, or what it has not reached; None if all of it ran."""
    failed = next((component for component in components if component.state == "failed"), None)
    if failed:
        return {
            "kind": "bad",
            "label": "Failed",
            "title": f"{failed.id} stopped the run",
            "reasons": [failed.message] if failed.message else [],
        }
    if not components:
        return {"kind": "open", "label": "Not started", "title": "Nothing has run yet", "reasons": []}
    stopped = next(
        (component for component in components if component.state in ("interrupted", lineage.WAITING)), None
    )
    if stopped:
        where = "was interrupted" if stopped.state == "interrupted" else "was not reached"
        return {
            "kind": "open",
            "label": "Unfinished",
            "title": f"{stopped.id} {where}",
            "reasons": ["The same command goes on from where it stopped."],
        }
    return None


def _of_model(
    found: Any | None, pushed: lineage.Artifact | None, latency: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What became of the model of a run that came to its end."""
    reasons = _reasons(found)
    if pushed is not None and pushed.properties.get("pushed"):
        version = pushed.properties.get("pushed_version") or os.path.basename(
            str(pushed.properties.get("pushed_destination", ""))
        )
        return {
            "kind": "good",
            "label": "Pushed",
            "title": f"Version {version} is live" if version else "The model is live",
            "reasons": reasons,
            "destination": pushed.properties.get("pushed_destination"),
        }
    if pushed is not None and pushed.properties.get("withdrawn"):
        return {
            "kind": "open",
            "label": "Not pushed",
            "title": f"Version {os.path.basename(str(pushed.properties['withdrawn']))} is this model, and was withdrawn",
            "reasons": reasons,
        }
    if found is not None and not found.blessed:
        return {
            "kind": "bad",
            "label": "Not pushed",
            "title": "The model did not pass the gate",
            "reasons": reasons,
        }
    if latency is not None and not latency.get("blessed", True):
        return {
            "kind": "bad",
            "label": "Not pushed",
            "title": "The model passed the gate, but not the server",
            "reasons": list(latency.get("reasons") or ()),
        }
    if found is not None:
        return {
            "kind": "good",
            "label": "Blessed",
            "title": "The model passed the gate; no push was asked",
            "reasons": reasons,
        }
    return {"kind": "open", "label": "Done", "title": "The run made no evaluation", "reasons": []}


def _reasons(found: Any | None) -> list[str]:
    """The reasons of a verdict; of a blessed model those of the whole split (the gate's table has all)."""
    if found is None:
        return []
    if not found.blessed:
        return [*found.reasons, *found.notes]
    return [c.sentence for c in found.conditions if not c.slice and c.outcome == "passed"] + list(found.notes)
