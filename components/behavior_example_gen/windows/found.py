"""What a log has, in words, for messages about windows that it does not give."""

from collections.abc import Mapping, Sequence

from components.behavior_example_gen import profile, splits
from schemas import errors

_SHOWN = 20


def check_behaviors(key: str, wanted: Sequence[str], counts: profile.Counts) -> None:
    """Checks that the log has events of some behaviours.

    Raises:
      errors.InputError: naming those that it has.
    """
    check_values(key, wanted, counts.behaviors)


def check_values(key: str, wanted: Sequence[str], known: Mapping[str, int]) -> None:
    """Checks that the log has events of some values.

    Args:
      key: of the setting that names them.
      known: how many events have each value.

    Raises:
      errors.InputError: naming the most frequent of those that it has.
    """
    unknown = [value for value in wanted if not known.get(value)]
    if unknown:
        has = sorted((value for value in known if value), key=lambda value: (-known[value], value))
        others = ", ..." if len(has) > _SHOWN else ""
        raise errors.InputError(
            f"{key}: no event of {', '.join(unknown)}; the log has {', '.join(has[:_SHOWN]) or 'no value'}{others}"
        )


def extent(counts: profile.Counts, cuts: splits.Cuts | None) -> str:
    """How much a log has, and from when to when."""
    users = sum(counts.user_events.values())
    found = (
        f"{counts.events:,} events of {users:,} user(s) between {profile.moment(counts.start)} and "
        f"{profile.moment(counts.end)}"
    )
    if cuts:
        found += f", cuts at {profile.moment(cuts.eval_from)} and {profile.moment(cuts.test_from)}"
    return found
