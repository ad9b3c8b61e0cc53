"""What a model has learnt from, so that none is tested on what it knows.

A training that starts from another model's weights has learnt from what that one has. It is tested fairly only if that one,
too, has left out what this run's `test` has: later days, held-out users, or the last event of each user.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from components.behavior_example_gen import spec, time_span
from schemas import errors
from serving import learnt as tell


def told(
    trained: time_span.Bulk | None, split: spec.SplitSpec | None, before: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What is written beside a model.

    Args:
      trained: of what times the events are that it has learnt from, of `training_times.load`; None: it is not known.
      split: of its log; None: it is not known.
      before: what the models tell that it started from.
    """
    days = [one[tell.LAST_DAY] for one in before if tell.LAST_DAY in one]
    if trained is not None:
        days.append(str(datetime.datetime.fromtimestamp(trained.last / 1000, datetime.timezone.utc).date()))
    found: dict[str, Any] = {tell.LAST_DAY: max(days)} if days else {}
    if split is not None:
        found[tell.SPLIT] = _told(split)
    return found


def _told(split: spec.SplitSpec) -> dict[str, Any]:
    return {tell.BY: list(split.by), tell.HELD_OUT_SHARE: split.held_out_share}


def last_day(learnt: Mapping[str, Any]) -> str | None:
    """The day of the last event that a model has learnt from, of `told`; None: it is not known."""
    return learnt.get(tell.LAST_DAY)


def check(
    setting: str,
    saved: str,
    learnt: Mapping[str, Any],
    split: spec.SplitSpec | None,
    tested_from: str | None,
) -> None:
    """Refuses a model that has learnt from what the training that starts from it is tested on.

    Days are compared: of an event of the day that the test begins on it is not known whether it comes before.

    Args:
      setting: that names the model.
      saved: the folder of its SavedModel.
      learnt: of `told`; what it does not tell is not known, and not refused.
      split: of the log of this run; None: it is not known.
      tested_from: the moment (ISO 8601) that the windows of `test` begin at; None: it is not by time.

    Raises:
      errors.InputError: if it has.
    """
    if tested_from is not None:
        last = last_day(learnt)
        begins = datetime.datetime.fromisoformat(tested_from).astimezone(datetime.timezone.utc).date()
        if last is not None and datetime.date.fromisoformat(last) > begins:
            raise errors.InputError(
                f"{setting}: {saved} has learnt from events up to {last}, and this run is tested from {begins} on: it would be "
                "tested on what it knows. Let that one train with a split.eval_from that is no later, or let split.test_from "
                f"begin later{_ANEW.get(setting, '')}"
            )
        return
    before = learnt.get(tell.SPLIT)
    found = None if split is None else tell.tested_before(learnt, _told(split))
    if found is None:
        return
    tested, asked = found
    share = tell.held_out(before)
    raise errors.InputError(
        f"{setting}: {saved} has learnt from a log that was split by {' and '.join(before['by'])}"
        f"{f', with a held_out_share of {share:g}' if share else ''}, and this run is tested on {tested}: it would be tested on "
        f"what it knows. Let that one train with {asked}{_ANEW.get(setting, '')}"
    )


# What else can be done.
_ANEW = {"training.warm_start": ", or start anew with training.warm_start: none"}
