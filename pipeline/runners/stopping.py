"""Ctrl-C and SIGTERM stop a command, whatever a library makes of the exception."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Stop:
    """Whether a person or a supervisor has asked for an end.

    Beam and TFX raise errors of their own, with the text of the KeyboardInterrupt at best; workers that are other
    processes die of the same Ctrl-C, and then the error is about them.
    """

    def __init__(self) -> None:
        self.asked = False

    def ask(self, *_: Any) -> None:
        """The handler of the signals.

        Raises:
          KeyboardInterrupt: always.
        """
        self.asked = True
        raise KeyboardInterrupt

    def heed(self, error: Exception | None = None) -> None:
        """Goes on if nobody has asked for an end.

        Args:
          error: what was raised, if anything was.

        Raises:
          KeyboardInterrupt: in place of the error, which is no failure.
        """
        if self.asked:
            raise KeyboardInterrupt from error


@contextlib.contextmanager
def by_signals() -> Iterator[Stop]:
    """Has SIGTERM stop what is within as Ctrl-C does: with a line, and what it started ended.

    Yields:
      To be asked by those within who catch whatever is raised.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop.ask)}
    # A shell has its jobs in the background ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, stop.ask)
    try:
        yield stop
    except Exception as error:
        stop.heed(error)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
