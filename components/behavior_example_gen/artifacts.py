"""The artifacts beside the examples.

Kubeflow's steps are told the name of an artifact's type and import it, as `module.Class` with one dot: so the
package `components` has these classes, too.
"""

from tfx.types import artifact


class RejectedRows(artifact.Artifact):
    """Bad rows: `rejected-*.jsonl` (file, row, reason, value) and `summary.json`."""

    TYPE_NAME = "components.RejectedRows"


class LogProfile(artifact.Artifact):
    """What the log holds and how it was split: `profile.json`."""

    TYPE_NAME = "components.LogProfile"
