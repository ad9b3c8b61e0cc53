"""What a run says: each component's words and end, and never long silence."""

import io
import logging
import subprocess
import sys
import time

from pipeline import progress


def _lines(screen):
    return screen.getvalue().splitlines()


def test_what_components_say_and_how_they_end():
    screen = io.StringIO()
    with progress.Progress(["Transform", "Trainer"], screen) as shown:
        shown.start("Transform")
        shown.finish(progress.CACHED)
        shown.start("Trainer")
        logging.getLogger(progress.LOGGER).info("epoch 1/2")
        shown.finish(progress.DONE)
    assert _lines(screen) == [
        "[ 1/2] ↺ Transform: cached",
        "        Trainer: epoch 1/2",
        "[ 2/2] ✓ Trainer: done in 0 s",
    ]
    assert [component.message for component in shown.components] == ["", "epoch 1/2"]


def _until(screen, words, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if any(words in line for line in _lines(screen)):
            return
        time.sleep(0.01)
    raise AssertionError(f"{words!r} was not said: {screen.getvalue()!r}")


def test_a_silent_component_is_named_with_what_it_does():
    screen = io.StringIO()
    with progress.Progress(["Transform", "Trainer"], screen, quiet_seconds=0.05) as shown:
        time.sleep(0.2)
        assert not _lines(screen)  # nothing runs
        shown.start("Transform")
        _until(screen, "Transform: still at work after 0 s: makes vocabularies and features (Beam)")
        shown.finish(progress.DONE)
        shown.start("Trainer")
        logging.getLogger(progress.LOGGER).info("epoch 3/60, at most 2 min 05 s left")
        _until(screen, "Trainer: still at work after 0 s: epoch 3/60, at most 2 min 05 s left")
        shown.finish(progress.DONE)
        said = len(_lines(screen))
        time.sleep(0.2)
        assert len(_lines(screen)) == said
    # What it does is no message of its own: the report keeps what components say.
    assert shown.components[0].message == ""


def test_who_speaks_is_not_interrupted():
    screen = io.StringIO()
    with progress.Progress(["Trainer"], screen, quiet_seconds=5.0) as shown:
        shown.start("Trainer")
        for _ in range(10):
            logging.getLogger(progress.LOGGER).info("epoch")
            time.sleep(0.02)
        shown.finish(progress.DONE)
    assert not any("still at work" in line for line in _lines(screen))


def test_a_command_that_prints_an_answer_shows_none_of_tensorflow_s_warnings():
    """In a process of its own: the level would be that of all tests to come."""
    code = (
        "from pipeline import progress; progress.import_tensorflow(); import tensorflow as tf; "
        "tf.get_logger().warning('deprecated'); tf.get_logger().error('broken')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "" and "deprecated" not in done.stderr and "broken" in done.stderr


def test_warnings_outlast_the_messages_after_them():
    with progress.Progress(["Embed"], io.StringIO()) as shown:
        shown.start("Embed")
        logging.getLogger(progress.LOGGER).warning("the log ends early")
        logging.getLogger(progress.LOGGER).info("asking the model")
        shown.finish(progress.DONE)
    assert shown.warnings == ["the log ends early"] and shown.components[0].message == "asking the model"
