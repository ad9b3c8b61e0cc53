"""Whether the live model is asked for what it was trained on: it is measured on the windows of the candidate."""

from serving import objectives, requests, signatures


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


def _inputs(folder: str) -> set[str]:
    return {name for of in objectives.signatures_of(folder).values() for name in of.inputs}
