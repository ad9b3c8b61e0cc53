"""The columns of a file and those that a log's spec asks for."""

import difflib
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import blocks, sniff
from schemas import errors, names

LABEL = "label"  # beside the types of attributes
# What no row can be without; a file of JSON lines may lack other columns where there is no value.
ALWAYS = (names.USER_ID, names.ITEM_ID, names.TIMESTAMP)
# A number or a date, which is the name of no column.
_VALUE = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?|\d{4}-\d\d-\d\d.*")
# Of columns, or of files that have them, in a message.
_MOST = 50
# How alike names are of which one may have been meant, and at least those of which one is the other, misspelt.
_LIKE, _MISSPELT = 0.6, 0.8


def check(found: Sequence[str], log: spec.LogSpec, path: str, only: Sequence[str] = ()) -> None:
    """Checks that the columns are there, once each; `only` those of these features, if any is named.

    Raises:
      errors.InputError: naming the file, the column and its key, and what the file looks like.
    """
    for feature, column in log.columns.wanted().items():
        if only and feature not in only:
            continue
        if found.count(column) > 1:
            raise errors.InputError(
                f"{path}: column {column!r} (log.columns.{key(feature, log)}) is there {found.count(column)} "
                f"times; the file has {_shown(found)}{sniff.hint(path, log)}"
            )
        if column not in found:
            raise errors.InputError(
                f"{path}: column {column!r} (log.columns.{key(feature, log)}) is missing; the file has "
                f"{_shown(found)}{advice(found, column, key(feature, log))}{sniff.hint(path, log)}"
            )


def check_all(
    headers: Iterable[Sequence[str]], notes: Mapping[tuple[str, str], int], rows: int, log: spec.LogSpec
) -> None:
    """Checks that no column that is missing from all rows of a log is misspelt, as a key of JSON lines may be.

    A rare key may well be in no record of a day: it is misspelt where one that is read for nothing else differs
    by a slip alone, which names that are only related (`category` and `subcategory`, `coupon_1` and `coupon_2`) do not.

    Args:
      headers: of its files, which are looked at for such names.
      notes: of all its blocks; see `blocks.Block`.
      rows: how many it has.

    Raises:
      errors.InputError: naming the column and its key.
    """
    wanted = log.columns.wanted()
    missing = [name for name in wanted if name not in ALWAYS and not notes.get((name, blocks.COLUMN))]
    if not missing:
        return
    found = list(dict.fromkeys(itertools.chain(*itertools.islice(headers, _MOST))))
    others = [name for name in found if name not in wanted.values()]
    for feature in missing:
        slips = [name for name in others if _is_slip(_bare(name), _bare(wanted[feature]))]
        near = _nearest(slips, wanted[feature], _MISSPELT)
        if near is not None:
            place = key(feature, log)
            raise errors.InputError(
                f"{log.path}: column {wanted[feature]!r} (log.columns.{place}) is missing in all {rows:,} rows; they have "
                f"{_shown(found)}; did you mean log.columns.{place}: {near}?"
            )


def advice(found: Sequence[str], column: str, place: str) -> str:
    """What may help where a file lacks a column.

    Args:
      found: the columns of the file.
      column: the one that is missing, and `place` where `log.columns` names it.
    """
    if any(_VALUE.fullmatch(name.strip()) for name in found):
        return (
            "; these look like values: a file without a header needs the names of its columns in their order, as "
            f"log: {{column_names: [user_id, item_id, timestamp{', ...' if len(found) > 3 else ''}]}}"
        )
    near = _nearest(found, column, _LIKE)
    return f"; did you mean log.columns.{place}: {near}?" if near is not None else ""


def _bare(name: str) -> str:
    """A name without its capitals and marks."""
    return re.sub(r"[\W_]", "", name).lower()


def _is_slip(name: str, other: str) -> bool:
    """Whether bare names are the same, or differ within by one letter or by two that are swapped."""
    if name == other:
        return True
    if name in other or other in name:
        return False
    head = len(os.path.commonprefix([name, other]))
    name, other = name[head:], other[head:]
    tail = len(os.path.commonprefix([name[::-1], other[::-1]]))
    name, other = name[: len(name) - tail], other[: len(other) - tail]
    most = max(len(name), len(other))
    return not re.search(r"\d", name + other) and (most == 1 or most == 2 and name == other[::-1])


def _nearest(found: Sequence[str], column: str, least: float) -> str | None:
    """The name that is most like that of a column, whatever its capitals and marks; None where none is enough."""
    bare = {_bare(name): name for name in found}
    near = difflib.get_close_matches(_bare(column), list(bare), 1, least)
    return bare[near[0]] if near else None


def _shown(found: Sequence[str]) -> str:
    more = f" and {len(found) - _MOST:,} more" if len(found) > _MOST else ""
    return ", ".join(found[:_MOST]) + more


def key(feature: str, log: spec.LogSpec) -> str:
    """Where `log.columns` names the column of a feature, as `item.color`."""
    for group in ("item", "user", "context", "label"):
        name = feature[len(group) + 1 :]
        if feature.startswith(f"{group}_") and name in getattr(log.columns, group):
            return f"{group}.{name}"
    return feature


def kind(feature: str, attributes: dict[str, spec.AttributeSpec]) -> str:
    """How the column of a feature is read."""
    if feature in attributes:
        return attributes[feature].type
    return LABEL if feature.startswith(names.LABEL_PREFIX) else spec.CATEGORICAL
