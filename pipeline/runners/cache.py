"""What a local run takes from the cache of its folder: artifacts that are still as they were made.

TFX takes a cached artifact if its folder is there. Within `checked`, files are compared with the checksums that
were recorded when they were made. An artifact that does not fit is marked in the metadata store as
abandoned, so that TFX itself looks for an older one that fits, or makes it again.
"""

import contextlib
import itertools
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.portable import cache_utils, launcher, outputs_utils
from tfx.orchestration.portable.mlmd import execution_lib

from components.infra_validator import executor as validator
from components.pusher import executor as pusher
from components.pusher import verify
from pipeline import progress
from pipeline.runners import checksums, folder, store
from serving import published

_LOGGER = logging.getLogger(progress.LOGGER)
_LIVE = metadata_store_pb2.Artifact.LIVE


@contextlib.contextmanager
def checked(run_dir: str) -> Iterator[None]:
    """Has TFX's launchers record what they make, and check what they take.

    Args:
      run_dir: the run's folder; no other run is at work in it.
    """
    records = _Records(run_dir)
    cached, publish, make = (
        cache_utils.get_cached_outputs,
        launcher.Launcher._publish_successful_execution,
        outputs_utils.make_output_dirs,
    )

    def get_cached_outputs(metadata_handle: Any, cache_context: Any) -> Mapping[str, Any] | None:
        """TFX's own, which takes the newest execution whose artifacts nobody has abandoned."""
        records.abandon_cached(metadata_handle.store, cache_context)
        return cached(metadata_handle=metadata_handle, cache_context=cache_context)

    def publish_successful_execution(
        self: Any, execution_id: int, contexts: Any, output_dict: Any, executor_output: Any
    ) -> None:
        """TFX's own, after the files are recorded: what is published has a record."""
        # What the executor set of an artifact, as where a model was pushed to, is in its output alone.
        made = {key: listed.artifacts for key, listed in executor_output.output_artifacts.items()}
        for artifact in itertools.chain(
            *({key: _of(listed) for key, listed in output_dict.items()} | made).values()
        ):
            records.write(artifact)
        publish(self, execution_id, contexts, output_dict, executor_output)

    def make_output_dirs(output_dict: Any) -> None:
        """TFX's own, into folders with nothing in them that another execution of this number has left."""
        for artifact in _all(output_dict):
            records.clear(artifact)
        make(output_dict)

    with contextlib.ExitStack() as patches:
        for owner, name, function in (
            (cache_utils, "get_cached_outputs", get_cached_outputs),
            (launcher.Launcher, "_publish_successful_execution", publish_successful_execution),
            (outputs_utils, "make_output_dirs", make_output_dirs),
        ):
            patches.enter_context(mock.patch.object(owner, name, function))
        yield


def _all(artifacts: Mapping[str, Sequence[Any]]) -> list[Any]:
    return [artifact for listed in artifacts.values() for artifact in _of(listed)]


def _of(artifacts: Sequence[Any]) -> list[Any]:
    """TFX's artifacts as ML Metadata has them."""
    return [artifact.mlmd_artifact for artifact in artifacts]


class _Records:
    """The records of a run's folder, a file for each artifact."""

    def __init__(self, run_dir: str):
        self._root = folder.places(run_dir)["pipeline_root"]
        self._folder = os.path.join(run_dir, "checksums")

    def _record(self, artifact: Any) -> str:
        return os.path.join(self._folder, f"{os.path.relpath(artifact.uri, self._root)}.json")

    def write(self, artifact: Any) -> None:
        checksums.write(artifact.uri, self._record(artifact))
        pushed = _pushed_to(artifact)
        if pushed is not None and "://" not in pushed:
            checksums.write(pushed, f"{self._record(artifact)}.pushed")

    def clear(self, artifact: Any) -> None:
        """Moves out of the way what is in an artifact's place before it is made."""
        uri = artifact.uri
        if not os.path.exists(uri) or os.path.isdir(uri) and not os.listdir(uri):
            return
        number = 1
        while os.path.lexists(kept := f"{uri}.{store.ASIDE}{number}"):
            number += 1
        os.rename(uri, kept)
        _LOGGER.warning(
            "%s was there already, though the metadata store does not know it: kept in %s", uri, kept
        )

    def _problem(self, artifact: Any) -> str | None:
        if not os.path.realpath(artifact.uri).startswith(os.path.realpath(self._root) + os.sep):
            return f"{artifact.uri} is not in this run's folder"
        if _property(artifact, validator.UNSERVABLE) == 1:
            return "the model was not servable when it was tried"
        record = self._record(artifact)
        return checksums.problem(artifact.uri, record) or _no_longer_live(artifact, f"{record}.pushed")

    def abandon_cached(self, opened: Any, context: Any) -> None:
        """Leaves as the newest execution of a cache key one whose artifacts fit, if there is any."""
        executions = filter(
            execution_lib.is_execution_successful, opened.get_executions_by_context(context.id)
        )
        damaged: list[str] = []
        then = "made again"
        for execution in execution_lib.sort_executions_newest_to_oldest(list(executions)):
            events = opened.get_events_by_execution_ids([execution.id])
            outputs = [e.artifact_id for e in events if e.type == metadata_store_pb2.Event.OUTPUT]
            artifacts = opened.get_artifacts_by_id(outputs) if outputs else []
            if not all(artifact.state == _LIVE for artifact in artifacts):
                continue
            found = {artifact.id: why for artifact in artifacts if (why := self._problem(artifact))}
            if not found:
                then = "an older one is taken"
                break
            _abandon(opened, found)
            damaged.extend(found.values())
        for why in damaged:
            _LOGGER.warning("%s: %s", why, then)


def _abandon(opened: Any, numbers: Collection[int]) -> None:
    for artifact in opened.get_artifacts_by_id(list(numbers)):
        artifact.state = metadata_store_pb2.Artifact.ABANDONED
        opened.put_artifacts([artifact])


def _pushed_to(artifact: Any) -> str | None:
    """The version's folder, if the artifact says that a model was pushed."""
    return _property(artifact, "pushed_destination") if _property(artifact, "pushed") == 1 else None


def _property(artifact: Any, name: str) -> Any:
    """A custom property; to ask the message itself for one that it lacks would add it, and so make it another."""
    properties = artifact.custom_properties
    return getattr(properties[name], properties[name].WhichOneof("value")) if name in properties else None


def _no_longer_live(artifact: Any, record: str) -> str | None:
    """Why a push is to be done again: what it wrote has changed, or servers answer from another version."""
    pushed = _pushed_to(artifact)
    if pushed is None:
        return None
    base, version = os.path.split(pushed)
    said = published.read(base)
    answers = max(said.versions if said else pusher.versions(base), default=None)
    if answers != int(version):
        withdrawn = said is not None and int(version) in said.withdrawn
        return f"{pushed} does not answer: {'it was withdrawn' if withdrawn else f'{answers} does'}"
    # Of a remote place only the list in the version itself tells.
    return verify.check(pushed) if "://" in pushed else checksums.problem(pushed, record)
