"""What `footfall data describe` takes and says."""

import re
from collections.abc import Sequence
from typing import Any

from pipeline import config
from schemas import errors, text

_ROLE = r"(?:user_id|item_id|timestamp|behavior|scene|(?:item|user|context|label)\.\w+)"


def settings(
    columns: Sequence[str],
    delimiter: "str | None",
    encoding: "str | None",
    header: bool,
    overrides: Sequence[str],
) -> dict[str, Any]:
    """The settings of `log` that the options name, as plain values.

    Args:
      columns: `ROLE=COLUMN,...`, with roles as in `log.columns`.
      delimiter, encoding: as in `log`.
      header: whether the first row names the columns.
      overrides: `log.KEY=VALUE`.

    Raises:
      errors.InputError: for what is none of these.
    """
    values: dict[str, Any] = {"log": {}}
    for override in overrides:
        if not override.startswith("log."):
            raise errors.InputError(
                f"--set takes settings of the log here, as log.timestamp_unit=ms; found {override!r}"
            )
        config.override(values, override)
    found = values["log"]
    if columns and not isinstance(found.setdefault("columns", {}), dict):
        raise errors.InputError(f"--set log.columns: takes roles and columns, found {found['columns']!r}")
    for named in columns:
        for pair in re.split(rf",(?={_ROLE}=)", named):
            role, equals, column = pair.partition("=")
            if not equals or not column or not re.fullmatch(_ROLE, role):
                raise errors.InputError(
                    f"--columns takes ROLE=COLUMN,... with the roles user_id, item_id, timestamp, behavior, scene, "
                    f"label.NAME, item.NAME, user.NAME, context.NAME; found {pair!r}"
                )
            group, _, name = role.partition(".")
            if name:
                found.setdefault("columns", {}).setdefault(group, {})[name] = column
            else:
                found.setdefault("columns", {})[role] = column
    for key, value in (
        ("delimiter", delimiter),
        ("encoding", encoding),
        ("header", None if header else False),
    ):
        if value is not None:
            found[key] = value
    return found


def comment(line: str) -> str:
    """A line as one comment of YAML, whatever characters a log has brought into it."""
    return f"# {text.visible(line)}"


def lines(found: dict[str, Any]) -> list[str]:
    """What `describe` has found, for people."""
    sizes = ", ".join(f"{name[1:]} %: {value:,.0f}" for name, value in found["history"].items())
    said = [
        found["path"],
        f"  {found['events']:,} events, {found['users']:,} users, {found['items']:,} items",
        f"  {found['start']} to {found['end']}; {found['tie_share']:.1%} of the events tie with the one before",
        f"  events of a user, by percentile: {sizes}",
        f"  {found['tail_share']:.1%} of the events are of the 80 % of users with the fewest",
    ]
    for name in ("behaviors", "scenes"):
        if found[name]:
            values = ", ".join(f"{value} {count:,}" for value, count in list(found[name].items())[:10])
            said.append(f"  {name}: {values}")
    if found["steps"]:
        shares = (
            (step, "unknown" if share is None else f"{share:.2%}") for step, share in found["steps"].items()
        )
        said.append("  steps after an exposure: " + ", ".join(f"{step} {share}" for step, share in shares))
    said.append(f"  bad rows: {found['rejected']:,} of {found['rows_read']:,}")
    for reject in found["rejected_examples"]:
        said.append(f"    row {reject['row']}: {reject['reason']} ({reject['value']!r})")
    return said
