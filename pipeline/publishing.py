"""What `footfall history`, `promote` and `rollback` do: which of the pushed versions servers load.

It is said in `models.config` beside the versions, see `serving.published`.
"""

import dataclasses
from typing import Any

from schemas import errors, times, versions

# What requests get that ask for no label, and what a first promotion names.
LABEL = "stable"


def history(base: str) -> list[str]:
    """A line for each version below a folder, newest first: when it was pushed, and what it is to servers.

    Raises:
      errors.InputError: if there is none.
    """
    there = _there(base)
    said = _read(base)
    live = there[-1:] if said is None else list(said.versions)
    labels = dict(said.labels) if said else {}
    lines = []
    for version in reversed(there):
        names = sorted(label for label, of in labels.items() if of == version)
        words = ["answers" if version == max(live) else "loaded"] if version in live else []
        problem = _problem(base, version)
        words += names + ([f"damaged: {problem}"] if problem else [])
        lines.append(f"{version}  {_pushed(version)}  {', '.join(words)}".rstrip())
    return lines


def promote(base: str, version: int | None, label: str, served_as: str = "") -> str:
    """Gives a label to a version, by default to the newest; what has no label and does not answer is unloaded.

    Args:
      base: the folder with the versions.
      version: that gets it.
      label: as requests name it.
      served_as: the folder as the server sees it, if that is another path.

    Returns:
      What was done, in a line.

    Raises:
      errors.InputError: if there is no such version, or it is damaged.
    """
    there = _there(base)
    chosen = _sound(base, there, version if version is not None else there[-1])
    said = _read(base) or _published((there[-1],))
    labels = {**said.labels, label: chosen}
    loaded = {max(said.versions), *labels.values()}
    _write(base, _with(said, loaded, labels, served_as))
    return f"{label} is version {chosen}; loaded: {', '.join(map(str, sorted(loaded)))}"


def rollback(base: str, version: int | None = None, served_as: str = "") -> str:
    """Has an earlier version answer, by default the sound one before; labels of later ones go with it.

    Returns:
      What was done, in a line.

    Raises:
      errors.InputError: if there is no sound version before the one that answers.
    """
    there = _there(base)
    said = _read(base) or _published((there[-1],))
    live = max(said.versions)
    if version is None:
        earlier = [v for v in there if v < live and not _problem(base, v)]
        if not earlier:
            raise errors.InputError(f"{base}: there is no sound version before {live}, which answers")
        version = earlier[-1]
    chosen = _sound(base, there, version)
    labels = {label: min(of, chosen) for label, of in said.labels.items()}
    loaded = {chosen, *labels.values()}
    _write(base, _with(said, loaded, labels, served_as))
    return f"version {chosen} answers in place of {live}, until another one is pushed"


def _there(base: str) -> list[int]:
    import tensorflow as tf

    found = versions.found(tf.io.gfile.listdir(base)) if tf.io.gfile.isdir(base) else []
    if not found:
        raise errors.InputError(f"{base}: no version of a model there")
    return found


def _sound(base: str, there: list[int], version: int) -> int:
    if version not in there:
        known = ", ".join(map(str, there))
        raise errors.InputError(f"{base}: there is no version {version}; there are {known}")
    problem = _problem(base, version)
    if problem:
        raise errors.InputError(f"{base}/{version} is damaged: {problem}")
    return version


def _problem(base: str, version: int) -> str | None:
    from components.pusher import verify

    return verify.check(f"{base}/{version}")


def _pushed(version: int) -> str:
    """The moment of a version's number, which is that of its push unless several came in one second."""
    moment = str(times.moment(1000 * version)) if version < 1 << 32 else ""
    return f"{moment[:19].replace('T', ' '):19s}"


def _read(base: str) -> Any:
    from serving import published

    return published.read(base)


def _published(loaded: tuple[int, ...]) -> Any:
    from serving import published

    return published.Published(loaded)


def _with(said: Any, loaded: set[int], labels: dict[str, int], served_as: str) -> Any:
    return dataclasses.replace(
        said, versions=tuple(sorted(loaded)), labels=labels, served_as=served_as or said.served_as
    )


def _write(base: str, published_: Any) -> None:
    from serving import published

    published.write(base, published_)
