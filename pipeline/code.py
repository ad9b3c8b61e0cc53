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
# Code that is not listed reaches a stage by what it makes for it: windows, transformed examples, or a model. What other code
# makes anew is another artifact, so that all that reads it is made anew, too.
_PLACES = {
    WINDOWS: ("schemas", "components/behavior_example_gen"),
    FEATURES: ("schemas", "components/transform"),
    TRAINING: (
        "schemas",
        "components/transform",
        # Not what starts and awaits a custom job: that trains by the same executor.
        "components/trainer/executor.py",
        "components/trainer/workers.py",
        "components/tuner/executor.py",
        "components/whole.py",
        "trainer",
        "serving",
    ),
    ANOMALIES: ("schemas", "components/anomaly_gate", "components/whole.py"),
    EVALUATION: ("schemas", "components/evaluator", "serving"),
    TRIAL: ("schemas", "components/infra_validator", "serving"),
}


def versions(root: pathlib.Path | None = None) -> dict[str, str]:
    """A hash of the source of each stage, by its name.

    Args:
      root: of the packages; by default of those that are imported.
    """
    return {stage: _hash(root or _ROOT, places) for stage, places in _PLACES.items()}


def of_all(root: pathlib.Path | None = None) -> str:
    """A hash of the source of all stages together."""
    return hashlib.sha256("".join(versions(root).values()).encode()).hexdigest()[:16]


def _hash(root: pathlib.Path, places: Sequence[str]) -> str:
    found = hashlib.sha256()
    for place in places:
        for path in _sources(root / place):
            found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _sources(place: pathlib.Path) -> list[pathlib.Path]:
    """A file, or those of a folder."""
    return [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))
