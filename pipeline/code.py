"""Which code makes what a run keeps: what other code has made is not taken from the cache.

TFX tells executions apart by settings and inputs. Ours are functions of installed packages, whose code it
does not look at.
"""

import hashlib
import pathlib
from collections.abc import Sequence

_ROOT = pathlib.Path(__file__).resolve().parents[1]

WINDOWS = "windows"
FEATURES = "features"
TRAINING = "training"
ANOMALIES = "anomalies"
EVALUATION = "evaluation"
TRIAL = "trial"
# Code that is not listed reaches a stage by what it makes for it: windows, or transformed examples.
_FOLDERS = {
    WINDOWS: ("schemas", "components/behavior_example_gen"),
    FEATURES: ("schemas", "components/transform"),
    TRAINING: ("schemas", "components/transform", "trainer", "serving"),
    ANOMALIES: ("schemas", "components/anomaly_gate"),
    EVALUATION: ("schemas", "components/evaluator", "serving"),
    TRIAL: ("schemas", "components/infra_validator", "serving"),
}


def versions(root: pathlib.Path | None = None) -> dict[str, str]:
    """A hash of the source of each stage, by its name.

    Args:
      root: of the packages; by default of those that are imported.
    """
    return {stage: _hash(root or _ROOT, folders) for stage, folders in _FOLDERS.items()}


def _hash(root: pathlib.Path, folders: Sequence[str]) -> str:
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]
