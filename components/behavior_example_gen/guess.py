"""Which column of a log plays which role: by its name, and by whether its values can."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from schemas import errors

# Of several patterns a later one counts where no column fits those before, or where none of these has values
# that can play the role. Names are compared in lower case, with `_` between words.
ROLES = {
    "user_id": (
        r"user_?id(x|entifier)?|uid|users?|user_?(key|no|num|number|code|hash|idx|pseudo_id)|u_?id",
        r"(visitor|customer|member|reviewer|client|account|person|player|buyer|shopper|consumer|subscriber|profile"
        r"|author|reader|viewer|listener|learner|student|household|cust|full_?visitor|anon(ymous)?|device|cookie)"
        r"(_?(id|key|no|number|identifier))?",
        r"(session|sess|visit)(_?(id|key|number))?|playlist_?id|order_?id|basket_?id|invoice(_?no)?",
    ),
    "item_id": (
        r"item_?id(x|entifier)?|iid|items?|item_?(key|no|num|number|code|idx)",
        r"(product|movie|article|track|song|book|business|document|doc|news|video|game|app|recipe|venue|poi|location"
        r"|place|hotel|ad|offer|listing|anime|show|film|title|content|post|page|course|job|store|shop|restaurant"
        r"|beer|wine|photo|image|pin|merchant|parent_?asin|goods|sku|material|click_?article|event_?item|adgroup"
        r"|impression|music|album|stock)_?(id|code|key|no|number)|aid|asin|parent_asin|sku|isbn(_?(10|13))?|gtin|ean|upc|tra_?id",
        r"(product|movie|article|track|song|book|business|document|video|game|venue|url|product_?url)(_?name)?",
        r"artist(_?(id|name))?|art_?id|brand(_?id)?",
        r"description|title|name",
    ),
    "timestamp": (
        r"time_?stamp(_?(ms|s|us|ns))?|ts|(unix|epoch|event|server|click|view|visit|order|purchase|review|rating|created|utc|local|play|watch)_?time_?(stamp)?(_?(ms|s|us))?|unix_?review_?time",
        r"date_?time|time(_?(ms|s|us|utc|local))?|(created|updated|added|occurred|happened|viewed|clicked|purchased|ordered|played|watched|rated|reviewed)_?(at|on)|at|utc",
        r"(invoice|event|order|purchase|transaction|review|rating|visit|click|session|t)_?(date|dat|day)|date(_?(added|utc))?|day|when|transaction_?time|eventdate",
    ),
    "behavior": (
        r"behavio(u)?r(_?(type|id))?|(event|action|interaction|activity)(_?(type|name|kind))?|type|verb",
    ),
    "scene": (r"scene|page(_?type)?|channel|tab|section|(click_)?referrer_?type|surface|placement",),
}
NEEDED = ("user_id", "item_id", "timestamp")
# Steps of a chain, in its order.
STEPS = {
    "click": (r"(is_|label_)?click(s|ed)?(_label)?",),
    "cart": (r"(is_|label_)?(add(ed)?_?to_?)?(cart|basket)(ed)?(_label)?",),
    "buy": (r"(is_|label_)?(buy|bought|purchased?|order(ed)?|conversion|converted)(_label)?",),
}
# What stands once in each row names rows, not users.
_UNIQUE = 0.95
_FEW_ROWS = 50
_MANY_BEHAVIORS = 100
_SHOWN = 3
# 2023-11-05, 11/5/23 8:26, 05.11.2023, as text or from a column of dates.
_DATE = re.compile(
    r"([0-9]{4}([-/.])[0-9]{1,2}\2[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\3([0-9]{2}|[0-9]{4}))([T ].*)?"
)


@dataclasses.dataclass(frozen=True)
class Column:
    """What the first rows of a log have in one column.

    Attributes:
      rows, distinct: how many values there are, and how many different ones.
      examples: the first different ones, as text.
    """

    name: str
    rows: int
    distinct: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(value[:30] for value in self.examples)
        return f"{self.name} ({shown}{', ...' if self.distinct > len(self.examples) else ''}; {self.distinct:,} different)"

    @property
    def has_dates(self) -> bool:
        return bool(self.examples) and all(_DATE.fullmatch(value) for value in self.examples)

    @property
    def is_constant(self) -> bool:
        return self.distinct <= 1 < self.rows

    @property
    def is_unique(self) -> bool:
        return self.rows >= _FEW_ROWS and self.distinct >= _UNIQUE * self.rows


def columns(table: pa.Table) -> dict[str, Column]:
    """The columns of the first rows of a log, by name; those of lists and structs are left out."""
    found: dict[str, Column] = {}
    for name in dict.fromkeys(table.column_names):
        array = table.column(table.column_names.index(name))
        if pa.types.is_nested(array.type):
            continue
        values = pc.unique(array).drop_null()
        shown = [_text(value.as_py()) for value in values[: _SHOWN + 1]]
        shown = [text for text in shown if text][:_SHOWN]
        found[name] = Column(name, len(array) - array.null_count, len(values), tuple(shown))
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def named_like(roles: Mapping[str, Sequence[str]], header: Sequence[str]) -> dict[str, list[str]]:
    """The columns that each role may have by their names, best first; RecBole's `name:type` is understood.

    >>> found = named_like(ROLES, ["userId", "movieId", "rating", "timestamp"])
    >>> {role: columns for role, columns in found.items() if columns}
    {'user_id': ['userId'], 'item_id': ['movieId'], 'timestamp': ['timestamp']}
    """
    bare = {
        c: re.sub(r"[\s.-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", c.split(":")[0].strip(' #"'))).lower()
        for c in header
    }
    return {
        role: list(dict.fromkeys(c for p in patterns for c in header if re.fullmatch(p, bare[c])))
        for role, patterns in roles.items()
    }


def roles(
    path: str, header: Sequence[str], found: dict[str, Column], given: dict[str, str]
) -> dict[str, str]:
    """Which column plays which role.

    Args:
      path: for messages.
      header: the names of the columns.
      found: what is in them.
      given: the roles that the user has named.

    Raises:
      errors.InputError: if a role that each log needs has no column; with candidates and how to name one.
    """
    chosen = dict(given)
    missing = []
    for role, candidates in named_like(ROLES, header).items():
        if role in chosen:
            continue
        free = [c for c in candidates if c not in chosen.values()]
        best = next((c for c in free if _suits(role, found.get(c))), None)
        if best is None and role in NEEDED:
            best = next((c for c in free if c in found and found[c].rows), None)
        if best is None and role == "timestamp":
            # No name says it, but the values of a single column do.
            dates = [
                c for c in found if c not in chosen.values() and found[c].has_dates and _suits(role, found[c])
            ]
            best = dates[0] if len(dates) == 1 else None
        if best is not None:
            chosen[role] = best
        elif role in NEEDED:
            missing.append(role)
    if missing:
        raise errors.InputError(f"{path}: {_unlike(missing, header, found, chosen)}")
    return chosen


def _unlike(
    missing: Sequence[str], header: Sequence[str], found: Mapping[str, Column], chosen: Mapping[str, str]
) -> str:
    """What is said of roles without a column: those that there are, and which of them may be named."""
    nested = [c for c in header if c not in found]
    why = f" ({', '.join(nested)}: lists or objects, of which none can be)" if nested else ""
    so_far = "".join(f", {r}: {c!r}" for r, c in chosen.items() if r in NEEDED)
    said = f"no column looks like {_either(missing)} among {', '.join(header)}{why}{so_far}. "
    others = [found[c] for c in header if c in found and c not in chosen.values()]
    others = [c for c in others if not c.is_constant] or others
    if len(missing) == 1:
        # A date is no id, and without a digit there is no time.
        fit = [c for c in others if (_suits(missing[0], c) if missing[0] == "timestamp" else not c.has_dates)]
        others = fit or others
    if len(others) < len(missing):
        return f"{said}A log has one event per row, with a user, an item and a time"
    named = ",".join(f"{role}=COLUMN" for role in missing)
    pronoun = "it" if len(missing) == 1 else "them"
    return f"{said}Name {pronoun}: --columns {named}, where COLUMN may be {'; '.join(map(str, others))}"


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _suits(role: str, column: Any) -> bool:
    if column is None or not column.rows:
        return False
    if role == "user_id":
        return not column.is_constant and not column.is_unique
    if role == "behavior":
        return column.distinct <= _MANY_BEHAVIORS
    if role == "timestamp":
        return not column.is_constant and any(re.search(r"\d", text) for text in column.examples)
    return not column.is_constant


_TIME = re.compile(
    r"1[0-9]{9}([0-9]{3}){0,3}(\.[0-9]+)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|[A-Z][a-z]{2} [A-Z][a-z]{2} .*[0-9]{4}"
)
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+")
_AMAZON_USER, _AMAZON_ITEM = re.compile(r"A[0-9A-Z]{9,}"), re.compile(r"B[0-9A-Z]{9}|[0-9]{9}[0-9X]")


def names_of(path: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Names for the columns of a file without a header, by what they hold: an id, then another one, and the time.

    Raises:
      errors.InputError: if that cannot be told; with the lines of YAML to fill in.
    """
    width = len(rows[0])
    cells = [[row[i] for row in rows if len(row) == width and row[i]] for i in range(width)]
    distinct = [len(set(column)) for column in cells]
    times = [i for i, column in enumerate(cells) if column and all(_TIME.fullmatch(v) for v in column)]
    if not times:
        _ask(path, rows[0], "a time")
    time = max(times, key=lambda i: distinct[i])
    # Coordinates, prices and ratings have fractions or few values; behaviours are few words.
    few = [i for i in range(width) if len(cells[i]) >= 20 and distinct[i] <= 12]
    ids = [
        i
        for i in range(width)
        if i not in times and cells[i] and not any(_FLOAT.fullmatch(v) for v in cells[i]) and i not in few
    ]
    # A log that is sorted by user has few in its first rows.
    ids = (
        sorted({*ids, *(i for i in few if i < min([*ids, width]))} - set(times))[:3] if len(ids) < 2 else ids
    )
    if len(ids) < 2:
        _ask(path, rows[0], "two columns of ids")
    user, item = ids[:2]
    if all(_AMAZON_USER.fullmatch(v) for v in cells[item]) and all(
        _AMAZON_ITEM.fullmatch(v) for v in cells[user]
    ):
        user, item = item, user
    words = [
        i
        for i in few
        if i not in (user, item, time) and all(re.fullmatch(r"[A-Za-z_-]+", v) for v in cells[i])
    ]
    named = {user: "user_id", item: "item_id", time: "timestamp", **({words[0]: "behavior"} if words else {})}
    return [named.get(i, f"column_{i + 1}") for i in range(width)]


def _ask(path: str, first: Sequence[str], what: str) -> NoReturn:
    example = ", ".join(f"column_{number}" for number in range(1, len(first) + 1))
    raise errors.InputError(
        f"{path}: no header, and no sign of {what} in the first row ({', '.join(first)}). Name the columns in the order "
        f"of the file, three of them user_id, item_id and timestamp: --set 'log.column_names=[{example}]'"
    )
