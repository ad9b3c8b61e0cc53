"""Runs an experiment on this machine: one folder a run, metadata in SQLite, everything cached."""

import contextlib
import datetime
import fcntl
import json
import logging
import math
import os
import shlex
import sys
from typing import Any, Dict, Iterator, List, Optional, Sequence

import schemas  # noqa: F401  selects Keras 2
from pipeline import config, datasets, progress
from schemas import errors

RUN = "run.json"


class RunFailed(Exception):
    """A component failed; the message says which, why, and where the log is."""


def folders(run_dir: str) -> Dict[str, str]:
    """The places of a run's folder, by name."""
    return {
        "pipeline_root": os.path.join(run_dir, "pipeline_root"),
        "metadata_path": os.path.join(run_dir, "metadata.sqlite"),
        "checkpoint_root": os.path.join(run_dir, "checkpoints"),
        "accepted_root": os.path.join(run_dir, "accepted_statistics"),
        "serving_dir": os.path.join(run_dir, "serving"),
    }


def assemble(experiment: config.Experiment, run_dir: str, push: bool = True) -> Any:
    """The TFX pipeline of an experiment in a run's folder; the schema of its windows is written there.

    Args:
      experiment: of `prepare`.
      run_dir: the run's folder, with its absolute path.
      push: as of `pipeline.create_pipeline`.
    """
    from pipeline import code, pipeline, window_schema

    schema_path = window_schema.write(experiment, os.path.join(run_dir, "schema"))
    return pipeline.create_pipeline(
        experiment, schema_path=schema_path, code=code.versions(), push=push, **folders(run_dir)
    )


def check_log(experiment: config.Experiment, path: str) -> None:
    """Checks that the first file of the log has the columns, before anything starts.

    Raises:
      errors.InputError: naming the experiment file, the key and the columns.
    """
    from components.behavior_example_gen import readers

    log = experiment.log
    if "{" in log.path:
        return
    sources = readers.find_sources([log.path], log)
    for source in sources:
        found = readers.header(source.path, log)
        if not found:
            continue
        for feature, column in log.columns.wanted().items():
            if column not in found:
                raise errors.InputError(
                    f"{path}: log.columns: column {column!r} (for {feature}) is not in {source.path}; it has "
                    f"{', '.join(found)}"
                )
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
    return experiment.model_copy(update={"log": experiment.log.model_copy(update={"path": path})})


def run(
    experiment: config.Experiment, run_dir: str, source: str, command: Optional[Sequence[str]] = None
) -> Dict[str, Any]:
    """Runs an experiment, or what is left of it: finished components are taken from the cache.

    Args:
      experiment: of `config.load`.
      run_dir: the run's folder; made if it is not there.
      source: the experiment's file, for messages.
      command: what a person would type to run it again.

    Returns:
      What `run.json` holds.

    Raises:
      errors.InputError: if the log or the settings do not fit, or a run is at work there.
      RunFailed: if a component failed.
    """
    experiment = prepare(experiment, print)
    check_log(experiment, source)
    run_dir = os.path.abspath(run_dir)
    with locked(run_dir):
        with open(os.path.join(run_dir, "experiment.yaml"), "w", encoding="utf-8") as stream:
            stream.write(experiment.to_yaml())
        log_path = os.path.join(run_dir, "log.txt")
        with progress.quiet(log_path) as screen:
            return _run(experiment, run_dir, screen, log_path, list(command or sys.argv))


@contextlib.contextmanager
def locked(run_dir: str) -> Iterator[None]:
    """Makes a run's folder and keeps other runs out of it.

    Raises:
      errors.InputError: if a run is at work there.
    """
    os.makedirs(run_dir, exist_ok=True)
    with open(os.path.join(run_dir, ".lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.InputError(f"{run_dir}: another run is at work in this folder") from None
        yield


def _run(
    experiment: config.Experiment,
    run_dir: str,
    screen: Any,
    log_path: str,
    command: List[str],
) -> Dict[str, Any]:
    screen.write(f"{experiment.name}: {run_dir}\n")
    screen.write("        loading TensorFlow, Beam and TFX\n")
    # Here, since TensorFlow and TFX take their time, and say a lot.
    from absl import logging as absl_logging
    from tfx.orchestration.local import local_dag_runner
    from tfx.orchestration.portable import launcher

    absl_logging.set_verbosity(absl_logging.INFO)
    dag = assemble(experiment, run_dir)
    state: Dict[str, Any] = {
        "command": shlex.join(command),
        "name": experiment.name,
        "started": _now(),
        "finished": None,
    }
    failure: Optional[BaseException] = None
    with progress.Progress([node.id for node in dag.components], screen) as shown:
        original = launcher.Launcher.launch

        def launch(self: Any) -> Any:
            """The launcher's own, with its begin, end and error shown."""
            shown.start(self._pipeline_node.node_info.id)
            try:
                info = original(self)
            except Exception as error:
                shown.finish(progress.FAILED, root_cause(error))
                raise
            # Without an execution, the driver found everything in the cache.
            ran = info is not None and info.execution_id is not None and _executed(self, info)
            shown.finish(progress.DONE if ran else progress.CACHED)
            return info

        launcher.Launcher.launch = launch
        try:
            local_dag_runner.LocalDagRunner().run(dag)
        except Exception as error:  # noqa: BLE001  whatever a component raises is reported, with its name
            logging.getLogger("footfall").exception("the run failed")
            failure = error
        finally:
            launcher.Launcher.launch = original
            absl_logging.set_verbosity(absl_logging.WARNING)
            state["finished"] = _now()
            state["components"] = [
                {"id": c.id, "state": c.state, "seconds": round(c.seconds, 1), "message": c.message}
                for c in shown.components
            ]
            with open(os.path.join(run_dir, RUN), "w", encoding="utf-8") as stream:
                json.dump(state, stream, indent=1)
    from pipeline import report

    try:
        state["report"] = report.build(run_dir)
    except Exception as error:  # noqa: BLE001  a report must not hide how the run itself ended
        logging.getLogger("footfall").exception("no report")
        screen.write(f"no report: {error} (see {log_path})\n")
    if failure is not None:
        cause = input_error(failure)
        if cause is not None:
            raise cause
        failed = next((c for c in state["components"] if c["state"] == progress.FAILED), None)
        where = failed["id"] if failed else "the runner"
        raise RunFailed(f"{where}: {root_cause(failure)} (log: {log_path})") from failure
    return state


def _executed(launched: Any, info: Any) -> bool:
    """Whether the executor ran: a cached execution is told by its state in the metadata."""
    from ml_metadata.proto import metadata_store_pb2

    with launched._mlmd_connection as store:
        (execution,) = store.store.get_executions_by_id([info.execution_id])
    return execution.last_known_state != metadata_store_pb2.Execution.CACHED


def _chain(error: BaseException) -> List[BaseException]:
    chain = [error]
    while chain[-1].__cause__ or chain[-1].__context__:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    return chain


def input_error(error: BaseException) -> Optional[errors.InputError]:
    """The error of the user's input that is behind another one, if any."""
    for link in _chain(error):
        if isinstance(link, errors.InputError):
            return link
        # Beam raises its own error with the text of the one in a worker.
        marked = f"{errors.InputError.__module__}.{errors.InputError.__name__}: "
        if marked in str(link):
            return errors.InputError(str(link).split(marked)[-1].split(" [while running")[0].splitlines()[0])
    return None


def root_cause(error: BaseException) -> str:
    """An error in one line."""
    known = input_error(error)
    text = str(known or error).strip() or type(error).__name__
    return text if known else f"{type(error).__name__}: {text.splitlines()[0][:500]}"


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def outcome(run_dir: str) -> List[str]:
    """What came of the newest run in a folder, in a few lines for a person."""
    from pipeline import results

    found = results.newest(run_dir)
    lines = []
    if found.verdict is not None and found.verdict.overall is not None:
        overall = found.verdict.overall
        if found.verdict.steps:
            lines.extend(_of_step(step, overall) for step in found.verdict.steps)
        for metric in ("ndcg@10", "hr@10"):
            if metric in overall.candidate:
                lines.append(
                    f"{metric}: {_estimate(overall.candidate[metric])}, popularity {_estimate(overall.popularity[metric])}"
                    f" on {overall.examples:,} test windows"
                )
        lines.append("Blessed by the gate." if found.verdict.blessed else "Not blessed by the gate:")
        if not found.verdict.blessed:
            lines.extend(f"  {reason}" for reason in found.verdict.reasons)
    if found.pushed_to:
        lines.append(f"Pushed to {found.pushed_to}")
    else:
        lines.append("Not pushed." + "".join(f" {reason}." for reason in found.infra_reasons))
    return lines


def _of_step(step: str, overall: Any) -> str:
    labels = overall.labels[step]
    return (
        f"auc/{step}: {_estimate(overall.candidate[f'auc/{step}'])}, log loss "
        f"{_estimate(overall.candidate[f'log_loss/{step}'])} on {labels.known:,} test exposures, "
        f"{labels.positive:,} of them positive"
    )


def _estimate(estimate: Any) -> str:
    if math.isnan(estimate.value):
        return "no value"
    if estimate.low is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
