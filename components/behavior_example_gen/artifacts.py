"""The artifacts beside the examples; Kubeflow Pipelines asks for a namespace in their type names."""

from tfx.types import artifact


class RejectedRows(artifact.Artifact):
    """Bad rows: `rejected-*.jsonl` (file, row, reason, value) and `summary.json`."""

    TYPE_NAME = "footfall.RejectedRows"


class LogProfile(artifact.Artifact):
    """What the log holds and how it was split: `profile.json`."""

    TYPE_NAME = "footfall.LogProfile"
