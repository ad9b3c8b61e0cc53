"""Hands a compiled pipeline to the backend that runs it: a module for each of `runners.targets.TARGETS`."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from schemas import errors

# Of runs that wait for one another: each reads all that there is.
AT_ONCE = 1


def get(target: str) -> Any:
    """The module of a backend: `request` makes what it is asked, `send` asks it. Both have its own client imported late."""
    return importlib.import_module(f"pipeline.submitting.{target}")


def start_recurring(
    earlier: Sequence[str], replace: bool, start: Callable[[], str], end: Callable[[str], Any]
) -> str:
    """Starts what recurs, and ends what recurs under its name already: each would train and push by its own settings.

    The new one comes first, so that there is always one.

    Args:
      earlier: what recurs already.
      replace: whether it may be ended.
      start: starts the new one, and returns its name.
      end: ends an earlier one.

    Returns:
      A line with the names of all.

    Raises:
      errors.InputError: if something recurs already and may not be ended, or cannot be.
    """
    if earlier and not replace:
        raise errors.InputError(
            f"cluster.schedule: this name recurs already, as {' and '.join(earlier)}, and would go on beside the new one; "
            "--replace disables it once the new one is there"
        )
    started = start()
    for number, name in enumerate(earlier):
        try:
            end(name)
        except Exception as error:
            raise errors.InputError(
                f"{started} is there, and {' and '.join(earlier[number:])} goes on beside it: disable it by hand "
                f"({errors.first_line(error)})"
            ) from error
    return f"{started}, in place of {' and '.join(earlier)}" if earlier else started
