"""What the newest run in a folder has come to."""

import dataclasses
import json
import os
from typing import Any

from components.evaluator import verdict
from components.infra_validator import executor as infra_validator
from pipeline import lineage


@dataclasses.dataclass(frozen=True)
class Results:
    """The gate's verdict, where the model went, and why it may not have."""

    verdict: verdict.Verdict | None
    pushed_to: str | None
    infra_reasons: list[str]

    @property
    def blessed(self) -> bool:
        """Whether the gate and the trial in a server have let the model pass, pushed or not."""
        return self.verdict is not None and self.verdict.blessed and not self.infra_reasons


def newest(run_dir: str) -> Results:
    """Reads the artifacts of the newest run, also those that it took from the cache."""
    made = lineage.outputs(lineage.components(run_dir, {}))
    decided = None
    if "ModelEvaluation" in made:
        blessing = made.get("ModelBlessing")
        decided = verdict.read(made["ModelEvaluation"].uri, blessing.uri if blessing else None)
    reasons: list[str] = []
    if "InfraBlessing" in made:
        with open(
            os.path.join(made["InfraBlessing"].uri, infra_validator.LATENCY), encoding="utf-8"
        ) as stream:
            reasons = json.load(stream)["reasons"]
    pushed = made["PushedModel"].properties if "PushedModel" in made else {}
    destination: Any = pushed.get("pushed_destination") if pushed.get("pushed") == 1 else None
    return Results(decided, destination, reasons)
