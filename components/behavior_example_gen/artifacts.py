"""The artifacts beside the examples."""

from tfx.types import artifact


class RejectedRows(artifact.Artifact):
    """Bad rows: `rejected-*.jsonl` (file, row, reason, value) and `summary.json`."""

    TYPE_NAME = "RejectedRows"


class LogProfile(artifact.Artifact):
    """What the log holds and how it was split: `profile.json`."""

    TYPE_NAME = "LogProfile"
