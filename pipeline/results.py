"""What the newest run in a folder has come to, read from its metadata."""

import dataclasses
import json
import os
from typing import Any, List, Optional

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2


@dataclasses.dataclass(frozen=True)
class Results:
    """The gate's verdict, where the model went, and why it may not have."""

    verdict: Optional[Any]
    pushed_to: Optional[str]
    infra_reasons: List[str]


def newest(run_dir: str) -> Results:
    """Reads the newest artifacts of a run's metadata."""
    from components.evaluator import verdict
    from components.infra_validator import executor as infra_validator

    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = os.path.join(run_dir, "metadata.sqlite")
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    store = metadata_store.MetadataStore(connection)

    def latest(type_name: str) -> Optional[metadata_store_pb2.Artifact]:
        live = metadata_store_pb2.Artifact.LIVE
        found = [a for a in store.get_artifacts_by_type(type_name) if a.state == live]
        return max(found, key=lambda a: a.id, default=None)

    evaluation, blessing = latest("ModelEvaluation"), latest("ModelBlessing")
    infra, pushed = latest("InfraBlessing"), latest("PushedModel")
    reasons: List[str] = []
    if infra is not None:
        with open(os.path.join(infra.uri, infra_validator.LATENCY), encoding="utf-8") as stream:
            reasons = json.load(stream)["reasons"]
    went = pushed is not None and pushed.custom_properties["pushed"].int_value == 1
    return Results(
        verdict=verdict.read(evaluation.uri, blessing.uri if blessing else None) if evaluation else None,
        pushed_to=pushed.custom_properties["pushed_destination"].string_value if went else None,
        infra_reasons=reasons,
    )
