"""Errors that the user can mend."""


class InputError(ValueError):
    """The user's log, settings or files do not fit; the message says what, where, and what is allowed."""
