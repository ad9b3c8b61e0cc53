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
    by a slip alone, which names that are only related (`category` and `subcategory`, `coupon_a` and `coupon_b`) do not.

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
        slips = [name for name in others if _is_slip(name, wanted[feature])]
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
    """Whether names are the same but for capitals and marks, or differ within a word by one letter or by two that are swapped.

    Where a word begins or ends, another letter makes another word: `price_uk` and `price_us` are both names.
    """
    bare = _bare(name), _bare(other)
    if bare[0] == bare[1]:
        return True
    if bare[0] in bare[1] or bare[1] in bare[0]:
        return False
    head = len(os.path.commonprefix(bare))
    tail = len(os.path.commonprefix([one[head:][::-1] for one in bare]))
    slips = [one[head : len(one) - tail] for one in bare]
    most = max(map(len, slips))
    if not (most == 1 or most == 2 and slips[0] == slips[1][::-1]) or re.search(r"\d", "".join(slips)):
        return False
    ends = [head + len(slip) for slip in slips]
    within = all(
        not any(head <= edge <= end for edge in _edges(whole)) for whole, end in zip((name, other), ends)
    )
    return within and bare[0][head - 1].isalpha() and bare[0][ends[0]].isalpha()


def _edges(name: str) -> set[int]:
    """Where the words of a name begin or end in its bare form: at marks, and where a capital follows a small letter."""
    edges, before = {0}, 0
    for previous, letter in zip(" " + name, name):
        if not _bare(letter) or (previous.islower() and letter.isupper()):
            edges.add(before)
        before += len(_bare(letter))
    return edges | {before}


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
