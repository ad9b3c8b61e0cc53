"""Ctrl-C and SIGTERM stop a run, whatever Beam and TFX make of them."""

import os
import signal
import subprocess
import sys
import threading
import time

import apache_beam as beam
import pytest
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from pipeline import config, progress
from pipeline.runners import folder, local, stopping
from schemas import errors

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def be_stopped(_=None):
    os.kill(os.getpid(), int(os.environ["STOP_BY"]))
    time.sleep(60)


@component
def Read(examples: OutputArtifact[standard_artifacts.Examples]):
    with beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline:
        _ = pipeline | beam.Create([1]) | beam.Map(be_stopped)


@component
def Swallow(examples: OutputArtifact[standard_artifacts.Examples]):
    try:
        be_stopped()
    except BaseException:
        pass


@component
def After(model: OutputArtifact[standard_artifacts.Model]):
    raise AssertionError("the run goes on")


@pytest.fixture(params=SIGNALS)
def number(request, monkeypatch):
    monkeypatch.setenv("STOP_BY", str(int(request.param)))
    # As in the foreground: whoever runs these in the background has Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield request.param
    signal.signal(signal.SIGINT, before)


def test_beam_wraps_the_exception_and_the_run_is_stopped(number):
    before = {each: signal.getsignal(each) for each in SIGNALS}
    with pytest.raises(KeyboardInterrupt) as told, stopping.by_signals():
        with beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline:
            _ = pipeline | beam.Create([1]) | beam.Map(be_stopped)
    assert isinstance(told.value.__cause__, RuntimeError) and "KeyboardInterrupt" in str(told.value.__cause__)
    assert {each: signal.getsignal(each) for each in SIGNALS} == before


def test_an_error_after_a_signal_is_that_of_the_stop():
    """Within, and for whoever sees it outside."""
    with pytest.raises(KeyboardInterrupt) as told:
        with stopping.by_signals():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt as error:
                raise errors.InputError("a worker is gone") from error
    assert str(told.value.__cause__) == "a worker is gone"
    # Nobody has asked for this one.
    with pytest.raises(errors.InputError):
        with stopping.by_signals() as stop:
            stop.heed()
            raise errors.InputError("KeyboardInterrupt")


def test_ctrl_c_is_ignored_where_it_was_and_other_threads_have_no_signals():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.by_signals():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    found = []

    def within():
        with stopping.by_signals() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert found == [False]


def test_sigterm_is_afterwards_what_it_was():
    program = """
import os, signal, time
from pipeline.runners import stopping
try:
    with stopping.by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "stopped\n"
    assert done.returncode == -signal.SIGTERM and done.stderr == ""


@pytest.mark.parametrize("first", [Read, Swallow])
def test_a_component_that_is_stopped_has_not_failed(number, first, tmp_path, capsys):
    """Whether Beam wraps the exception or a library swallows it."""
    begun = first()
    after = After()
    after.add_upstream_node(begun)
    places = folder.places(str(tmp_path))
    dag = tfx.dsl.Pipeline(
        pipeline_name="run",
        pipeline_root=places["pipeline_root"],
        components=[begun, after],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            places["metadata_path"]
        ),
    )
    infra = config.load(config.find("exposures-example")).infra
    with folder.at_work(str(tmp_path), print), progress.Progress([begun.id, after.id], sys.stdout) as shown:
        with pytest.raises(KeyboardInterrupt), stopping.by_signals() as stop:
            local._launch(dag, str(tmp_path), shown, infra, stop)
    ended = progress.RUNNING if first is Read else progress.DONE
    assert [each.state for each in shown.components] == [ended, progress.WAITING]
    assert "failed" not in capsys.readouterr().out
