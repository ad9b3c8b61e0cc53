"""One self-contained HTML page about a run: what went in, what was learnt, what was decided and why."""

import datetime
import os
from typing import Any

from apache_beam.io import filesystem, filesystems

from pipeline import lineage
from pipeline.reporting import anomalies, evaluation, files, graph, render, status, training, words
from pipeline.runners import whole
from schemas import names, pushed

FILE = "report.html"
_REJECTED_SHOWN = 20


def build(run_dir: str, users: dict[str, Any] | None = None) -> str:
    """Writes the report of a run's newest attempt.

    Whatever the run did not reach is left out, so that a run that failed early has a report too.

    Args:
      run_dir: `runs/<name>`, with any of `run.json`, `experiment.yaml`, `metadata.sqlite`.
      users: a panel of `reporting.users`; None is none.

    Returns:
      The path of the page, in the run's folder.

    Raises:
      FileNotFoundError: if there is no such run.
    """
    if not filesystems.FileSystems.exists(run_dir):
        raise FileNotFoundError(f"no run at {run_dir}")
    page = render.render("reporting/report_template.html", run_dir, {**_facts(run_dir), "users": users})
    path = filesystems.FileSystems.join(run_dir, FILE)
    if "://" not in path:
        whole.write(path, page)
        return path
    with filesystems.FileSystems.create(
        path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED
    ) as stream:
        stream.write(page.encode("utf-8"))
    return path


def _facts(run_dir: str) -> dict[str, Any]:
    run = files.read_json(filesystems.FileSystems.join(run_dir, "run.json")) or {}
    components = lineage.components(run_dir, run)
    artifacts = lineage.outputs(components)

    def of(kind: str, name: str) -> Any | None:
        return (
            files.read_json(filesystems.FileSystems.join(artifacts[kind].uri, name))
            if kind in artifacts
            else None
        )

    experiment = files.read_text(filesystems.FileSystems.join(run_dir, pushed.EXPERIMENT))
    found = evaluation.evaluation(artifacts, files.window_kind(experiment))
    history = training.training(of("ModelRun", "history.json"))
    latency = of("InfraBlessing", "latency.json")
    return {
        "run_dir": os.path.abspath(run_dir) if "://" not in run_dir else run_dir,
        "name": run.get("name") or os.path.basename(os.path.normpath(run_dir)),
        "command": run.get("command"),
        "started": words.parse_time(run.get("started")),
        "finished": words.parse_time(run.get("finished")),
        "status": {"destination": None, **status.status(components, artifacts, found, latency)},
        "components": components,
        "graph": graph.graph(components),
        "profile": of("LogProfile", "profile.json"),
        "rejected": of("RejectedRows", "summary.json"),
        "rejected_shown": _REJECTED_SHOWN,
        "splits": names.SPLITS,
        "anomalies": anomalies.anomalies(
            [a for c in components for a in c.outputs if a.type == "ExampleAnomalies"]
        ),
        "search": training.search(of("TunerResults", "trials.json")),
        "training": history,
        "evaluation": found,
        "latency": latency,
        "experiment": experiment,
        "written": datetime.datetime.now(datetime.timezone.utc),
    }
