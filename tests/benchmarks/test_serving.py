"""The benchmark of the server runs to its end."""

import json
import sys

from benchmarks import serving


def test_it_ends_with_its_figures(monkeypatch, capsys):
    monkeypatch.setattr(serving, "_QUICK", (1, 20))
    monkeypatch.setattr(serving, "_WARMUP", 2)
    monkeypatch.setattr(sys, "argv", ["serving", "--quick", "--clients", "2"])
    serving.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["clients"] == 2 and 0 < figures["p50_ms"] <= figures["p99_ms"]
