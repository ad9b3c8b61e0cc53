"""Who made what in a run: its components and artifacts, from the metadata store and `run.json`."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ml_metadata import errors as mlmd_errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.runners import store
from schemas import errors

METADATA = store.FILE
_STATES = {
    "complete": "done",
    "completed": "done",
    "succeeded": "done",
    "success": "done",
    "done": "done",
    "cached": "cached",
    "failed": "failed",
    "error": "failed",
    "running": "interrupted",
    "new": "interrupted",
    "canceled": "interrupted",
    "interrupted": "interrupted",
}
WAITING = "not reached"  # the state of a component that the run did not come to


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An artifact of the run, as the metadata store knows it."""

    id: int
    key: str
    type: str
    uri: str
    properties: Mapping[str, Any]


@dataclasses.dataclass
class Component:
    """A component of the pipeline in this run.

    Attributes:
      id: its name in the pipeline.
      state: `done`, `cached`, `failed`, `interrupted` or `not reached`.
      type: of the execution in the metadata store.
      seconds: wall time, where known.
      message: the error's, where it failed.
      inputs, outputs: its artifacts; those of an earlier run where it is `cached`.
    """

    id: str
    state: str
    type: str = ""
    seconds: float | None = None
    message: str = ""
    inputs: list[Artifact] = dataclasses.field(default_factory=list)
    outputs: list[Artifact] = dataclasses.field(default_factory=list)

    @property
    def resolves(self) -> bool:
        """Whether it only looks up what earlier runs made."""
        return self.type.endswith("Resolver")


def components(run_dir: str, run: Mapping[str, Any]) -> list[Component]:
    """Components of a folder's newest run in pipeline order.

    Args:
      run_dir: the folder.
      run: what `run.json` says, which completes the metadata store, and takes its place where that cannot be read.

    Raises:
      errors.InputError: if the metadata store cannot be read, and `run` names no components.
    """
    try:
        found = {component.id: component for component in _lineage(os.path.join(run_dir, store.FILE))}
    except errors.InputError:
        if not run.get("components"):
            raise
        logging.getLogger("footfall").exception("what was made is not known")
        found = {}
    order: list[str] = []
    for item in run.get("components") or ():
        state = _STATES.get(str(item.get("state", "")).lower(), WAITING)
        component = found.setdefault(item["id"], Component(item["id"], state))
        if state != WAITING:
            component.state = state
        if item.get("seconds") is not None:
            component.seconds = float(item["seconds"])
        component.message = item.get("message") or component.message
        order.append(item["id"])
    order.extend(name for name in found if name not in order)
    return [found[name] for name in order]


def _lineage(database: str) -> list[Component]:
    if not os.path.exists(database):
        return []
    try:
        opened = metadata_store.MetadataStore(store.connection(database, readonly=True))
        runs = opened.get_contexts_by_type("pipeline_run")
    except (RuntimeError, mlmd_errors.StatusError) as error:
        raise errors.InputError(
            f"{database}: cannot be read ({errors.first_line(error)[:200]}); if it is lost, the next run of the "
            "experiment keeps this folder's content aside, and makes all again"
        ) from error
    if not runs:
        return []
    # By number: a clock may have gone back since.
    newest = max(runs, key=lambda context: context.id)
    executions = sorted(opened.get_executions_by_context(newest.id), key=lambda execution: execution.id)
    events = (
        opened.get_events_by_execution_ids([execution.id for execution in executions]) if executions else []
    )
    wanted = sorted({event.artifact_id for event in events})
    artifacts = {artifact.id: artifact for artifact in (opened.get_artifacts_by_id(wanted) if wanted else ())}
    types = {kind.id: kind.name for kind in opened.get_artifact_types()}

    components: dict[str, Component] = {}
    for execution in executions:  # by id, so that a second attempt replaces the first
        component = Component(
            id=_node_id(opened, execution),
            state=_STATES[metadata_store_pb2.Execution.State.Name(execution.last_known_state).lower()]
            if execution.last_known_state
            else "interrupted",
            type=execution.type,
            seconds=max(execution.last_update_time_since_epoch - execution.create_time_since_epoch, 0) / 1000,
        )
        for event in events:
            if event.execution_id != execution.id:
                continue
            raw = artifacts[event.artifact_id]
            artifact = Artifact(
                id=raw.id,
                key=next((step.key for step in event.path.steps if step.HasField("key")), ""),
                type=types[raw.type_id].rsplit(".", 1)[-1],
                uri=raw.uri,
                properties={**_properties(raw.properties), **_properties(raw.custom_properties)},
            )
            # A resolver's finds are recorded as its inputs; to the run they are what it gives.
            is_output = component.resolves or event.type in (
                metadata_store_pb2.Event.OUTPUT,
                metadata_store_pb2.Event.DECLARED_OUTPUT,
            )
            (component.outputs if is_output else component.inputs).append(artifact)
        components[component.id] = component
    return list(components.values())


def _node_id(opened: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution) -> str:
    for context in opened.get_contexts_by_execution(execution.id):
        if context.type == "node":
            return context.name.rsplit(".", 1)[-1]
    return execution.type.rsplit(".", 1)[-1]


def _properties(values: Mapping[str, metadata_store_pb2.Value]) -> dict[str, Any]:
    return {
        key: getattr(value, value.WhichOneof("value"))
        for key, value in values.items()
        if value.WhichOneof("value")
    }


def outputs(found: Sequence[Component]) -> dict[str, Artifact]:
    """The artifacts that a run made (or took from the cache), by type."""
    return {a.type: a for component in found if not component.resolves for a in component.outputs}
