"""Benchmarks run to their end by `--quick`, and say in a last line of JSON what they measured."""

import importlib
import json
import pathlib
import sys
import tempfile

import pytest

from benchmarks import catalogue, processes, training
from pipeline import datasets


def _drawn(name, to=None, say=None):
    """A log in place of a public one, which would be fetched."""
    from benchmarks import throughput

    folder = pathlib.Path(tempfile.mkdtemp())
    throughput.uneven(str(folder / datasets.EVENTS))
    return str(folder)


def _here(module, *arguments):
    """In this process, which has imported all that one of its own would."""
    return importlib.import_module(module).measure(*map(_number, arguments))


def _number(text):
    return int(text) if text.isdecimal() else text


def _positive(found, *path):
    for name in path:
        found = found[name]
    return found > 0


# What was measured, of which one figure is looked at. `hot_swaps` takes minutes: the conformance suite exchanges
# versions under load.
_MEASURED = {
    "catalogue": lambda found: found["within_limit"] and found["peak_mb"] > 0,
    "conversion_speed": lambda found: _positive(
        found, "conversion_speed", "mmoe", "rows_per_s", training.FOOTFALL
    ),
    "exposures": lambda found: _positive(found, "transform", "rows_per_s", 0),
    "gpu": lambda found: found["steps"] and all(one["step_ms"] > 0 for one in found["steps"].values()),
    "retrieval": lambda found: found["5000"]["recall"] > 0.8 and _positive(found, "5000", "ivf_2", "p50_ms"),
    "throughput": lambda found: _positive(
        found, "throughput", "uneven", "sasrec", "targets_per_s", training.FOOTFALL
    ),
    "tp_speed": lambda found: _positive(
        found, "tp_speed", "uneven", "sasrec", "targets_per_s", "k 2, lambda 0.1"
    ),
    "training": lambda found: found["targets_per_s"] > 0,
    "windowing": lambda found: found["same_examples"] and found["events_per_s"] > 0,
}


@pytest.mark.parametrize("name", _MEASURED)
def test_a_quick_run_ends_with_its_figures(name, monkeypatch, capsys):
    def no_other(system, seconds):
        raise training.Unavailable("is left out")

    monkeypatch.setattr(training, "environment", no_other)
    monkeypatch.setattr(datasets, "fetch", _drawn)
    monkeypatch.setattr(processes, "measure", _here)
    monkeypatch.setattr(catalogue, "_process", catalogue.measure)
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    try:
        code = importlib.import_module(f"benchmarks.{name}").main()
    except SystemExit as ended:
        code = ended.code
    assert not code
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert _MEASURED[name](found), found
