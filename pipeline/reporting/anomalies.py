"""The anomalies that were found in the windows."""

import os
from collections.abc import Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipeline import lineage
from pipeline.reporting import files


def anomalies(artifacts: Sequence[lineage.Artifact]) -> list[dict[str, Any]] | None:
    """Anomalies by split; those that stop a run first. None where nothing was looked at."""
    if not artifacts:
        return None
    rows = []
    for path in [path for artifact in artifacts for path in files.below(artifact.uri, "SchemaDiff.pb")]:
        message = anomalies_pb2.Anomalies.FromString(files.read_bytes(path) or b"")
        split = os.path.basename(os.path.dirname(path)).replace("Split-", "").replace("-", " ")
        found = sorted(message.anomaly_info.items())
        if message.HasField("dataset_anomaly_info"):
            found.append(("", message.dataset_anomaly_info))
        for feature, info in found:
            rows.append(
                {
                    "split": split,
                    "feature": feature or "(data set)",
                    "severity": anomalies_pb2.AnomalyInfo.Severity.Name(info.severity).lower(),
                    "what": info.short_description,
                    "description": info.description,
                }
            )
    return sorted(rows, key=lambda row: (row["severity"] != "error", row["split"], row["feature"]))
