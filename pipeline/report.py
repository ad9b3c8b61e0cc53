"""One self-contained HTML page about a run: what went in, what was learnt, what was decided and why."""

import datetime
import json
import math
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import markupsafe
from apache_beam.io import filesystem, filesystems
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.evaluator import spec as evaluator_spec
from pipeline import lineage
from schemas import errors, kinds, names
from schemas import text as text_lib

FILE = "report.html"

_REJECTED_SHOWN = 20
# Of one text in a page, in characters; the experiment and the command are shown whole.
_LONGEST = 2000


def build(run_dir: str) -> str:
    """Writes the report of a run's newest attempt.

    Whatever the run did not reach is left out, so that a run that failed early has a report too.

    Args:
      run_dir: `runs/<name>`, with any of `run.json`, `experiment.yaml`, `metadata.sqlite`.

    Returns:
      The path of the page, in the run's folder.

    Raises:
      FileNotFoundError: if there is no such run.
    """
    if not filesystems.FileSystems.exists(run_dir):
        raise FileNotFoundError(f"no run at {run_dir}")
    page = render("report_template.html", run_dir, _facts(run_dir))
    path = filesystems.FileSystems.join(run_dir, FILE)
    with filesystems.FileSystems.create(
        path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED
    ) as stream:
        stream.write(page.encode("utf-8"))
    return path


def render(template: str, run_dir: str, facts: Mapping[str, Any]) -> str:
    """Fills a template of this folder in.

    Args:
      template: its file.
      run_dir: of a run; paths in it are shown without it.
      facts: what the template shows; numbers may be missing or not finite.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # Artifacts of an older version may lack a key: its value reads as a dash, the rest stays.
        undefined=jinja2.ChainableUndefined,
        finalize=_shown,
    )
    environment.filters.update(
        count=_count,
        metric=_metric,
        value=_value,
        signed=_signed,
        seconds=_seconds,
        percent=_percent,
        moment=_moment,
    )
    environment.filters["basename"] = lambda path: posixpath.basename(str(path).rstrip("/")) or str(path)
    environment.filters["whole"] = lambda value: markupsafe.escape(text_lib.visible(str(value), keep="\n\t"))
    environment.filters["below"] = lambda uri: _below(run_dir, uri)
    return environment.get_template(template).render(**facts)


def _shown(value: Any) -> Any:
    """A text from outside without characters that act on the page, and not without end; markup is Footfall's."""
    if not isinstance(value, str) or isinstance(value, markupsafe.Markup):
        return value
    return text_lib.clipped(text_lib.visible(value, keep="\n\t"), _LONGEST)


def _facts(run_dir: str) -> dict[str, Any]:
    run = _json(filesystems.FileSystems.join(run_dir, "run.json")) or {}
    components = lineage.components(run_dir, run)
    artifacts = lineage.outputs(components)

    def of(kind: str, name: str) -> Any | None:
        return _json(filesystems.FileSystems.join(artifacts[kind].uri, name)) if kind in artifacts else None

    evaluation = _evaluation(artifacts)
    training = _training(of("ModelRun", "history.json"))
    latency = of("InfraBlessing", "latency.json")
    return {
        "run_dir": os.path.abspath(run_dir) if "://" not in run_dir else run_dir,
        "name": run.get("name") or os.path.basename(os.path.normpath(run_dir)),
        "command": run.get("command"),
        "started": _parse_time(run.get("started")),
        "finished": _parse_time(run.get("finished")),
        "status": {"destination": None, **_status(components, artifacts, evaluation, latency)},
        "components": components,
        "graph": _graph(components),
        "profile": of("LogProfile", "profile.json"),
        "rejected": of("RejectedRows", "summary.json"),
        "rejected_shown": _REJECTED_SHOWN,
        "splits": names.SPLITS,
        "anomalies": _anomalies([a for c in components for a in c.outputs if a.type == "ExampleAnomalies"]),
        "search": _search(of("TunerResults", "trials.json")),
        "training": training,
        "evaluation": evaluation,
        "latency": latency,
        "experiment": _text(filesystems.FileSystems.join(run_dir, "experiment.yaml")),
        "written": datetime.datetime.now(datetime.timezone.utc),
    }


# Lineage.


def _graph(components: Sequence[lineage.Component]) -> dict[str, Any] | None:
    """Places of the components in the drawing: a column is the longest way from the log."""
    by_lookup_first = sorted(components, key=lambda component: not component.resolves)
    made_by = {artifact.id: component.id for component in by_lookup_first for artifact in component.outputs}
    before = {
        component.id: sorted(
            {made_by[a.id] for a in component.inputs if made_by.get(a.id, component.id) != component.id}
        )
        for component in components
    }
    if not any(before.values()):
        return None
    column: dict[str, int] = {}

    def place(name: str, seen: tuple[str, ...] = ()) -> int:
        if name not in column:
            earlier = [place(other, seen + (name,)) for other in before[name] if other not in seen]
            column[name] = 1 + max(earlier, default=-1)
        return column[name]

    for component in components:
        place(component.id)
    # A component that feeds only a late one stands next to it, not at the start.
    for component in components:
        after = [column[name] for name, sources in before.items() if component.id in sources]
        if not before[component.id] and after:
            column[component.id] = min(after) - 1
    drawn = _without_shortcuts(before)
    width, height, gap_x, gap_y = 104, 42, 22, 16
    rows: dict[int, int] = {}
    nodes: dict[str, dict[str, Any]] = {}
    for component in components:
        row = rows.get(column[component.id], 0)
        rows[column[component.id]] = row + 1
        nodes[component.id] = {
            "x": column[component.id] * (width + gap_x),
            "row": row,
            "state": component.state,
            "lines": _two_lines(component.id),
            "seconds": component.seconds,
        }
    tallest = max(rows.values())
    for component in components:
        node = nodes[component.id]
        empty = (tallest - rows[column[component.id]]) / 2
        node["y"] = (node["row"] + empty) * (height + gap_y)
    edges = [
        (
            nodes[source]["x"] + width,
            nodes[source]["y"] + height / 2,
            nodes[name]["x"],
            nodes[name]["y"] + height / 2,
        )
        for name, sources in drawn.items()
        for source in sources
    ]
    return {
        "nodes": list(nodes.values()),
        "edges": edges,
        "node_width": width,
        "node_height": height,
        "width": (max(column.values()) + 1) * (width + gap_x) - gap_x,
        "height": tallest * (height + gap_y) - gap_y,
    }


def _without_shortcuts(before: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Drops what follows from the rest: C waits for A where C waits for B and B waits for A."""
    reached: dict[str, set] = {}

    def ancestors(name: str) -> set:
        if name not in reached:
            reached[name] = set()
            reached[name] = set(before[name]).union(*(ancestors(other) for other in before[name]))
        return reached[name]

    return {
        name: [s for s in sources if not any(s in ancestors(other) for other in sources if other != s)]
        for name, sources in before.items()
    }


def _two_lines(name: str) -> list[str]:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", name)
    if len(name) <= 13 or len(words) < 2:
        return [name]
    split = min(range(1, len(words)), key=lambda at: abs(len("".join(words[:at])) - len("".join(words[at:]))))
    return ["".join(words[:split]), "".join(words[split:])]


# What the components found.


def _anomalies(artifacts: Sequence[lineage.Artifact]) -> list[dict[str, Any]] | None:
    """Anomalies by split; those that stop a run first. None where nothing was looked at."""
    if not artifacts:
        return None
    rows = []
    for path in [path for artifact in artifacts for path in _files(artifact.uri, "SchemaDiff.pb")]:
        message = anomalies_pb2.Anomalies.FromString(_bytes(path) or b"")
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


def _search(trials: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    """The trials of a search, best first; those that failed at the end, in their order."""
    if not trials:
        return None
    scored = [trial for trial in trials if _is_number(trial.get("score"))]
    failed = [trial for trial in trials if not _is_number(trial.get("score"))]
    return {
        "keys": list(dict.fromkeys(key for trial in trials for key in trial["values"])),
        "trials": sorted(scored, key=lambda trial: (not trial["taken"], -trial["score"])) + failed,
        "failed": len(failed),
        "objective": next((trial["objective"] for trial in scored), "").upper(),
        "seconds": sum(trial["seconds"] for trial in scored),
    }


def _training(history: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not history:
        return None
    epochs = history.get("epochs") or []
    best = history.get("best_epoch")
    objective = history.get("objective") or kinds.objective("ranking").metric
    measured = f"{objective.upper()} on eval" + (", whole catalogue" if "@" in objective else "")
    plots = []
    for key, title in (("loss", "Training loss"), (objective, measured)):
        points = [(e["epoch"], e[key]) for e in epochs if _is_number(e.get(key))]
        if len(points) > 1:
            plots.append(_curve(title, points, best))
    speeds = [e["targets_per_s"] for e in epochs if _is_number(e.get("targets_per_s"))]
    return {
        "history": history,
        "epochs": sum(1 for e in epochs if e.get("epoch", 0) > 0),
        "best": next((e for e in epochs if e.get("epoch") == best), None),
        "plots": plots,
        "seconds": sum(e["seconds"] for e in epochs if _is_number(e.get("seconds"))),
        "targets_per_s": sorted(speeds)[len(speeds) // 2] if speeds else None,
    }


def _curve(title: str, points: Sequence[tuple[float, float]], best: float | None) -> dict[str, Any]:
    """Geometry of a line chart, 480 by 220."""
    left, right, top, bottom = 52.0, 468.0, 14.0, 184.0
    x_ticks = ticks(points[0][0], points[-1][0], 6, whole=True)
    values = [value for _, value in points]
    y_ticks = ticks(min(values), max(values), 5)
    x_low, x_high = points[0][0], max(points[-1][0], points[0][0] + 1)
    y_low, y_high = min(y_ticks[0], min(values)), max(y_ticks[-1], max(values))

    def x(value: float) -> float:
        return round(left + (value - x_low) / (x_high - x_low) * (right - left), 1)

    def y(value: float) -> float:
        return round(bottom - (value - y_low) / ((y_high - y_low) or 1.0) * (bottom - top), 1)

    chosen = next(((epoch, value) for epoch, value in points if epoch == best), None)
    return {
        "title": title,
        "path": " ".join(f"{x(epoch)},{y(value)}" for epoch, value in points),
        "dots": [(x(epoch), y(value), epoch, value) for epoch, value in points],
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x_ticks if x_low <= tick <= x_high],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y_ticks],
        "best": None if chosen is None else (x(chosen[0]), y(chosen[1]), chosen[0], chosen[1]),
        "frame": (left, right, top, bottom),
    }


def ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """Round numbers that cover [low, high]."""
    span = (high - low) or abs(high) or 1.0
    raw = span / max(most - 1, 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    if whole:
        step = max(1.0, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def _evaluation(artifacts: Mapping[str, lineage.Artifact]) -> dict[str, Any] | None:
    if "ModelEvaluation" not in artifacts:
        return None
    # TFMA takes seconds to import; a run that failed before has no need of it.
    from components.evaluator import sentences, verdict

    blessing = artifacts.get("ModelBlessing")
    try:
        found = verdict.read(artifacts["ModelEvaluation"].uri, blessing.uri if blessing else None)
    except FileNotFoundError:
        return None
    metrics = list(found.overall.candidate) if found.overall else []
    if found.steps:
        metrics = [name for name in evaluator_spec.conversion_metrics(found.steps) if name in metrics]
    # Stable: those of the whole catalogue first.
    metrics.sort(key=lambda name: name.startswith(evaluator_spec.SAMPLED_PREFIX))
    main = kinds.objective(found.objective).metric
    return {
        "verdict": found,
        "main": main if main in metrics else next(iter(metrics), None),
        "noun": "exposures" if found.steps else "windows",
        "floors": [(name, _floor_title(name)) for name in (found.overall.floors if found.overall else ())],
        "panels": [_panel(name, found, sentences.slice_name) for name in metrics],
        "sampled": any(name.startswith(evaluator_spec.SAMPLED_PREFIX) for name in metrics),
        "steps": [_step(step, found) for step in found.steps] if found.overall else [],
    }


def _floor_title(name: str) -> str:
    title = evaluator_spec.FLOOR_TITLES[name]
    return title[0].upper() + title[1:]


def _step(step: str, found: Any) -> dict[str, Any]:
    """What is known of one step of exposures on the whole split."""
    overall = found.overall
    candidate, loss = overall.candidate, overall.candidate[f"log_loss/{step}"].value
    return {
        "name": step,
        "labels": overall.labels[step],
        **{
            metric: candidate[f"{metric}/{step}"]
            for metric in ("positive_rate", "auc", "auc_pr", "log_loss", "ece", "calibration")
        },
        "base_loss": loss + overall.lift[f"log_loss/{step}"].value,
        "live_auc": overall.baseline[f"auc/{step}"] if found.has_baseline else None,
        "improvement": overall.improvement.get(step),
        "curve": _calibration(overall.curves.get(step, ())),
    }


def _calibration(bins: Sequence[Any]) -> dict[str, Any] | None:
    """Geometry of a calibration curve, 480 by 330; None where there is too little to draw."""
    if len(bins) < 2:
        return None
    left, right, top, bottom = 58.0, 468.0, 14.0, 284.0
    reached = [each.predicted for each in bins]
    reached += [each.observed.value if each.observed.high is None else each.observed.high for each in bins]
    marked = ticks(0.0, max(reached), 6)

    def x(value: float) -> float:
        return round(left + value / marked[-1] * (right - left), 1)

    def y(value: float) -> float:
        return round(bottom - value / marked[-1] * (bottom - top), 1)

    return {
        "frame": (left, right, top, bottom),
        "ticks": [(x(tick), y(tick), f"{tick:g}") for tick in marked],
        "dots": [
            {
                "x": x(each.predicted),
                "y": y(each.observed.value),
                "low": None if each.observed.low is None else y(each.observed.low),
                "high": None if each.observed.high is None else y(each.observed.high),
                "bin": each,
            }
            for each in bins
        ],
        "path": " ".join(f"{x(each.predicted)},{y(each.observed.value)}" for each in bins),
    }


def _panel(name: str, found: Any, slice_name: Any) -> dict[str, Any]:
    """One metric by slice: a table, and the geometry of a dot-and-interval plot, 960 wide."""
    left, right, top, row_height = 250.0, 930.0, 16.0, 40.0
    series = [("candidate", "This model")]
    floor = found.overall.best_floor(name)
    if floor is not None:
        # The others are in the table.
        series.append(("popularity", _floor_title(floor)))
    if found.has_baseline:
        series.append(("baseline", "Last blessed"))

    def of_part(result: Any, part: str) -> Any:
        return (result.floors[floor] if part == "popularity" else getattr(result, part))[name]

    rows = []
    for index, result in enumerate(found.slices):
        if name not in result.candidate:
            continue
        rows.append(
            {"name": slice_name(result.slice), "result": result, "y": top + row_height * (index + 0.5)}
        )
    bounds = [
        bound
        for row in rows
        for part, _ in series
        for estimate in [of_part(row["result"], part)]
        for bound in (estimate.low, estimate.value, estimate.high)
        if _is_number(bound)
    ]
    # Chance is where an area under the ROC curve starts.
    start = min([0.5, *bounds]) if name.split("/")[0] == evaluator_spec.AUC else 0.0
    marked = ticks(start, max(bounds, default=0.0) or 1.0, 6)
    scale = (right - left) / (marked[-1] - marked[0])

    def x(value: float | None) -> float | None:
        return round(left + (value - marked[0]) * scale, 1) if _is_number(value) else None

    for row in rows:
        row["marks"] = []
        for offset, (part, title) in enumerate(series):
            estimate = of_part(row["result"], part)
            if not _is_number(estimate.value):
                continue
            row["marks"].append(
                {
                    "kind": part,
                    "title": title,
                    "estimate": estimate,
                    "x": x(estimate.value),
                    "low": x(estimate.low),
                    "high": x(estimate.high),
                    "y": round(row["y"] + (offset - (len(series) - 1) / 2) * 10, 1),
                }
            )
    return {
        "metric": name,
        "title": name.upper(),
        "series": series,
        "rows": rows,
        "ticks": [(x(tick), f"{tick:g}") for tick in marked],
        "bottom": top + row_height * len(found.slices),
        "height": top + row_height * len(found.slices) + 30,
        "top": top,
        "row_height": row_height,
    }


def _reasons(found: Any | None) -> list[str]:
    """The reasons of a verdict; of a blessed model those of the whole split (the gate's table has all)."""
    if found is None:
        return []
    if not found.blessed:
        return [*found.reasons, *found.notes]
    return [c.sentence for c in found.conditions if not c.slice and c.outcome == "passed"] + list(found.notes)


def _status(
    components: Sequence[lineage.Component],
    artifacts: Mapping[str, lineage.Artifact],
    evaluation: Mapping[str, Any] | None,
    latency: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What became of the run: `kind` is good, bad or open; reasons are plain sentences."""
    failed = next((component for component in components if component.state == "failed"), None)
    if failed:
        return {
            "kind": "bad",
            "label": "Failed",
            "title": f"{failed.id} stopped the run",
            "reasons": [failed.message] if failed.message else [],
        }
    if not components:
        return {"kind": "open", "label": "Not started", "title": "Nothing has run yet", "reasons": []}
    stopped = next(
        (component for component in components if component.state in ("interrupted", lineage.WAITING)), None
    )
    if stopped:
        where = "was interrupted" if stopped.state == "interrupted" else "was not reached"
        return {
            "kind": "open",
            "label": "Unfinished",
            "title": f"{stopped.id} {where}",
            "reasons": ["The same command goes on from where it stopped."],
        }
    found = evaluation["verdict"] if evaluation else None
    pushed = artifacts.get("PushedModel")
    reasons = _reasons(found)
    if pushed is not None and pushed.properties.get("pushed"):
        version = pushed.properties.get("pushed_version") or os.path.basename(
            str(pushed.properties.get("pushed_destination", ""))
        )
        return {
            "kind": "good",
            "label": "Pushed",
            "title": f"Version {version} is live" if version else "The model is live",
            "reasons": reasons,
            "destination": pushed.properties.get("pushed_destination"),
        }
    if found is not None and not found.blessed:
        return {
            "kind": "bad",
            "label": "Not pushed",
            "title": "The model did not pass the gate",
            "reasons": reasons,
        }
    if latency is not None and not latency.get("blessed", True):
        return {
            "kind": "bad",
            "label": "Not pushed",
            "title": "The model passed the gate, but not the server",
            "reasons": list(latency.get("reasons") or ()),
        }
    if found is not None:
        return {
            "kind": "good",
            "label": "Blessed",
            "title": "The model passed the gate; no push was asked",
            "reasons": reasons,
        }
    return {"kind": "open", "label": "Done", "title": "The run made no evaluation", "reasons": []}


# Files.


def _bytes(path: str) -> bytes | None:
    if not filesystems.FileSystems.exists(path):
        return None
    with filesystems.FileSystems.open(
        path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED
    ) as stream:
        return stream.read()


def _text(path: str) -> str | None:
    data = _bytes(path)
    return None if data is None else data.decode("utf-8", "replace")


def _json(path: str) -> Any | None:
    text = _text(path)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise errors.InputError(
            f"{path}: damaged: not JSON ({error}); the same run again makes it anew"
        ) from error


def _files(folder: str, name: str) -> list[str]:
    (match,) = filesystems.FileSystems.match([filesystems.FileSystems.join(folder, "*", name)])
    return sorted(metadata.path for metadata in match.metadata_list)


# Text.


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> str:
    return f"{value:,.0f}" if _is_number(value) else "–"


def _metric(value: Any) -> str:
    return f"{value:.4f}" if _is_number(value) else "–"


def _value(value: Any) -> str:
    """A setting as a person would write it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _below(run_dir: str, uri: str) -> str:
    """A path in the run's folder without the folder."""
    for folder in (run_dir, os.path.abspath(run_dir)):
        if uri.startswith(folder.rstrip("/") + "/"):
            return uri[len(folder.rstrip("/")) + 1 :]
    return uri


def _signed(value: Any) -> str:
    if not _is_number(value):
        return "–"
    text = f"{abs(value):.4f}"
    return text if float(text) == 0 else ("+" if value > 0 else "\u2212") + text


def _percent(value: Any) -> str:
    if not _is_number(value):
        return "–"
    return f"{value:.1%}" if value == 0 or value >= 0.001 else f"{value:.2%}"


def _seconds(value: Any) -> str:
    if not _is_number(value):
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _parse_time(value: Any) -> datetime.datetime | None:
    if _is_number(value):
        return datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
    if not value:
        return None
    try:
        moment = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)


def _moment(value: Any) -> str:
    moment = value if isinstance(value, datetime.datetime) else _parse_time(value)
    if moment is None:
        return str(value) if value else "–"
    moment = moment.astimezone(datetime.timezone.utc)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"
