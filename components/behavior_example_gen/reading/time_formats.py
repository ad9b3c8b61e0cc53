"""How times are written: strptime formats and ISO 8601 as patterns of their fields. Plain Python, no data.

A pattern is matched against the *shape* of a time, in which each digit is a 0: what it says are the places of the
fields, not their values.
"""

import functools
import re

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTH = "|".join((*_LONG_MONTHS, "sept", *MONTHS))
WEEKDAY = "|".join((*_LONG_DAYS, "tues", "thur", "thurs", *(day[:3] for day in _LONG_DAYS)))
# Those of RFC 5322 and the European and Asian ones that mean one thing only (IST and BST do not). In seconds.
ZONES = {
    name: hours * 3600
    for name, hours in {
        "Z": 0, "UTC": 0, "UT": 0, "GMT": 0,
        "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
        "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9,
    }.items()
}  # fmt: skip
_ZONE_NAME = r"[A-Za-z]+(?:[/_-][A-Za-z]+)*"
# Fields that are numbers, with their widths and their directive.
_NUMBERS = {
    "Y": ("year", 4, 4),
    "y": ("short_year", 2, 2),
    "m": ("month", 1, 2),
    "d": ("day", 1, 2),
    "e": ("day", 1, 2),
    "j": ("day_of_year", 1, 3),
    "H": ("hour", 1, 2),
    "I": ("hour_12", 1, 2),
    "M": ("minute", 1, 2),
    "S": ("second", 1, 2),
    "f": ("fraction", 1, 9),
}
_WORDS = {
    "b": ("month_name", f"(?P<month_name>{MONTH})[.]?"),
    "a": ("weekday", f"(?P<weekday>{WEEKDAY})[.]?"),
    "p": ("half", r"(?P<half>[ap][.]?m[.]?)"),
    "z": ("zone", r"(?:(?P<utc>z|utc|gmt)|(?P<sign>[+-])(?P<zone_hour>\d{2}):?(?P<zone_minute>\d{2})?)"),
    "Z": ("zone", f"(?P<zone_name>{_ZONE_NAME})"),
}
_SAME = {"B": "b", "h": "b", "A": "a"}
_SHORTHANDS = {"T": "%H:%M:%S", "R": "%H:%M", "F": "%Y-%m-%d", "D": "%m/%d/%y"}
_KNOWN = "".join(sorted({*_NUMBERS, *_WORDS, *_SAME, *_SHORTHANDS, "%"}, key=str.lower))

_ISO_ZONE = (
    r"(?: *(?:(?P<utc>z|utc|gmt)|(?P<sign>[+-])(?P<zone_hour>\d{2})(?::?(?P<zone_minute>\d{2}))?)"
    # The name that Java adds says no more than the offset before it.
    r"(?:\[[A-Za-z/_+-]+\])?)?"
)
_ISO_FRACTION = r"(?:[.,](?P<fraction>\d+))?"
_ISO_TIMES = (
    rf"(?P<hour>\d{{1,2}})(?::(?P<minute>\d{{2}})(?::(?P<second>\d{{2}}){_ISO_FRACTION})?)?{_ISO_ZONE}",
    rf"(?P<hour>\d{{2}})(?P<minute>\d{{2}})(?:(?P<second>\d{{2}}){_ISO_FRACTION})?{_ISO_ZONE}",
)
_ISO_DATES = (
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})",
    r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})",
)
# The begin of the name of a field that must be the number behind its last underscore.
LITERAL = "literal"
# What a number that went through a float has behind it: 20231114.0.
_POINT = r"(?:[.](?P<zero>\d+))?"

Patterns = tuple["re.Pattern[str]", ...]


def _compiled(*patterns: str) -> Patterns:
    return tuple(re.compile(rf"\s*{pattern}\s*", re.IGNORECASE | re.ASCII) for pattern in patterns)


# With or without zeros before single digits, extended and basic, with `T` or a blank, in any zone.
ISO_8601 = _compiled(
    *(rf"{date}(?:T| +){time}" for date in _ISO_DATES for time in _ISO_TIMES),
    _ISO_DATES[0],
    _ISO_DATES[1] + _POINT,
    r"(?P<year>\d{4})-(?P<month>\d{1,2})",
    r"(?P<year>\d{4})" + _POINT,
)


@functools.lru_cache(maxsize=256)
def compile_format(text: str) -> Patterns:
    """The pattern of a strptime format.

    As in Python's strptime numbers may do without zeros before them, but not where nothing stands between
    them (`%Y%m%d`). Names of months and days are English ones, whatever the locale.

    Raises:
      ValueError: if a directive is unknown or says something twice, or if no date comes of them.
    """
    parts = _split(text)
    fields: list[str] = []
    pattern = ""
    for index, (directive, literal) in enumerate(parts):
        pattern += _literal(literal, index)
        if directive is None:
            continue
        if directive in _NUMBERS:
            field, least, most = _NUMBERS[directive]
            glued = not literal and index and parts[index - 1][0] in _NUMBERS
            after, between = parts[index + 1] if index + 1 < len(parts) else (None, "")
            glued = glued or (after in _NUMBERS and not between)
            pattern += rf"(?P<{field}>\d{{{most if glued and field != 'fraction' else least},{most}}})"
        else:
            field, written = _WORDS[directive]
            pattern += written
        fields.append(field)
    _check(text, fields)
    if re.fullmatch(r"(%[YymdHIMSjF])+", text):
        pattern += _POINT
    return _compiled(pattern)


def _split(text: str) -> list[tuple[str | None, str]]:
    """The directives of a format, each with the text before it; at last None with the text behind them."""
    found: list[tuple[str | None, str]] = []
    literal, at = "", 0
    text = re.sub("%([TRFD])", lambda short: _SHORTHANDS[short.group(1)], text)
    while at < len(text):
        if text[at] != "%":
            literal += text[at]
            at += 1
            continue
        # Some systems' strptime takes %-d for a day without a zero before it.
        at += 2 if text[at + 1 : at + 2] == "-" else 1
        name = text[at : at + 1]
        if name == "%":
            literal += "%"
        elif name not in _KNOWN or not name:
            raise ValueError(f"takes directives of strptime, %{' %'.join(_KNOWN)}; found %{name} in {text!r}")
        else:
            found.append((_SAME.get(name, name), literal))
            literal = ""
        at += 1
    return [*found, (None, literal)]


def _literal(text: str, place: int) -> str:
    """Text between fields; its digits, which a shape does not have, are a field that tells what they must be."""
    found = ""
    for number, part in enumerate(re.split(r"(\s+|\d+)", text)):
        if part.isspace():
            found += r"\s+"
        elif part.isdigit():
            found += rf"(?P<{LITERAL}{place}_{number}_{int(part)}>\d{{{len(part)}}})"
        else:
            found += re.escape(part)
    return found


def _check(text: str, fields: list[str]) -> None:
    counted: dict[str, int] = {}
    same = {"month_name": "month", "short_year": "year", "hour_12": "hour"}
    for field in (same.get(field, field) for field in fields):
        counted[field] = counted.get(field, 0) + 1
        if counted[field] > 1:
            raise ValueError(f"says the {field.replace('_', ' ')} twice: {text!r}")
    if "year" not in counted:
        raise ValueError(f"says no year, which takes %Y or %y: {text!r}")
    if "day" in counted and "month" not in counted:
        raise ValueError(f"says a day of no month, which takes %m or %b: {text!r}")
    if ("half" in counted) != ("hour_12" in fields):
        raise ValueError(f"%I (an hour up to 12) and %p (AM or PM) go together: {text!r}")
    if "minute" in counted and "hour" not in counted:
        raise ValueError(f"says minutes of no hour, which takes %H, or %I with %p: {text!r}")
