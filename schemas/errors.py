"""Errors that the user can mend."""


class InputError(ValueError):
    """The user's log, settings or files do not fit; the message says what, where, and what is allowed."""


class ModelError(InputError):
    """The settings of the model do not fit: with others, as of another point of a sweep, they may."""


# How a message of AutoGraph begins: a traceback follows, and then the error's own text, each after an empty line.
_WITH_TRACEBACK = "in user code:"


def first_line(error: BaseException) -> str:
    """The first line of what an error says; empty where it says nothing.

    >>> first_line(ValueError("no such column\\nin a.csv"))
    'no such column'
    >>> first_line(ValueError("in user code:\\n\\n    File x.py, line 1, in f\\n\\n    ValueError: none\\n"))
    'ValueError: none'
    """
    text = str(error).strip()
    if text.startswith(_WITH_TRACEBACK) and text.count("\n\n") > 1:
        text = text.split("\n\n")[2].strip()
    return text.splitlines()[0] if text else ""
