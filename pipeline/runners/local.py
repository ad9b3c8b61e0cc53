"""Runs an experiment on this machine: one folder a run, metadata in SQLite, everything cached."""

import contextlib
import datetime
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

import schemas  # noqa: F401  selects Keras 2
from pipeline import config, datasets, progress
from pipeline.runners import failures, folder, stopping, whole
from schemas import collector, errors, pushed

RUN = "run.json"
EXPERIMENT = pushed.EXPERIMENT
_TRAINER = "Trainer"


class RunFailed(Exception):
    """A component failed; the message says which, why, and where the log is."""


def assemble(
    experiment: config.Experiment, run_dir: str, push: bool = True, given: Mapping[str, Any] | None = None
) -> Any:
    """The TFX pipeline of an experiment in a run's folder; the schema of its windows is written there.

    Args:
      experiment: of `prepare`.
      run_dir: the run's folder, with its absolute path.
      push, given: as `push` and `run` of `pipeline.create_pipeline`.
    """
    from pipeline import code, pipeline, window_schema

    schema_path = window_schema.write(experiment, os.path.join(run_dir, "schema"))
    places: dict[str, Any] = folder.places(run_dir)
    return pipeline.create_pipeline(
        experiment, schema_path=schema_path, code=code.versions(), push=push, run=given, **places
    )


def check_log(experiment: config.Experiment, path: str, writes_to: str | None = None) -> None:
    """Checks that the log's spans can be told and that its first file has the columns, before anything starts.

    Args:
      experiment: of `prepare`.
      path: of the experiment's file, for messages.
      writes_to: a folder that is written to; the log is not to be read there.

    Raises:
      errors.InputError: naming the experiment file, the key and the columns.
    """
    from components.behavior_example_gen import readers, spans
    from components.behavior_example_gen.reading import columns

    log = experiment.log
    try:
        listed = spans.paths(log.path, log.spans)
        sources = readers.sources(listed, log)
    except errors.InputError as error:
        raise errors.InputError(f"{path}: {error}") from error
    if writes_to is not None and "://" not in log.path:
        written = os.path.join(spans.real(writes_to), EXPERIMENT)
        if spans.reads(log.path, listed, [written]):
            raise errors.InputError(
                f"{path}: log.path {log.path} has all files there, and would have those of the folder of runs, found "
                f"{writes_to}: choose another one with --runs"
            )
    for source in sources:
        found = readers.header(source.path, log)
        if not found:
            continue
        try:
            columns.check(found, log, source.path, readers.needed(source))
        except errors.InputError as error:
            raise errors.InputError(f"{path}: {error}") from error
        return


def prepare(experiment: config.Experiment, say: Any) -> config.Experiment:
    """The experiment with its data set fetched and its log's path absolute."""
    path = experiment.log.path
    if path.startswith(datasets.PREFIX):
        datasets.fetch(path[len(datasets.PREFIX) :], say=say)
        path = datasets.resolve(path)
    if "://" not in path:
        folder = path.endswith("/") or os.path.isdir(path)
        path = os.path.abspath(path) + ("/" if folder else "")
    return experiment.with_log(path=path)


def run(
    experiment: config.Experiment,
    run_dir: str,
    source: str,
    command: Sequence[str] | None = None,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Runs an experiment, or what is left of it: finished components are taken from the cache.

    Args:
      experiment: of `config.load`.
      run_dir: the run's folder; made if it is not there.
      source: the experiment's file, for messages.
      command: what a person would type to run it again.
      given: what this run has otherwise than the experiment says, by the names of `parameters`.

    Returns:
      What `run.json` holds.

    Raises:
      errors.InputError: if the log or the settings do not fit, or a run is at work there.
      RunFailed: if a component failed.
    """
    experiment = prepare(experiment, print)
    run_dir = os.path.abspath(run_dir)
    check_log(experiment, source, run_dir)
    with folder.at_work(run_dir, print), stopping.by_signals() as stop:
        _check_same_kind(experiment, run_dir)
        log_path = os.path.join(run_dir, "log.txt")
        with contextlib.ExitStack() as log:
            with folder.writing(run_dir):
                whole.write(os.path.join(run_dir, EXPERIMENT), experiment.to_yaml())
                screen = log.enter_context(progress.quiet(log_path))
            typed = list(command or sys.argv)
            return _run(experiment, run_dir, screen, log_path, typed, stop, given)


def _check_same_kind(experiment: config.Experiment, run_dir: str) -> None:
    """Refuses a folder whose models answer other questions; says if the last was made from another log."""
    try:
        with open(os.path.join(run_dir, EXPERIMENT), encoding="utf-8") as stream:
            before = yaml.safe_load(stream)
        kind, log = before["window"]["kind"], before["log"]["path"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return
    if kind != experiment.window.kind:
        raise errors.InputError(
            f"{run_dir}: its runs are of window.kind {kind}, this experiment's is {experiment.window.kind}: the two "
            "cannot be compared; give one of them another name, or choose another folder with --runs"
        )
    if log != experiment.log.path:
        print(
            f"{run_dir}: the run before read {log}, this one reads {experiment.log.path}; the gate compares with the "
            "model that is live, of whichever log"
        )


def _run(
    experiment: config.Experiment,
    run_dir: str,
    screen: Any,
    log_path: str,
    command: list[str],
    stop: stopping.Stop,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    screen.write(f"{experiment.name}: {run_dir}\n")
    screen.write("        loading TensorFlow, Beam and TFX\n")
    state: dict[str, Any] = {
        "command": shlex.join(command),
        "name": experiment.name,
        "started": _now(),
        "finished": None,
    }
    # With all that the components import; it writes the schema.
    with collector.importing(), folder.writing(run_dir):
        dag = assemble(experiment, run_dir, given=given)
    # What the run before has said is over, also if this one is killed.
    _write(os.path.join(run_dir, RUN), state, screen)
    with progress.Progress([node.id for node in dag.components], screen) as shown:
        try:
            failure = _launch(dag, run_dir, shown, experiment.infra, stop)
        finally:
            state["finished"] = _now()
            state["components"] = [
                {"id": c.id, "state": c.state, "seconds": round(c.seconds, 1), "message": c.message}
                for c in shown.components
            ]
            _write(os.path.join(run_dir, RUN), state, screen)
    from pipeline.reporting import report

    try:
        state["report"] = report.build(run_dir)
    except Exception as error:  # noqa: BLE001  a report must not hide how the run itself ended
        logging.getLogger("footfall").exception("no report")
        screen.write(f"no report: {error} (see {log_path})\n")
    if failure is None:
        _keep_pushed(experiment, run_dir)
        return state
    failed = next((c for c in state["components"] if c["state"] == progress.FAILED), None)
    where = failed["id"] if failed else "the runner"
    cause = failures.input_error(failure)
    if cause is not None:
        raise cause
    if failures.disk_trouble(failure):
        where = f"{run_dir}: {where}"
    raise RunFailed(f"{where}: {failures.root_cause(failure)} (log: {log_path})") from failure


def pushed_experiment(run_dir: str, version: str) -> str:
    """Where the experiment of a pushed version is: the newest run's may be another one."""
    return os.path.join(run_dir, "pushed", f"{version}.yaml")


def _keep_pushed(experiment: config.Experiment, run_dir: str) -> None:
    """Keeps the experiment of what a run has pushed, by its version."""
    from pipeline import results

    pushed_to = results.newest(run_dir).pushed_to
    if not pushed_to:
        return
    path = pushed_experiment(run_dir, os.path.basename(pushed_to))
    # The same model again is of the same windows.
    if not os.path.exists(path):
        with folder.writing(run_dir):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            whole.write(path, experiment.to_yaml())


def _launch(
    dag: Any, run_dir: str, shown: progress.Progress, infra: Any, stop: stopping.Stop
) -> Exception | None:
    """Runs the components; what one of them raised, if one did.

    While a model that is new is evaluated, the server of its trial starts.

    Raises:
      KeyboardInterrupt: if a stop was asked for.
    """
    # Here, since TensorFlow and TFX take their time, and say a lot.
    with collector.importing():
        from absl import logging as absl_logging
        from tfx.orchestration.local import local_dag_runner
        from tfx.orchestration.portable import launcher

        from components import embedded_beam
        from components.infra_validator import embedded
        from components.transform import tracing
        from pipeline.runners import cache

    embedded_beam.tune()
    tracing.tune()
    original, trial = launcher.Launcher.launch, contextlib.ExitStack()

    def launch(self: Any) -> Any:
        """The launcher's own, with its begin, end and error shown."""
        # Where a library has swallowed the exception.
        stop.heed()
        node = self._pipeline_node.node_info.id
        shown.start(node)
        try:
            info = original(self)
        except Exception as error:
            stop.heed(error)
            shown.finish(progress.FAILED, failures.root_cause(error))
            raise
        # Without an execution, the driver found everything in the cache.
        ran = info is not None and info.execution_id is not None and _executed(self, info)
        shown.finish(progress.DONE if ran else progress.CACHED)
        if ran and node == _TRAINER:
            trial.enter_context(embedded.started_ahead(infra))
        return info

    absl_logging.set_verbosity(absl_logging.INFO)
    launcher.Launcher.launch = launch
    try:
        with trial, cache.checked(run_dir):
            local_dag_runner.LocalDagRunner().run(dag)
    except Exception as error:  # noqa: BLE001  whatever a component raises is reported, with its name
        stop.heed(error)
        logging.getLogger("footfall").exception("the run failed")
        return error
    finally:
        launcher.Launcher.launch = original
        absl_logging.set_verbosity(absl_logging.WARNING)
    return None


def _write(path: str, state: dict[str, Any], screen: Any) -> None:
    """Writes how a run went, whole or not at all; on a full disk, says so and leaves what was there."""
    try:
        whole.write(path, json.dumps(state, indent=1))
    except OSError as error:
        screen.write(f"{path}: cannot be written ({error.strerror})\n")


def _executed(launched: Any, info: Any) -> bool:
    """Whether the executor ran: a cached execution is told by its state in the metadata."""
    from ml_metadata.proto import metadata_store_pb2

    with launched._mlmd_connection as store:
        (execution,) = store.store.get_executions_by_id([info.execution_id])
    return execution.last_known_state != metadata_store_pb2.Execution.CACHED


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def outcome(run_dir: str) -> list[str]:
    """What came of the newest run in a folder, in a few lines for a person."""
    from components.evaluator import sentences
    from pipeline import results
    from pipeline.reporting import files, objectives

    found = results.newest(run_dir)
    noun = files.window_kind(files.read_text(os.path.join(run_dir, EXPERIMENT))).noun
    lines: list[str] = []
    if found.verdict is not None and found.verdict.overall is not None:
        overall = found.verdict.overall
        lines.extend(objectives.get(found.verdict.objective).outcome(found.verdict, noun))
        unreachable = sentences.unreachable(overall)
        if unreachable:
            lines.append(f"{unreachable}.")
        lines.append("Blessed by the gate." if found.verdict.blessed else "Not blessed by the gate:")
        if not found.verdict.blessed:
            lines.extend(f"  {reason}" for reason in found.verdict.reasons)
    if found.pushed_to:
        lines.append(f"Pushed to {found.pushed_to}")
    else:
        lines.append("Not pushed." + "".join(f" {reason}." for reason in found.infra_reasons))
    return lines
