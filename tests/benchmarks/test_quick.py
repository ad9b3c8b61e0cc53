"""Benchmarks run to their end by `--quick`, and say in a last line of JSON what they measured.

Their sizes are smaller than those of `--quick`, by its own `--size`: no figure is of any use here.
"""

import argparse
import contextlib
import importlib
import json
import os
import pathlib
import sys
import tempfile

import pytest

from benchmarks import catalogue, processes, quick, retrieval, serving, training
from pipeline import datasets
from tests import fixtures, reweighted


def _drawn(name, to=None, say=None):
    """A log in place of a public one, which would be fetched."""
    from benchmarks import throughput

    folder = pathlib.Path(tempfile.mkdtemp())
    throughput.uneven(str(folder / datasets.EVENTS), users=200, longest=20)
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


@contextlib.contextmanager
def _served(base):
    """In this process, too."""
    from serving import server

    with server.Server(base) as embedded:
        yield f"127.0.0.1:{embedded.grpc_port}"


def _toys(plain):
    """In place of models that `serving` exports in its own test: two that are there."""

    def export_models(folder, seeds):
        made = [os.path.join(folder, f"versions-{seed}") for seed in seeds]
        for seed, versions in zip(seeds, made):
            reweighted.copy(plain / "model", os.path.join(versions, "1"), seed)
        return made

    return export_models


# What was measured, of which one figure is looked at.
_MEASURED = {
    "catalogue": lambda found: found["within_limit"] and found["peak_mb"] > 0,
    "conversion_speed": lambda found: _positive(
        found, "conversion_speed", "mmoe", "rows_per_s", training.FOOTFALL
    ),
    "exposures": lambda found: _positive(found, "transform", "rows_per_s", 0),
    "gpu": lambda found: found["steps"] and all(one["step_ms"] > 0 for one in found["steps"].values()),
    "hot_swaps": lambda found: found["answers"] > 0 and found["versions_pushed"] == 2,
    "periods": lambda found: found["same_examples"] and _positive(found, "events_per_s", "columnar"),
    "pooling": lambda found: _positive(found, "ratio", "3") and _positive(found, "days", "3", "none", "ms"),
    "recurrent": lambda found: (
        _positive(found, "cpu_ms", "20", "unrolled") and _positive(found, "ratio", "130")
    ),
    "retrieval": lambda found: found["5000"]["recall"] > 0.8 and _positive(found, "5000", "ivf_2", "p50_ms"),
    "scene_steps": lambda found: _positive(found, "candidates", "50", "scenecontrarec", "step_ms"),
    "throughput": lambda found: _positive(
        found, "throughput", "uneven", "sasrec", "targets_per_s", training.FOOTFALL
    ),
    "tp_speed": lambda found: _positive(
        found, "tp_speed", "uneven", "sasrec", "targets_per_s", "k 2, lambda 0.1"
    ),
    "transfer": lambda found: found["0.5"]["logs"] == 1 and "mmoe -> esmm" in found["0.5"]["pairs"],
    "training": lambda found: found["targets_per_s"] > 0,
    "warm_start": lambda found: found["seeds"][0]["warm"]["eval"] > 0,
    "windowing": lambda found: found["same_examples"] and found["events_per_s"] > 0,
}


_SIZES = {
    "catalogue": {"items": 2000, "windows": 16},
    "conversion_speed": {"rows": 2048, "seconds": 0.1},
    "exposures": {"rows": 400},
    "gpu": {"items": 100, "windows": 64, "seconds": 0.01, "blocks": 1},
    "hot_swaps": {"seconds": 0.2, "every": 0.2},
    "periods": {"events": 1500},
    "pooling": {"days": 3, "batch": 4, "steps": 1, "blocks": 1},
    "recurrent": {"long": 130, "batch": 4},
    "retrieval": {"asked": 64, "seconds": 0.1},
    "scene_steps": {"items": 50, "batch": 4, "steps": 1, "models": 1},
    "throughput": {"users": 200, "longest": 20, "seconds": 0.1},
    "tp_speed": {"users": 200, "longest": 20, "seconds": 0.1},
    "training": {"seconds": 0.1},
    "transfer": {"rows": 3000, "users": 20, "epochs": 1},
    "warm_start": {"users": 40, "epochs": 1},
    "windowing": {"events": 2000},
}


@pytest.mark.parametrize("name", _MEASURED)
def test_a_quick_run_ends_with_its_figures(name, monkeypatch, capsys, request):
    def no_other(system, seconds):
        raise training.Unavailable("is left out")

    monkeypatch.setattr(training, "environment", no_other)
    monkeypatch.setattr(datasets, "fetch", _drawn)
    monkeypatch.setattr(processes, "measure", _here)
    monkeypatch.setattr(catalogue, "_process", catalogue.measure)
    monkeypatch.setattr(serving, "served", _served)
    # A transform graph of this length is made for other tests, too.
    monkeypatch.setattr(retrieval, "_LENGTH", fixtures.LENGTH)
    if name == "hot_swaps":
        monkeypatch.setattr(serving, "export_models", _toys(request.getfixturevalue("plain")))
    sizes = [part for size, number in _SIZES[name].items() for part in ("--size", f"{size}={number}")]
    monkeypatch.setattr(sys, "argv", [name, "--quick", *sizes])
    try:
        code = importlib.import_module(f"benchmarks.{name}").main()
    except SystemExit as ended:
        code = ended.code
    assert not code
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert _MEASURED[name](found), found


def test_only_sizes_that_there_are_can_be_changed(capsys):
    parser = argparse.ArgumentParser()
    quick.add(parser, "small", rows=50, seconds=1.0)
    assert parser.parse_args(["--quick"]).quick == {"rows": 50, "seconds": 1.0}
    assert parser.parse_args([]).quick is None
    assert parser.parse_args(["--size", "seconds=2", "--quick"]).quick == {"rows": 50, "seconds": 2.0}
    for wrong, said in (("row=9", "--size takes rows, seconds; found row"), ("rows=few", "found 'few'")):
        with pytest.raises(SystemExit):
            parser.parse_args(["--quick", "--size", wrong])
        assert said in capsys.readouterr().err
