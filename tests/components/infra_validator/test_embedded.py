"""A server that is started before there is a candidate."""

import os
import shutil
import time
import types

import pytest

from components.infra_validator import embedded, executor, processes, spec
from tests.components.infra_validator import test_executor

INFRA = spec.InfraSpec(server="embedded", requests=2, max_p50_ms=5000.0)


def test_the_server_that_waits_tries_the_candidate_and_is_ended(toy):
    with embedded.started_ahead(INFRA):
        (waiting,) = embedded._waiting
        assert waiting.process.poll() is None
        result = executor.validate(str(toy / "model"), test_executor.EXAMPLES, INFRA)
        assert result["blessed"], result["reasons"]
        assert not embedded._waiting and waiting.process.poll() is not None
        assert not os.path.exists(waiting.folder)


def test_one_that_has_died_waiting_is_replaced(toy):
    with embedded.started_ahead(INFRA):
        (waiting,) = embedded._waiting
        waiting.process.kill()
        waiting.process.wait()
        result = executor.validate(str(toy / "model"), test_executor.EXAMPLES, INFRA)
    assert result["blessed"], result["reasons"]
    assert not os.path.exists(waiting.folder)


def test_what_it_says_of_a_broken_candidate_is_told(toy, tmp_path):
    broken = tmp_path / "model"
    shutil.copytree(toy / "model", broken)
    (broken / "saved_model.pb").write_bytes(b"no model")
    infra = spec.InfraSpec(server="embedded", load_seconds=3600)
    start = time.monotonic()
    with embedded.started_ahead(infra):
        result = executor.validate(str(broken), test_executor.EXAMPLES, infra)
    # No time is lost with waiting.
    assert time.monotonic() - start < 600
    assert not result["blessed"] and result["p50_ms"] is None
    (reason,) = result["reasons"]
    assert (
        reason.startswith("the model does not load; the server said: ")
        and "version 1 does not load" in reason
    )


def test_a_server_that_no_trial_takes_is_ended(tmp_path):
    with pytest.raises(KeyboardInterrupt), embedded.started_ahead(INFRA):
        (waiting,) = embedded._waiting
        raise KeyboardInterrupt
    assert waiting.process.poll() is not None and not embedded._waiting and not os.path.exists(waiting.folder)


@pytest.mark.parametrize(
    "server, there, daemon, waits",
    [
        ("auto", (), False, 1),
        ("auto", ("docker",), False, 1),
        ("auto", ("docker",), True, 0),
        ("auto", (processes.BINARY,), False, 0),
        ("binary", (), False, 0),
    ],
)
def test_none_waits_where_another_server_is_asked(server, there, daemon, waits, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: name if name in there else None)
    told = types.SimpleNamespace(returncode=0 if daemon else 1)
    monkeypatch.setattr(processes.subprocess, "run", lambda *_, **__: told)
    monkeypatch.setattr(embedded, "_start", lambda base, log: (_Nobody(), "nowhere"))
    with embedded.started_ahead(spec.InfraSpec(server=server)):
        assert len(embedded._waiting) == waits


class _Nobody:
    """A process that is none."""

    def terminate(self):
        """Nothing to end."""

    def wait(self, timeout):
        """Ended before it began."""
