"""As of when users are asked about, and whether that suits the log and the model."""

from components.behavior_example_gen.stages import good
from schemas import errors, times
from serving import training_times


def odd(named: int | None, log: str, trained: training_times.Range | None, found: good.Good) -> list[str]:
    """What a person should know of the moment that is named, or else of the log's end.

    A moment is late if it is after the log's last event by more than a day and more than the longest pause between two
    events of the log: as if nobody had done anything since then.

    Args:
      named: the moment, ms; None: that of the log's end.
      log: its path.
      trained: of the model, if it is known.
      found: the log.

    Raises:
      errors.InputError: if no event is before the moment.
    """
    assert found.histogram is not None
    first, end = int(found.histogram.lows[0]), found.histogram.bulk().last
    told = []
    if named is not None and named <= first:
        raise errors.InputError(
            f"{log}: no event is before --at {times.moment(named)}; the log begins at {times.moment(first)}"
        )
    if named is not None and named - end > max(times.DAY_MS, found.histogram.pause()):
        told.append(
            f"--at {times.moment(named)} is long after the log's last event, {times.moment(end)}: "
            f"what users have done between them is not in {log}"
        )
    what, asked = ("the log's last event", end) if named is None else ("--at", named)
    if trained is not None and not trained.near(asked):
        told.append(
            f"{what} {times.moment(asked)} is far from the times that the model was trained on ({trained})"
        )
    return told
