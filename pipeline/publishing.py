"""What `footfall history`, `promote` and `rollback` do: which of the pushed versions servers load.

It is said in `models.config` beside the versions, see `serving.published`.
"""

import dataclasses
import math
import time
from collections.abc import Callable

import tensorflow as tf

from components.pusher import verify
from schemas import errors, times, versions
from serving import published

# Is told what is waited for.
Say = Callable[[str], None]


def _nothing(text: str) -> None:
    del text


def history(base: str) -> list[str]:
    """A line for each version below a folder, newest first: when it was pushed, and what it is to servers.

    Raises:
      errors.InputError: if there is none.
    """
    there = _there(base)
    said = _said(base, there)
    lines = []
    for version in reversed(there):
        names = sorted(label for label, of in said.labels.items() if of == version)
        words = ["answers" if version == max(said.versions) else "loaded"] if version in said.versions else []
        problem = verify.check(f"{base}/{version}")
        words += names + ([f"damaged: {problem}"] if problem else [])
        lines.append(f"{version}  {_pushed(version)}  {', '.join(words)}".rstrip())
    return lines


def promote(base: str, version: int | None, label: str, served_as: str = "", say: Say = _nothing) -> str:
    """Gives a label to a version, by default to the one that answers; what has no label and does not answer is unloaded.

    A label that moves stays where it is until servers have been told to load its next version.

    Args:
      base: the folder with the versions.
      version: that gets it.
      label: as requests name it.
      served_as: the folder as the server sees it, if that is another path.
      say: is told what is waited for.

    Returns:
      What was done, in a line.

    Raises:
      errors.InputError: if there is no such version, it is damaged, or it is later than the one that answers; or if another
        one has been pushed meanwhile and none is named.
    """
    before = _live(base)
    with published.locked(base):
        there = _there(base)
        said = _said(base, there)
        live = max(said.versions)
        if version is None:
            _check_same(base, before, live)
        chosen = _sound(base, there, live if version is None else version)
        _check_not_later(base, chosen, live)
        if said.labels.get(label, chosen) != chosen:
            what = f"{label} moves from {said.labels[label]} once servers know that they load {chosen}"
            said = _once_named(base, said, chosen, served_as, what, say)
            live = max(said.versions)
        labels = {**said.labels, label: chosen}
        loaded = {live, *labels.values()}
        _write(base, dataclasses.replace(said, versions=tuple(loaded), labels=labels), served_as)
    return f"{label} is version {chosen}; loaded: {', '.join(map(str, sorted(loaded)))}"


def rollback(base: str, version: int | None = None, served_as: str = "", say: Say = _nothing) -> str:
    """Has an earlier version answer, by default the sound one before; labels of later ones go with it.

    Later versions are withdrawn: a push that finds its model among them does not publish it again, and no later rollback goes
    back to one of them unless it is named. A label that would move to a version that is not loaded is taken away at once, and
    given to it once servers know that it is gone.

    Args:
      base: the folder with the versions.
      version: that is to answer.
      served_as: the folder as the server sees it, if that is another path.
      say: is told what is waited for.

    Returns:
      What was done, in a line.

    Raises:
      errors.InputError: if there is no sound version before the one that answers; or if another one has been pushed
        meanwhile and none is named.
    """
    before = _live(base)
    with published.locked(base):
        there = _there(base)
        said = _said(base, there)
        live = max(said.versions)
        if version is None:
            _check_same(base, before, live)
            chosen = _newest_sound(base, [v for v in there if v < live and v not in said.withdrawn])
            if chosen is None:
                also = f" ({', '.join(map(str, said.withdrawn))}: withdrawn)" if said.withdrawn else ""
                raise errors.InputError(
                    f"{base}: there is no sound version before {live}, which answers{also}"
                )
        else:
            chosen = _sound(base, there, version)
        labels = {label: min(of, chosen) for label, of in said.labels.items()}
        changed = dataclasses.replace(
            said,
            versions=tuple({chosen, *labels.values()}),
            labels=labels,
            withdrawn=tuple(v for v in there if v != chosen and (v > chosen or v in said.withdrawn)),
        )
        # What the file has said for a moment only may be unknown to servers yet.
        loaded = () if published.unread_seconds(base) else said.versions
        moved = published.moved(said.labels, labels, loaded)
        if moved:
            kept = {label: of for label, of in labels.items() if label not in moved}
            _write(base, dataclasses.replace(changed, labels=kept), served_as)
            names = ", ".join(sorted(moved))
            try:
                now = _once_read(
                    base,
                    published.READ_SECONDS,
                    f"{chosen} answers; {names}: of no version until servers know that",
                    say,
                )
            except KeyboardInterrupt:
                raise errors.InputError(
                    f"stopped: version {_live(base)} answers, and {names}: of no version; in {published.READ_SECONDS:.0f} s "
                    f"footfall promote --version {chosen} --label LABEL gives it back"
                ) from None
            changed = dataclasses.replace(
                now, versions=tuple({*now.versions, chosen}), labels={**now.labels, **moved}
            )
        _write(base, changed, served_as)
    now_live = max(changed.versions)
    if now_live != chosen:
        return (
            f"version {now_live} answers where servers read {published.FILE}: it was pushed meanwhile, else {chosen} would in "
            f"place of {live}; footfall rollback --version {chosen} takes it back, too"
        )
    also = f" ({before} answered when this began)" if before != live else ""
    return f"version {chosen} answers in place of {live}{also} where servers read {published.FILE}, until another one is pushed"


def _live(base: str) -> int:
    return max(_said(base, _there(base)).versions)


def _check_same(base: str, before: int, live: int) -> None:
    """Refuses to go on with a version that whoever asked may not know of."""
    if live != before:
        raise errors.InputError(
            f"{base}: {before} answered when this began, and {live} does now: nothing was changed; name a version, or "
            "ask again"
        )


def _check_not_later(base: str, chosen: int, live: int) -> None:
    if chosen > live:
        raise errors.InputError(
            f"{base}: {chosen} is later than {live}, which answers, and servers answer from the latest version "
            f"that they load: footfall rollback --version {chosen} has it answer"
        )


def _once_named(
    base: str, said: published.Published, chosen: int, served_as: str, what: str, say: Say
) -> published.Published:
    """What the file says once all servers have read that they load a version."""
    named = False
    # A push to a bucket that comes meanwhile drops a version without a label.
    while not named:
        seconds = published.unread_seconds(base)
        if chosen not in said.versions:
            _write(base, dataclasses.replace(said, versions=(*said.versions, chosen)), served_as)
            seconds = published.READ_SECONDS
        said = _once_read(base, seconds, what, say)
        _check_not_later(base, chosen, max(said.versions))
        named = chosen in said.versions
    return said


def _once_read(base: str, seconds: float, what: str, say: Say) -> published.Published:
    """What the file says once all servers have read it, after some seconds; a push to a bucket may have come meanwhile."""
    if seconds:
        say(f"{what}: {math.ceil(seconds)} s")
        time.sleep(seconds)
    return _said(base, _there(base))


def _there(base: str) -> list[int]:
    found = versions.found(tf.io.gfile.listdir(base)) if tf.io.gfile.isdir(base) else []
    if not found:
        raise errors.InputError(f"{base}: no version of a model there")
    return found


def _sound(base: str, there: list[int], version: int) -> int:
    if version not in there:
        known = ", ".join(map(str, there))
        raise errors.InputError(f"{base}: there is no version {version}; there are {known}")
    problem = verify.check(f"{base}/{version}")
    if problem:
        raise errors.InputError(f"{base}/{version} is damaged: {problem}")
    return version


def _newest_sound(base: str, there: list[int]) -> int | None:
    return next((v for v in reversed(there) if verify.check(f"{base}/{v}") is None), None)


def _pushed(version: int) -> str:
    """The moment of a version's number, which is that of its push unless several came in one second."""
    moment = str(times.moment(1000 * version)) if version < 1 << 32 else ""
    return f"{moment[:19].replace('T', ' '):19s}"


def _said(base: str, there: list[int]) -> published.Published:
    """What servers load: the newest version that they can, where nothing else is said."""
    return published.read(base) or published.Published((_newest_sound(base, there) or there[-1],))


def _write(base: str, changed: published.Published, served_as: str) -> None:
    published.write(base, dataclasses.replace(changed, served_as=served_as or changed.served_as))
