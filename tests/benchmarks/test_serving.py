"""The benchmark of the server runs to its end."""

import json
import sys

from benchmarks import serving
from tests import fixtures


def test_it_ends_with_its_figures(monkeypatch, capsys):
    sizes = [
        part for size in ("rounds=1", "requests=20", "seconds=0.2", "warmup=2") for part in ("--size", size)
    ]
    # A transform graph of this length is made for other tests, too.
    monkeypatch.setattr(serving, "_LENGTH", fixtures.LENGTH)
    monkeypatch.setattr(sys, "argv", ["serving", "--quick", "--clients", "2", *sizes])
    serving.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["clients"] == 2 and 0 < figures["p50_ms"] <= figures["p99_ms"]
