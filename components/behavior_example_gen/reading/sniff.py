"""What a file looks like."""

from components.behavior_example_gen import spec


def hint(path: str, log: spec.LogSpec) -> str:
    """What a file looks like whose settings do not fit, as the end of a message; empty if nothing is known."""
    del path, log
    return ""
