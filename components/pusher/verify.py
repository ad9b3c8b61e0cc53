"""Whether a pushed version is still what was pushed."""

from tfx.dsl.io import fileio

from serving import manifest


def check(pushed_to: str) -> str | None:
    """What is wrong with a pushed version.

    Args:
      pushed_to: the version's folder, on any filesystem of TFX.

    Returns:
      One line that names what is missing or other than it was; None if all is well, or if the version was
      pushed before Footfall kept a list of its files.
    """
    if not fileio.exists(pushed_to):
        return "it is no longer there"
    problem = manifest.check(pushed_to)
    if problem:
        return problem
    return None if fileio.exists(f"{pushed_to}/saved_model.pb") else "saved_model.pb is missing"
