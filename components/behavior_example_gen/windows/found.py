"""What a log has, in words, for messages about windows that it does not give."""

from collections.abc import Sequence

from components.behavior_example_gen import profile, splits
from schemas import errors


def check_behaviors(key: str, wanted: Sequence[str], counts: profile.Counts) -> None:
    """Checks that the log has events of some behaviours.

    Raises:
      errors.InputError: naming those that it has.
    """
    unknown = [name for name in wanted if name not in counts.behaviors]
    if unknown:
        raise errors.InputError(
            f"{key}: no event of {', '.join(unknown)}; the log has "
            f"{', '.join(sorted(counts.behaviors, key=counts.behaviors.get, reverse=True)[:20])}"
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
