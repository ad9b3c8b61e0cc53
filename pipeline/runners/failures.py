"""What is behind the error of a component."""

from schemas import errors


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while earlier := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(earlier)
    return chain


# What operating system, SQLite and TensorFlow say of a disk that takes nothing more.
_DISK_TROUBLE = {
    "No space left on device": "the disk is full",
    "database or disk is full": "the disk is full",
    "Disk quota exceeded": "the disk quota is used up",
    "File too large": "a file is larger than the disk or a limit allows",
    "Read-only file system": "the disk is read-only",
    "attempt to write a readonly database": "the metadata store is read-only",
    "Input/output error": "the disk fails",
    "disk I/O error": "the disk fails",
}


def disk_trouble(error: BaseException) -> str | None:
    """What is the matter with the disk, if that is behind an error."""
    for link in _chain(error):
        for words, meaning in _DISK_TROUBLE.items():
            if words in str(link):
                place = getattr(link, "filename", None)
                return f"{meaning} ({words}{f': {place}' if place else ''})"
    return None


_IN_A_STEP = " [while running"


def input_error(error: BaseException) -> errors.InputError | None:
    """The error of the user's input that is behind another one, if any."""
    for link in _chain(error):
        if isinstance(link, errors.InputError):
            # Beam adds in which of its steps that was.
            text = str(link).split(_IN_A_STEP)[0]
            return link if text == str(link) else errors.InputError(text)
        # Or it raises its own error with the text of the one in a worker.
        marked = f"{errors.InputError.__module__}.{errors.InputError.__name__}: "
        if marked in str(link):
            return errors.InputError(str(link).split(marked)[-1].split(_IN_A_STEP)[0].splitlines()[0])
    return None


def root_cause(error: BaseException) -> str:
    """The error of a run, which keeps what it has finished, in one line."""
    kind = type(error).__name__
    known = input_error(error)
    if known is not None:
        return str(known).strip() or kind
    trouble = disk_trouble(error)
    if trouble is not None:
        return f"{trouble}; what was finished is kept"
    text = errors.first_line(error).removeprefix(f"{kind}: ") or kind
    return f"{kind}: {text[:500]}"
