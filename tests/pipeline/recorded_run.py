"""Writes the folder of a run as the pipeline leaves it: metadata store, artifacts, run.json."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2

_STATES = metadata_store_pb2.Execution

PROFILE = {
    "users": 943,
    "items": 1682,
    "events": 100000,
    "start": "1997-09-20T03:05:10+00:00",
    "end": "1998-04-22T23:10:38+00:00",
    "behaviors": {"view": 90000, "cart": 7500, "buy": 2500},
    "scenes": {},
    "tail_share": 0.412,
    "tie_share": 0.437,
    "history": {"p5": 21, "p25": 33, "p50": 65, "p75": 148, "p95": 342, "max": 737},
    "windows": {"train": 2132, "eval": 9871, "test": 9990, "dropped": 203},
    "rows": 100012,
    "rejected": 12,
    "split": {"eval_from": "1998-03-08T10:12:00+00:00", "test_from": "1998-03-31T22:48:00+00:00"},
}
REJECTED = {
    "rows": 100012,
    "rejected": 12,
    "share": 12 / 100012,
    "by_reason": {"timestamp is not a number": 7, "no item_id": 5},
    "by_file": {"events/part-3.csv": 12},
    "empty_files": [],
    "examples": [
        {
            "file": "events/part-3.csv",
            "row": 1042,
            "reason": "timestamp is not a number",
            "value": "<script>alert(1)</script>",
        },
        {"file": "events/part-3.csv", "row": 1077, "reason": "no item_id", "value": "u17,,888639814"},
    ],
}
LATENCY = {
    "server": "embedded",
    "requests": 50,
    "p50_ms": 4.31,
    "p99_ms": 9.87,
    "max_p50_ms": 50.0,
    "signatures": {name: "ok" for name in ("embed", "evaluate", "rank", "recommend", "serving_default")},
    "blessed": True,
    "reasons": [],
}


def history(epochs: int = 14, best: int = 11) -> dict[str, Any]:
    """A training history whose NDCG rises until `best`."""
    return {
        "epochs": [
            {
                "epoch": epoch,
                "loss": round(4.2 + 3.1 * 0.8**epoch, 4),
                "seconds": 5.1,
                "targets_per_s": 47000 + 150 * epoch,
                "ndcg@10": round(0.061 * (1 - 0.75**epoch) - 0.0006 * max(0, epoch - best), 4),
                "hr@10": round(0.12 * (1 - 0.75**epoch), 4),
                "learning_rate": 0.001,
            }
            for epoch in range(1, epochs + 1)
        ],
        "best_epoch": best,
        "stopped": "patience",
        "parameters": 162304,
        "replicas": 1,
        "resumed_from_epoch": None,
        "reason": "other windows",
        "warm_start": {
            "from": "/models/7",
            "weights": 9,
            "of": 9,
            "rows": {"items": {"kept": 1680, "new": 2}},
        },
        "seed": 1,
    }


class Recorder:
    """Records executions of one pipeline run after another in a metadata store."""

    def __init__(self, run_dir: pathlib.Path, pipeline: str = "demo"):
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir = run_dir
        self._pipeline = pipeline
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(run_dir / "metadata.sqlite")
        self._store = metadata_store.MetadataStore(config)
        self._run: int | None = None
        self.components: list[dict[str, Any]] = []

    def start(self, run_id: str) -> None:
        """Begins a pipeline run."""
        self._run = self._context("pipeline_run", run_id)
        self.components = []

    def _context(self, kind: str, name: str) -> int:
        found = self._store.get_context_by_type_and_name(kind, name)
        if found:
            return found.id
        type_id = self._store.put_context_type(metadata_store_pb2.ContextType(name=kind))
        (context_id,) = self._store.put_contexts([metadata_store_pb2.Context(type_id=type_id, name=name)])
        return context_id

    def artifact(self, kind: str, uri: str, **properties: Any) -> int:
        type_id = self._store.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
        artifact = metadata_store_pb2.Artifact(
            type_id=type_id, uri=str(uri), state=metadata_store_pb2.Artifact.LIVE
        )
        for key, value in properties.items():
            field = "int_value" if isinstance(value, int) else "string_value"
            setattr(artifact.custom_properties[key], field, value)
        (artifact_id,) = self._store.put_artifacts([artifact])
        return artifact_id

    def execution(
        self,
        name: str,
        inputs: Sequence[tuple[str, int]] = (),
        outputs: Sequence[tuple[str, int]] = (),
        state: int = _STATES.COMPLETE,
        seconds: float = 1.0,
        message: str = "",
        kind: str = "",
    ) -> None:
        """Records what a component did, in the store and for run.json."""
        type_id = self._store.put_execution_type(
            metadata_store_pb2.ExecutionType(name=kind or f"made.up.{name}")
        )
        (execution_id,) = self._store.put_executions(
            [metadata_store_pb2.Execution(type_id=type_id, last_known_state=state)]
        )
        contexts = [self._run, self._context("node", f"{self._pipeline}.{name}")]
        self._store.put_attributions_and_associations(
            [], [metadata_store_pb2.Association(execution_id=execution_id, context_id=c) for c in contexts]
        )
        events = []
        for direction, pairs in (
            (metadata_store_pb2.Event.INPUT, inputs),
            (metadata_store_pb2.Event.OUTPUT, outputs),
        ):
            for key, artifact_id in pairs:
                event = metadata_store_pb2.Event(
                    artifact_id=artifact_id, execution_id=execution_id, type=direction
                )
                event.path.steps.add().key = key
                event.path.steps.add().index = 0
                events.append(event)
        if events:
            self._store.put_events(events)
        label = {_STATES.COMPLETE: "done", _STATES.CACHED: "cached", _STATES.FAILED: "failed"}[state]
        self.components.append({"id": name, "state": label, "seconds": seconds, "message": message})

    def finish(self, waiting: Sequence[str] = (), **others: Any) -> None:
        """Writes run.json."""
        waiting_components = [
            {"id": name, "state": "waiting", "seconds": None, "message": ""} for name in waiting
        ]
        run = {
            "command": "footfall run demo.yaml --set training.epochs=14",
            "name": self._pipeline,
            "started": "2026-11-21T05:00:00+00:00",
            "finished": "2026-11-21T05:03:41+00:00",
            "components": self.components + waiting_components,
            **others,
        }
        (self.run_dir / "run.json").write_text(json.dumps(run))

    def folder(self, name: str, **files: Any) -> str:
        """Writes an artifact's folder with JSON files."""
        folder = self.run_dir / "pipeline_root" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / f"{file}.json").write_text(json.dumps(content))
        return str(folder)


def anomalies(folder: pathlib.Path, split: str, **features: tuple[int, str]) -> None:
    """Writes a split's SchemaDiff, one anomaly for each feature."""
    message = anomalies_pb2.Anomalies()
    for feature, (severity, text) in features.items():
        message.anomaly_info[feature].severity = severity
        message.anomaly_info[feature].short_description = text
        message.anomaly_info[feature].description = f"{text} in {feature}"
    (folder / f"Split-{split}").mkdir(parents=True)
    (folder / f"Split-{split}" / "SchemaDiff.pb").write_bytes(message.SerializeToString())


def record(
    recorder: Recorder,
    run_id: str,
    evaluation_uri: str,
    blessing_uri: str,
    pushed: bool,
    cached: Sequence[str] = (),
    latency: dict[str, Any] | None = None,
    trained: dict[str, Any] | None = None,
) -> None:
    """Records a whole pipeline run with made-up artifacts and a real evaluation."""
    recorder.start(run_id)
    folder = recorder.folder

    def state(name: str) -> int:
        return _STATES.CACHED if name in cached else _STATES.COMPLETE

    artifact = recorder.artifact
    examples = artifact("Examples", folder(f"{run_id}/examples"))
    rejected = artifact("footfall.RejectedRows", folder(f"{run_id}/rejected", summary=REJECTED))
    profile = artifact("footfall.LogProfile", folder(f"{run_id}/profile", profile=PROFILE))
    recorder.execution(
        "BehaviorExampleGen",
        outputs=[("examples", examples), ("rejected", rejected), ("profile", profile)],
        state=state("BehaviorExampleGen"),
        seconds=4.2,
    )
    statistics = artifact("ExampleStatistics", folder(f"{run_id}/statistics"))
    recorder.execution("StatisticsGen", [("examples", examples)], [("statistics", statistics)], seconds=9.7)
    schema = artifact("Schema", folder(f"{run_id}/schema"))
    recorder.execution("ImportSchemaGen", outputs=[("schema", schema)], seconds=0.2)
    found = folder(f"{run_id}/anomalies")
    for split in ("train", "eval"):
        anomalies(pathlib.Path(found), split)
    anomalies(
        pathlib.Path(found),
        "test",
        item_frequency=(anomalies_pb2.AnomalyInfo.WARNING, "High Linfty distance between train and test"),
    )
    diff = artifact("ExampleAnomalies", found)
    recorder.execution(
        "ExampleValidator", [("statistics", statistics), ("schema", schema)], [("anomalies", diff)]
    )
    graph = artifact("TransformGraph", folder(f"{run_id}/transform_graph"))
    recorder.execution(
        "Transform", [("examples", examples), ("schema", schema)], [("transform_graph", graph)], seconds=21.4
    )
    old_model = artifact("Model", "earlier/model")
    old_blessing = artifact("ModelBlessing", "earlier/blessing")
    recorder.execution(
        "Resolver",
        inputs=[("model", old_model), ("model_blessing", old_blessing)],  # as TFX records it
        kind="tfx.dsl.components.Resolver",
    )
    model = artifact("Model", folder(f"{run_id}/model"))
    model_run = artifact("ModelRun", folder(f"{run_id}/model_run", history=trained or history()))
    recorder.execution(
        "Trainer",
        [("examples", examples), ("transform_graph", graph)],
        [("model", model), ("model_run", model_run)],
        seconds=88.4,
    )
    evaluation = artifact("ModelEvaluation", evaluation_uri)
    blessing = artifact("ModelBlessing", blessing_uri)
    recorder.execution(
        "Evaluator",
        [("examples", examples), ("model", model), ("baseline_model", old_model)],
        [("evaluation", evaluation), ("blessing", blessing)],
        seconds=9.1,
    )
    infra = artifact("InfraBlessing", folder(f"{run_id}/infra", latency=latency or LATENCY))
    recorder.execution(
        "ServerValidator", [("model", model), ("examples", examples)], [("blessing", infra)], seconds=7.3
    )
    pushed_model = artifact(
        "PushedModel", folder(f"{run_id}/pushed"), pushed=int(pushed), pushed_version="1795240497"
    )
    recorder.execution(
        "Pusher",
        [("model", model), ("model_blessing", blessing), ("infra_blessing", infra)],
        [("pushed_model", pushed_model)],
    )
    (recorder.run_dir / "experiment.yaml").write_text("name: demo\nmodel:\n  name: sasrec\n  dim: 64\n")
    recorder.finish()
