"""Shows how a run goes: a live table on a terminal, plain lines elsewhere; the noise goes to a file."""

import contextlib
import dataclasses
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich import console as rich_console
from rich import live, table

from schemas import text as text_lib

LOGGER = "footfall.progress"
WAITING, RUNNING, DONE, CACHED, FAILED = "not run", "running", "done", "cached", "failed"
_MARKS = {WAITING: "·", RUNNING: "▸", DONE: "✓", CACHED: "↺", FAILED: "✗"}
_STYLES = {WAITING: "dim", RUNNING: "bold", DONE: "green", CACHED: "cyan", FAILED: "bold red"}

# After so long without a word, a line says what is being done.
QUIET_SECONDS = 30.0
_DOES = {
    "BehaviorExampleGen": "reads the log and cuts it into windows (Beam)",
    "StatisticsGen": "counts the values of the windows' features (Beam)",
    "ExampleValidator": "checks the windows against their schema",
    "AnomalyGate": "compares the splits with each other",
    "Transform": "makes vocabularies and features (Beam)",
    "Tuner": "trains with other settings",
    "Trainer": "reads the windows, builds the model's graph and trains",
    "Evaluator": "asks the model for all test examples and measures (Beam, TFMA)",
    "ServerValidator": "asks the model in a server",
    "Pusher": "copies the model to where servers find it",
    "Embed": "reads the log and asks the model about its users (Beam)",
    "Recommend": "reads the log and asks the model about its users (Beam)",
    "Score": "reads the log and asks the model about its users (Beam)",
}


@dataclasses.dataclass
class Component:
    """The state of one component of a run."""

    id: str
    state: str = WAITING
    seconds: float = 0.0
    message: str = ""
    started: float = 0.0


class Progress(logging.Handler):
    """The components of a run and what they say through the logger `footfall.progress`.

    Args:
      ids: of the components, in their order.
      screen: the stream that a person (or a log) reads.
      details: off a terminal, print what the components say as they run, not only how each ends.
      quiet_seconds: off a terminal, how long nothing is printed before a line says what is being done.

    Attributes:
      warnings: what was said as one; on a terminal the next message takes its place.
    """

    def __init__(
        self,
        ids: Sequence[str],
        screen: TextIO,
        details: bool = True,
        quiet_seconds: float = QUIET_SECONDS,
    ):
        super().__init__(logging.INFO)
        self.components: list[Component] = [Component(name) for name in ids]
        self.warnings: list[str] = []
        self._console = rich_console.Console(file=screen, highlight=False, soft_wrap=True)
        self._details = details
        self._live: live.Live | None = None
        self._current: Component | None = None
        self._quiet_seconds = quiet_seconds
        self._spoken = time.monotonic()
        self._level = logging.NOTSET
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._break_silence, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            # What is written to stdout and stderr belongs to the log (see `quiet`), not above the table.
            self._live = live.Live(
                get_renderable=self._table,
                console=self._console,
                refresh_per_second=4,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self._watch.start()
        logger = logging.getLogger(LOGGER)
        logger.addHandler(self)
        self._level = logger.level
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *exception: Any) -> None:
        logger = logging.getLogger(LOGGER)
        logger.removeHandler(self)
        logger.setLevel(self._level)
        if self._live:
            self._live.stop()
        else:
            self._over.set()
            self._watch.join()

    def start(self, name: str) -> None:
        """A component begins."""
        self._current = next(c for c in self.components if c.id == name)
        self._current.state, self._current.started = RUNNING, time.monotonic()
        self._spoken = time.monotonic()

    def finish(self, state: str, message: str = "") -> None:
        """The component that runs has ended."""
        component = self._current
        component.state = state
        component.seconds = time.monotonic() - component.started
        component.message = text_lib.visible(message) or component.message
        if not self._live:
            done = sum(c.state in (DONE, CACHED, FAILED) for c in self.components)
            words = f"[{done:2d}/{len(self.components)}] {_MARKS[state]} {component.id}: {state}"
            if state != CACHED:
                words += f" in {component.seconds:.0f} s"
            self._line(words if self._details or not message else f"{words}; {message}")

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line that a component says."""
        text = text_lib.visible(record.getMessage())
        if record.levelno >= logging.WARNING:
            self.warnings.append(text)
        if self._current:
            self._current.message = text
        if not self._live and self._details:
            self._line(f"        {self._current.id + ': ' if self._current else ''}{text}")

    def _break_silence(self) -> None:
        """Says what a component does that has said nothing for long, until the run is over."""
        while not self._over.wait(min(1.0, self._quiet_seconds / 4)):
            component, now = self._current, time.monotonic()
            if component is None or component.state != RUNNING or now - self._spoken < self._quiet_seconds:
                continue
            doing = component.message or _DOES.get(component.id, "")
            seconds = f"still at work after {now - component.started:.0f} s"
            self._line(f"        {component.id}: {seconds}{': ' + doing if doing else ''}")

    def _line(self, text: str) -> None:
        self._spoken = time.monotonic()
        self._console.print(text_lib.visible(text), markup=False)
        self._console.file.flush()

    def _table(self) -> table.Table:
        grid = table.Table.grid(padding=(0, 2))
        for component in self.components:
            seconds = component.seconds
            if component.state == RUNNING:
                seconds = time.monotonic() - component.started
            style = _STYLES[component.state]
            grid.add_row(
                f"[{style}]{_MARKS[component.state]} {component.id}[/]",
                f"{seconds:4.0f} s" if seconds >= 0.5 else "",
                self._words(component).replace("[", r"\["),
            )
        return grid

    def _words(self, component: Component) -> str:
        if component.message or component.state != RUNNING:
            return component.message
        return _DOES.get(component.id, "")


def import_tensorflow() -> None:
    """Imports TensorFlow without what it says of the machine, which its log level does not stop, and later of its own API.

    A command that prints an answer has no log for such warnings: nothing that its user does would stop them.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow as tf

        import schemas  # noqa: F401  selects Keras 2
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
    tf.get_logger().setLevel(logging.ERROR)


@contextlib.contextmanager
def quiet(log_path: str, to: int = 1) -> Iterator[TextIO]:
    """Sends all that libraries write to stdout and stderr to a file, at the level of descriptors.

    Args:
      log_path: of the file.
      to: the descriptor that is yielded: 2 where stdout is for what a program reads.

    Yields:
      A stream to the real stdout or stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    saved = [os.dup(1), os.dup(2)]
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    screen = os.fdopen(os.dup(saved[to - 1]), "w", encoding="utf-8", errors="replace", buffering=1)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield screen
    finally:
        for stream in (sys.stdout, sys.stderr):
            # On a full disk the rest of the log is lost, but not what the run says of that on the screen.
            with contextlib.suppress(OSError):
                stream.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, log):
            os.close(descriptor)
        screen.close()
