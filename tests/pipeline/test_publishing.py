"""Which of the pushed versions servers load, by commands."""

import concurrent.futures
import contextlib
import threading
import time
import types

import pytest

from pipeline import cli, publishing
from schemas import errors
from serving import manifest, published

FIRST, SECOND, THIRD = 1_700_000_000, 1_700_000_100, 1_700_000_200


@pytest.fixture
def base(tmp_path):
    for version in (FIRST, SECOND, THIRD):
        folder = tmp_path / str(version)
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"graph of %d" % version)
        manifest.write(str(folder), manifest.measure(str(folder)))
    return tmp_path


@pytest.fixture
def waits(base, monkeypatch):
    """What `models.config` says whenever a command waits for servers to read it."""
    seen = []
    clock = types.SimpleNamespace(sleep=lambda seconds: seen.append(published.read(str(base))))
    monkeypatch.setattr(publishing, "time", clock)
    return seen


@pytest.fixture
def ask(base, waits, capsys):
    """A function from arguments to the code, the lines that were printed, and what was said."""

    def run(command, *arguments):
        code = cli.execute([command, str(base), *arguments])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def rolled(to, of):
    return (
        f"version {to} answers in place of {of} where servers read models.config, until another one is pushed"
    )


def test_history_promotion_and_rollback(base, ask):
    assert ask("history") == (
        0,
        [
            f"{THIRD}  2023-11-14 22:16:40  answers",
            f"{SECOND}  2023-11-14 22:15:00",
            f"{FIRST}  2023-11-14 22:13:20",
        ],
        "",
    )
    code, printed, _ = ask("promote", "--version", str(SECOND))
    assert (code, printed) == (0, [f"stable is version {SECOND}; loaded: {SECOND}, {THIRD}"])
    ask("promote", "--label", "canary")
    assert published.read(str(base)) == published.Published(
        (SECOND, THIRD), {"stable": SECOND, "canary": THIRD}
    )
    assert [line.split("  ")[2:] for line in ask("history")[1]] == [
        ["answers, canary"],
        ["loaded, stable"],
        [],
    ]
    code, printed, _ = ask("rollback")
    assert (code, printed) == (0, [rolled(SECOND, THIRD)])
    assert published.read(str(base)) == published.Published(
        (SECOND,), {"stable": SECOND, "canary": SECOND}, withdrawn=(THIRD,)
    )
    ask("rollback", "--served-as", "/models")
    assert published.read(str(base)) == published.Published(
        (FIRST,), dict.fromkeys(("stable", "canary"), FIRST), "/models", (SECOND, THIRD)
    )
    code, _, said = ask("rollback")
    assert code == 2 and f"there is no sound version before {FIRST}" in said


def test_a_push_answers_after_a_rollback_and_keeps_the_path_of_the_server(base, ask):
    ask("rollback", "--served-as", "/models")
    later = THIRD + 1
    published.publish(str(base), later)
    assert published.read(str(base)) == published.Published((later,), {}, "/models", (THIRD,))


def test_a_rollback_stays_until_its_version_is_named(base, ask):
    ask("rollback")
    assert not published.publish(str(base), THIRD) and published.read(str(base)).versions == (SECOND,)
    # Nor does a label bring it back: servers answer from the latest version that they load.
    assert ask("promote")[1] == [f"stable is version {SECOND}; loaded: {SECOND}"]
    code, _, said = ask("promote", "--version", str(THIRD))
    assert code == 2 and f"footfall rollback --version {THIRD} has it answer" in said
    ask("rollback", "--version", str(THIRD))
    assert published.read(str(base)).versions[-1] == THIRD and not published.read(str(base)).withdrawn


def test_a_later_rollback_does_not_bring_back_what_was_withdrawn(base, ask):
    ask("rollback")
    later = base / str(THIRD + 1)
    later.mkdir()
    (later / "saved_model.pb").write_bytes(b"graph")
    manifest.write(str(later), manifest.measure(str(later)))
    published.publish(str(base), THIRD + 1)
    assert ask("rollback")[1] == [rolled(SECOND, THIRD + 1)]
    assert published.read(str(base)) == published.Published((SECOND,), {}, "", (THIRD, THIRD + 1))
    ask("rollback")
    assert published.read(str(base)).withdrawn == (SECOND, THIRD, THIRD + 1)
    # Named, the one is back, and the others stay withdrawn.
    ask("rollback", "--version", str(THIRD))
    assert published.read(str(base)) == published.Published((THIRD,), {}, "", (SECOND, THIRD + 1))


def test_a_damaged_newest_version_is_not_what_answers(base, ask):
    (base / str(THIRD) / "saved_model.pb").write_bytes(b"cut")
    assert [line.endswith("  answers") for line in ask("history")[1]] == [False, True, False]
    assert ask("rollback")[1] == [rolled(FIRST, SECOND)]


def test_damaged_versions_are_told_and_passed_over(base, ask):
    (base / str(SECOND) / "saved_model.pb").write_bytes(b"cut")
    damage = "saved_model.pb has 3 bytes, it had 19"
    assert ask("history")[1][1].endswith(f"damaged: {damage}")
    code, _, said = ask("promote", "--version", str(SECOND))
    assert code == 2 and f"{SECOND} is damaged: {damage}" in said
    assert ask("rollback")[1] == [rolled(FIRST, THIRD)]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("promote", "--version", "5"), f"there is no version 5; there are {FIRST}, {SECOND}, {THIRD}"),
        (("rollback", "--version", "5"), "there is no version 5"),
    ],
)
def test_a_version_that_is_not_there(base, ask, arguments, words):
    code, printed, said = ask(*arguments)
    assert (code, printed) == (2, []) and words in said and published.read(str(base)) is None


def test_a_label_moves_to_a_version_that_is_not_loaded_in_two_steps(base, ask, waits):
    """TensorFlow Serving takes each of the files after the one before it, see `tests/conformance/test_versions.py`."""
    ask("promote")
    code, printed, said = ask("rollback")
    assert (code, printed) == (0, [rolled(SECOND, THIRD)])
    assert said == f"{SECOND} answers; stable: of no version until servers know that: 20 s\n"
    assert waits == [published.Published((SECOND,), {}, withdrawn=(THIRD,))]
    assert published.read(str(base)) == published.Published((SECOND,), {"stable": SECOND}, withdrawn=(THIRD,))
    waits.clear()
    # A label that is there stays where it is until the version is one to be loaded.
    assert ask("promote", "--version", str(FIRST))[2] == (
        f"stable moves from {SECOND} once servers know that they load {FIRST}: 20 s\n"
    )
    assert waits == [published.Published((FIRST, SECOND), {"stable": SECOND}, withdrawn=(THIRD,))]
    assert published.read(str(base)).labels == {"stable": FIRST}


def test_a_push_to_a_bucket_while_a_label_moves_takes_nothing_of_that(base, ask, monkeypatch):
    """A bucket has no lock: what the push writes does not name the version that is about to get the label."""
    published.write(str(base), published.Published((SECOND, THIRD), {"stable": SECOND}))
    seen, later = [], THIRD + 1

    def sleep(seconds):
        seen.append(published.read(str(base)).versions)
        if len(seen) == 1:
            published.publish(str(base), later)

    monkeypatch.setattr(publishing, "time", types.SimpleNamespace(sleep=sleep))
    assert ask("promote", "--version", str(FIRST))[1] == [
        f"stable is version {FIRST}; loaded: {FIRST}, {later}"
    ]
    assert seen == [(FIRST, SECOND, THIRD), (FIRST, SECOND, later)]
    assert published.read(str(base)) == published.Published((FIRST, later), {"stable": FIRST})


def test_a_rollback_of_a_bucket_while_a_label_moves_is_not_undone(base, ask, monkeypatch):
    published.write(str(base), published.Published((FIRST, THIRD), {"stable": FIRST}))
    rolled_back = published.Published((FIRST,), {"stable": FIRST}, withdrawn=(SECOND, THIRD))
    clock = types.SimpleNamespace(sleep=lambda _: published.write(str(base), rolled_back))
    monkeypatch.setattr(publishing, "time", clock)
    code, _, said = ask("promote")
    assert code == 2 and f"{THIRD} is later than {FIRST}, which answers" in said
    assert published.read(str(base)) == rolled_back


@pytest.mark.parametrize("stopped", [False, True])
def test_a_push_to_a_bucket_while_a_rollback_waits_is_what_is_told_to_answer(base, ask, monkeypatch, stopped):
    later = THIRD + 1

    def sleep(seconds):
        published.publish(str(base), later)
        if stopped:
            raise KeyboardInterrupt

    ask("promote")
    monkeypatch.setattr(publishing, "time", types.SimpleNamespace(sleep=sleep))
    code, printed, said = ask("rollback")
    if stopped:
        assert code == 2 and f"stopped: version {later} answers, and stable: of no version" in said
        return
    assert (code, printed) == (
        0,
        [
            f"version {later} answers where servers read models.config: it was pushed meanwhile, else {SECOND} would in place "
            f"of {THIRD}; footfall rollback --version {SECOND} takes it back, too"
        ],
    )
    assert published.read(str(base)) == published.Published(
        (SECOND, later), {"stable": SECOND}, withdrawn=(THIRD,)
    )


def test_servers_have_the_time_to_read_a_file_by_a_clock_that_is_ahead_of_the_buckets(
    base, ask, waits, monkeypatch
):
    monkeypatch.setattr(published, "time", types.SimpleNamespace(time=lambda: time.time() + 60))
    ask("promote")
    assert ask("rollback")[2].endswith("until servers know that: 20 s\n") and len(waits) == 1
    assert ask("promote", "--version", str(FIRST))[2].endswith(f"load {FIRST}: 20 s\n") and len(waits) == 2


def test_a_label_moves_at_once_to_a_version_that_servers_have_had_the_time_to_load(
    base, ask, waits, monkeypatch
):
    published.write(str(base), published.Published((SECOND, THIRD), {"stable": SECOND}))
    monkeypatch.setattr(published, "READ_SECONDS", 0.0)
    ask("promote", "--version", str(THIRD)), ask("promote", "--version", str(SECOND), "--label", "old")
    ask("rollback")
    assert published.read(str(base)).labels == {"stable": SECOND, "old": SECOND} and not waits


def test_a_rollback_that_is_stopped_says_how_to_go_on(base, ask, monkeypatch):
    def stop(seconds):
        raise KeyboardInterrupt

    ask("promote")
    monkeypatch.setattr(publishing.time, "sleep", stop)
    code, printed, said = ask("rollback")
    assert (code, printed) == (2, []) and f"promote --version {SECOND} --label LABEL gives it back" in said
    assert published.read(str(base)) == published.Published((SECOND,), withdrawn=(THIRD,))


@pytest.mark.parametrize(
    "command", [publishing.rollback, lambda base: publishing.promote(base, None, "stable")]
)
def test_a_push_that_comes_before_a_command_is_not_what_it_was_asked_for(base, waits, monkeypatch, command):
    """The command waits for the push to let go of the folder."""
    waiting, locked, later = threading.Event(), published.locked, THIRD + 1

    @contextlib.contextmanager
    def wait(place):
        waiting.set()
        with locked(place):
            yield

    monkeypatch.setattr(published, "locked", wait)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with locked(str(base)):
            asked = pool.submit(command, str(base))
            assert waiting.wait(60)
            (base / str(later)).mkdir()
            (base / str(later) / "saved_model.pb").write_bytes(b"graph")
        with pytest.raises(
            errors.InputError, match=f"{THIRD} answered when this began, and {later} does now"
        ):
            asked.result(60)
        assert published.read(str(base)) is None
        # Who names a version is told what it takes the place of.
        waiting.clear()
        with locked(str(base)):
            asked = pool.submit(publishing.rollback, str(base), SECOND)
            assert waiting.wait(60)
            (base / str(later + 1)).mkdir()
            (base / str(later + 1) / "saved_model.pb").write_bytes(b"graph")
        assert f"in place of {later + 1} ({later} answered when this began)" in asked.result(60)
    assert published.read(str(base)).withdrawn == (THIRD, later, later + 1)
