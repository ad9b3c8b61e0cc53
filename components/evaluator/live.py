"""Whether the live model is asked for what it was trained on, and no more: it is measured on the windows of the candidate."""

from serving import learnt, networks, objectives, requests, signatures


def unread(live: str, candidate: str) -> list[str]:
    """The inputs of the live model that windows do not have any more, which it then gets as if they were missing.

    Args:
      live, candidate: SavedModels; of the candidate's inputs it is known that the windows have them.

    Raises:
      errors.InputError: if one of them is no SavedModel.
    """
    known = _inputs(candidate)
    # An earlier model may have the features of a history without their prefix.
    known |= {requests.key_of_event(name) for name in known if requests.is_of_history(name)}
    return sorted(_inputs(live) - known - {signatures.EXAMPLES})


def knows(live: str, candidate: str) -> str | None:
    """What the live model has learnt from and the candidate is tested on, or may be, in words; None: of nothing is it known.

    A live model that knows answers is measured too well, and keeps a better candidate from its place.

    Args:
      live, candidate: SavedModels.
    """
    before, now = networks.told(live), networks.told(candidate)
    days = [told.get(learnt.LAST_DAY) for told in (before, now)]
    # Days as they are written, year first.
    if None not in days and days[0] > days[1]:
        return f"events up to {days[0]}, where the candidate has learnt from those up to {days[1]}"
    split = now.get(learnt.SPLIT)
    found = None if split is None else learnt.tested_before(before, split)
    return found[0] if found else None


def _inputs(folder: str) -> set[str]:
    return {name for of in objectives.signatures_of(folder).values() for name in of.inputs}
