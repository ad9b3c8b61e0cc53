"""Where a run pushes its models, and where the experiment is that says so."""

import yaml

# The experiment in a run's folder, and the folder below it where models go unless the experiment names another.
EXPERIMENT, SERVING = "experiment.yaml", "serving"
# A property of a blessing, which the Pusher reads: the digest of the version that was live, or that none was.
JUDGED_AGAINST, NOTHING_LIVE = "judged_against", "none"


def destination(experiment: str) -> str | None:
    """`push.destination` of the text of an experiment; None where it has none, or cannot be read.

    >>> destination("push: {destination: /models/shop}")
    '/models/shop'
    >>> destination("push: {destination: null}") is None
    True
    """
    return _setting(experiment, "push", "destination")


def timezone(experiment: str) -> str | None:
    """`log.timezone` of the text of an experiment; None where it has none, or cannot be read.

    >>> timezone("log: {timezone: Europe/Berlin}")
    'Europe/Berlin'
    """
    return _setting(experiment, "log", "timezone")


def _setting(experiment: str, part: str, key: str) -> str | None:
    """A setting that is text, of the text of an experiment; None where it has none, or cannot be read."""
    try:
        found = yaml.safe_load(experiment)[part][key]
    except (ValueError, yaml.YAMLError, KeyError, TypeError):
        return None
    return str(found) if found else None
