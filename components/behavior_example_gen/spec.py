"""What to read, how to cut it into windows, and which window goes to which split."""

import datetime
import re
import zoneinfo
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import pydantic

from components.behavior_example_gen import missing as missing_lib
from components.behavior_example_gen import spans as span_marks
from components.behavior_example_gen import zones
from components.behavior_example_gen.reading import time_formats
from schemas import names, settings

_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
CATEGORICAL: Final = "categorical"
NUMERIC: Final = "numeric"
MULTI: Final = "multi"


class AttributeSpec(settings.Settings):
    """A column with an attribute; text alone is the column of a categorical one.

    Attributes:
      column: of the log.
      type: `categorical` is one value, `numeric` a number (an empty field is missing, other text makes the
        row bad), `multi` several values in one field.
      separator: between the values of a `multi` field.
    """

    column: str
    type: Literal["categorical", "numeric", "multi"] = CATEGORICAL
    separator: str = pydantic.Field(default="|", min_length=1)

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (settings.Reads(("separator",), self.type == MULTI, f"type: {MULTI}"),)


def _attribute(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


Attribute = Annotated[AttributeSpec, pydantic.BeforeValidator(_attribute)]


class Columns(settings.Settings):
    """Which column of the log holds what.

    Attributes:
      user_id, item_id, timestamp: names of the columns that every log must have.
      behavior, scene: names of the columns with the kind of event (view, cart, buy)
        and the part of the app it happened in.
      item, user: attribute columns, by the name that the feature gets after its prefix:
        `item: {color: colour}` makes feature `item_color` of column `colour`, and
        `item: {price: {column: price, type: numeric}}` a number.
      context: likewise, attributes of an exposure, with the prefix `context_`.
      label: of a log of exposures: the column of each step of the chain (1 or true: it happened; 0
        or false: it did not; empty: not known), as `label: {click: clicked, buy: bought}`.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    behavior: str | None = None
    scene: str | None = None
    item: dict[str, Attribute] = {}
    user: dict[str, Attribute] = {}
    context: dict[str, Attribute] = {}
    label: dict[str, str] = {}

    def attributes(self) -> dict[str, AttributeSpec]:
        """The attributes by the name of their feature."""
        return {
            prefix + name: attribute
            for prefix, group in (
                (names.ITEM_PREFIX, self.item),
                (names.USER_PREFIX, self.user),
                (names.CONTEXT_PREFIX, self.context),
            )
            for name, attribute in group.items()
        }

    def wanted(self) -> dict[str, str]:
        """The column of each feature that a window is made of, by the feature's name."""
        columns = {names.USER_ID: self.user_id, names.ITEM_ID: self.item_id, names.TIMESTAMP: self.timestamp}
        if self.behavior:
            columns[names.BEHAVIOR] = self.behavior
        if self.scene:
            columns[names.SCENE] = self.scene
        columns.update((name, attribute.column) for name, attribute in self.attributes().items())
        columns.update((names.LABEL_PREFIX + name, column) for name, column in self.label.items())
        return columns

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Columns":
        for group in ("item", "user", "context", "label"):
            for name in getattr(self, group):
                # Features, files of vocabularies and inputs of the served model are called by it.
                if not _NAME.fullmatch(name):
                    raise ValueError(
                        f"{group}: a name has letters of English, digits and _, at most 64 of them, whatever its "
                        f"column is called; found {name!r}"
                    )
        for group in ("item", "user"):
            for name in getattr(self, group):
                if f"{group}_{name}" in names.OWN:
                    raise ValueError(
                        f"{group} attribute cannot be called {name!r}: {group}_{name} is Footfall's own"
                    )
        return self


class FilterSpec(settings.Settings):
    """Which events are left out before anything else is done with the log.

    First the events of items with fewer than `min_item_events` events, then the events of users
    who have fewer than `min_user_events` of what is left. Once, in this order: an item may end
    with fewer events than it was kept for. Events of `eval` and `test` count as well: whoever is measured has
    enough of them, as in public protocols. Refused where labels are made of events, which would be left out with them.

    Attributes:
      min_item_events, min_user_events: events in the whole log; 1 leaves nothing out.
    """

    min_item_events: int = pydantic.Field(default=1, ge=1)
    min_user_events: int = pydantic.Field(default=1, ge=1)


_OF_DELIMITED = ("delimiter", "quote", "escape", "comment", "header", "column_names")


_FRACTION = re.compile(r"(?<=:\d\d)\.(\d+)")
_ZONE = re.compile(r"(?:(?<=:\d\d)|(?<=\.\d{6})) *([+-]\d\d):?(\d\d)?$")
# Python takes the zone for a time of day.
_DATE_IN_ZONE = re.compile(r"(\d{4}-\d\d-\d\d) *(?=[+-]\d\d(:?\d\d)?$)")
_MOMENT = "an ISO 8601 moment, as 2023-11-14 or 2023-11-14T22:31:44Z"


def read_moment(value: object, takes: str = _MOMENT) -> datetime.datetime:
    """A moment as it is written: without a zone where it names none.

    Raises:
      ValueError: if it is none.
    """
    # Python 3.10 takes fractions of 3 or 6 digits and zones with minutes alone.
    text = _FRACTION.sub(lambda found: f".{found[1]:0<6.6}", str(value).strip().replace("Z", "+00:00"))
    text = _DATE_IN_ZONE.sub(r"\1T00:00", text)
    text = _ZONE.sub(lambda found: f"{found[1]}:{found[2] or '00'}", text)
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"takes {takes}, found {value!r}") from None


def _moment(value: object, takes: str) -> datetime.datetime:
    return zones.in_utc(value if isinstance(value, datetime.datetime) else read_moment(value, takes))


# UTC where it names no zone; beside a `log.timezone` that is another one, `zones.told_of` says so.
Moment = Annotated[
    datetime.datetime,
    pydantic.PlainValidator(lambda value: _moment(value, _MOMENT)),
    # Whoever reads it back is to know, too, that no zone was named.
    pydantic.PlainSerializer(zones.written, when_used="json"),
]


class LogSpec(settings.Settings):
    """Where the log is and how its rows are to be read.

    Attributes:
      path: a file, a folder or a pattern, on a disk or in a bucket of Google Cloud Storage (`gs://`). `{SPAN}`
        stands for the whole number of a span (a day, a batch), `{YYYY}`, `{MM}` and `{DD}` for its date,
        `{VERSION}` for the number of a delivery made again: spans up to the newest are read. `~` is the home
        folder; variables are refused. `dataset:NAME` is a data set of `footfall data fetch`.
      format: by the file's ending where None. `csv` is text with any delimiter, `tsv` the same with tabs and
        without quotes.
      delimiter: of `csv` and `tsv`, what stands between two values: one or more characters, or `\\s+` for any
        run of blanks. None is a comma (a tab in `tsv`), or what a first line like `sep=;` says.
      quote: of `csv` and `tsv`, the character around values that hold delimiters or line breaks; `""` where
        there is none. None is `"`, and none in `tsv`.
      escape: the character before a quote within a quoted value, as `\\`; two of them are one. Outside of quotes it
        is a character like any other. None: such a quote is doubled.
      comment: lines of `csv` and `tsv` that begin with it are skipped; None: no line is.
      encoding: of text files, by the name that Python has for it, as `cp1252`. None is UTF-8, or what a byte
        order mark says.
      header: whether the first row of a `csv` or `tsv` file names the columns. None: it does, unless there are
        `column_names`.
      column_names: names of the columns of a `csv` or `tsv` file without a header, or instead of its header.
      timestamp_unit: how times are written. Numbers count seconds (`s`), `ms`, `us`, `ns` or days (`d`) since 1970,
        or as Excel (`excel`, days since 1899-12-30), .NET (`dotnet_ticks`), Windows (`filetime`), WebKit
        (`webkit`) and astronomers (`julian_day`) do; `iso8601` is text as 2023-11-14T22:31:44+01:00, or a date.
        Typed columns (a timestamp or date of Parquet) need none.
      timestamp_format: of times that are written otherwise, as strptime has it: `%d.%m.%Y %H:%M`; of numbers, too:
        `%Y%m%d`. Names of months are English ones.
      timezone: of times that name no zone and count from no moment of UTC (text, typed columns without a zone,
        `d`, `excel`, `dotnet_ticks`), as `Europe/Berlin`; None is UTC. Where clocks are set back, a time that is
        there twice is the first one; where they are set forward, a time that is not there counts from before.
      earliest, latest: a row with a time outside of these moments is bad. None is 1990, and a day after the clock of
        the run.
      spans: with `{SPAN}` or a date in `path`, how many spans up to the newest one are read; None is all.
      max_rejected_share: a run stops when more than this share of the rows is bad.
      max_id_bytes: a longer id makes a row bad.
      missing: words that stand for no value, as `NA` for a user; see `missing.MissingSpec`.
      label_minus_one: what -1 is in a column of labels: `no`, as 0 is, or `unknown`, as an empty field is. None:
        `no`, and a column that has 0 as well stops the run, which cannot know.
      duplicates: what becomes of an event that is equal to another one of the log in all columns that are read,
        the time included: `keep`, or `drop` all but the first one. Counted either way.
      filter: events of rare items and users to leave out; None leaves out nothing. Shares of
        `split` are of the events that are left.
    """

    path: settings.Path
    format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None
    columns: Columns = Columns()
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    comment: str | None = None
    encoding: str | None = None
    header: bool | None = None
    column_names: tuple[str, ...] | None = None
    timestamp_unit: Literal[
        "s", "ms", "us", "ns", "d", "iso8601", "excel", "dotnet_ticks", "filetime", "webkit", "julian_day"
    ] = "s"
    timestamp_format: str | None = None
    timezone: str | None = None
    earliest: Moment | None = None
    latest: Moment | None = None
    spans: int | None = pydantic.Field(default=None, ge=1)
    max_rejected_share: float = pydantic.Field(default=0.01, ge=0, le=1)
    max_id_bytes: int = pydantic.Field(default=256, ge=1)
    missing: missing_lib.Missing = missing_lib.MissingSpec()
    label_minus_one: Literal["no", "unknown"] | None = None
    duplicates: Literal["keep", "drop"] = "keep"
    filter: FilterSpec | None = None

    @pydantic.field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path:
            raise ValueError("names a file, a folder or a pattern, found none")
        span_marks.check_path(path)
        return path

    @pydantic.field_validator("timestamp_format")
    @classmethod
    def _check_format(cls, value: str | None) -> str | None:
        if value is not None:
            time_formats.compile_format(value)
        return value

    @pydantic.field_validator("timezone")
    @classmethod
    def _check_zone(cls, value: str | None) -> str | None:
        try:
            zoneinfo.ZoneInfo(value or "UTC")
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"takes a name of the IANA time zones, as Europe/Berlin or America/New_York; found {value!r}"
            ) from None
        return value

    @pydantic.model_validator(mode="after")
    def _check_times(self) -> "LogSpec":
        if self.timestamp_format is not None and self.timestamp_unit != "s":
            raise ValueError(
                f"timestamp_format and timestamp_unit both say how times are written: leave one out; found "
                f"{self.timestamp_format!r} and {self.timestamp_unit}"
            )
        if self.earliest and self.latest and self.earliest >= self.latest:
            raise ValueError(f"earliest must come before latest, found {self.earliest} and {self.latest}")
        return self

    @pydantic.field_validator("delimiter")
    @classmethod
    def _check_delimiter(cls, value: str | None) -> str | None:
        # Not quoted, YAML leaves these two characters, which separate nothing.
        value = "\t" if value == "\\t" else value
        if value is not None and (not value or set(value) & set('\r\n"')):
            raise ValueError(
                f"takes one or more characters, none of them a quote or a line break, in quotes where YAML "
                f"has a use for them, as '|'; found {value!r}"
            )
        return value

    @pydantic.field_validator("quote", "escape", "comment")
    @classmethod
    def _check_mark(cls, value: str | None, info: pydantic.ValidationInfo) -> str | None:
        empty = "" if info.field_name == "quote" else None
        if value is not None and value != empty and (len(value) != 1 or not "!" <= value <= "~"):
            raise ValueError(f"takes one visible ASCII character, in YAML quotes as '#'; found {value!r}")
        return value

    @pydantic.field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except (LookupError, ValueError):
            raise ValueError(
                f"takes the name of an encoding, as utf-8, utf-16, latin-1, cp1252, gbk; found {value!r}"
            ) from None
        return value

    @pydantic.model_validator(mode="after")
    def _check(self) -> "LogSpec":
        if self.header is False and not self.column_names:
            raise ValueError(
                "header: false needs column_names, one for each column, as [user_id, item_id, timestamp]; found none"
            )
        repeated = [n for n in self.column_names or () if self.column_names.count(n) > 1]
        if repeated:
            raise ValueError(f"column_names are different ones, found {repeated[0]!r} more than once")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`; of a format that a file's ending tells, nothing is known yet."""
        return (
            settings.Reads(_OF_DELIMITED, self.format in (None, "csv", "tsv"), "format: csv or tsv"),
            settings.Reads(("escape",), self._may_quote(), "quote: '\"'"),
            settings.Reads(("encoding",), self.format != "parquet", "format: csv, tsv or jsonl"),
            settings.Reads(("spans",), span_marks.has_marks(self.path), "{SPAN} or a date in path"),
            settings.Reads(("label_minus_one",), bool(self.columns.label), "columns.label"),
        )

    def _may_quote(self) -> bool:
        return self.format != "tsv" if self.quote is None else self.quote != ""


RECENT_SHARE = 0.1


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([smhd])")
_BARE = re.compile(r"[0-9]*[1-9][0-9]*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(value: object) -> float:
    """`7d`, `12h`, `30m` or `90s`; a float is in seconds, as `to_json` and a run's own experiment.yaml have it.

    A whole number may be meant in days.
    """
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    bare = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if bare or isinstance(value, str) and _BARE.fullmatch(value.strip()):
        number = str(value).strip()
        raise ValueError(f"write {number}s, {number}m, {number}h or {number}d, found {value!r}")
    if found:
        value = float(found.group(1)) * _SECONDS[found.group(2)]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"takes a time above 0, as 7d, 12h, 30m or 90s; found {value!r}")
    return float(value)


DURATION = pydantic.BeforeValidator(_seconds)
Duration = Annotated[float, DURATION]
# A value of the log: without blanks around it, as the log is read.
LogText = Annotated[str, pydantic.StringConstraints(strip_whitespace=True)]


_BEFORE_END = re.compile(rf"- *({_DURATION.pattern})")


def _cut(value: object) -> float | datetime.datetime | datetime.timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 < value < 1:
            raise ValueError(f"a share lies between 0 and 1, found {value}")
        return float(value)
    if isinstance(value, datetime.timedelta):
        return value
    before = _BEFORE_END.fullmatch(value.strip()) if isinstance(value, str) else None
    if before:
        return datetime.timedelta(seconds=-_seconds(before[1]))
    return _moment(
        value, "a share between 0 and 1, a time before the log's end, as -7d, or an ISO 8601 moment"
    )


def _written(cut: float | datetime.datetime | datetime.timedelta) -> float | str:
    """A cut as an experiment has it."""
    if not isinstance(cut, datetime.timedelta):
        return cut if isinstance(cut, float) else zones.written(cut)
    seconds = -cut.total_seconds()
    unit = next((unit for unit in reversed(_SECONDS) if not seconds % _SECONDS[unit]), "s")
    return f"-{seconds / _SECONDS[unit]:f}".rstrip("0").rstrip(".") + unit


# A share of the log's events in time order, a time before its last event (-7d), or a moment (ISO 8601; UTC where it names no
# zone).
Cut = Annotated[
    float | datetime.timedelta | datetime.datetime,
    pydantic.PlainValidator(_cut),
    pydantic.PlainSerializer(_written, when_used="json"),
]


def _rise(cuts: Sequence[Any]) -> bool:
    """Whether `eval` begins before `test`; of no cuts it does."""
    return not cuts or cuts[0] < cuts[1]


class SplitSpec(settings.Settings):
    """Which events are targets of training, of early stopping (`eval`) and of the gate (`test`).

    Attributes:
      by: one rule, or two together.
        `time`: events before the cut `eval_from` train; targets between `eval_from` and
        `test_from` are for `eval`, later ones for `test`. Nothing leaks backwards in time.
        `leave_one_out`: a user's last event is for `test`, the one before for `eval`; who has fewer than three only trains.
        `held_out_users`: `held_out_share` of the users (by a hash of their id) train
        nothing; alone, their last two events are targets as in `leave_one_out`. Windows of kind
        `period` take half of these users for `eval` and half for `test` instead.
        `time` with `leave_one_out`: the last event of each user in each split's time range.
      eval_from, test_from: with `time`, where each split begins: a share of the log's events in time order; a time before the
        last event, as -14d and -7d, which moves with a log that grows (events that are lonely at its end do not count; of a
        log of days it is that many of its days); or a moment (ISO 8601; UTC where it names no zone). Both are of one kind.
      held_out_share: with `held_out_users`, which share of the users is held out.
      targets: with `time`, which events of a user in a split's time range are targets. Each has the items that its
        user has met; `all` stops the run where these are more than 1,000 for each event of the log (and 100 million), as
        of a program among users.
      target_behaviors: only events of these behaviours are targets of `eval` and `test`, so that
        `leave_one_out` takes the last such event and the one before; None is all of them.
        Histories, and what is trained on, have all behaviours.
    """

    by: tuple[Literal["time", "leave_one_out", "held_out_users"], ...] = ("time",)
    eval_from: Cut = 0.8
    test_from: Cut = 0.9
    targets: Literal["first", "last", "all"] = "all"
    held_out_share: float = pydantic.Field(default=0.2, gt=0, lt=1)
    target_behaviors: tuple[LogText, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SplitSpec":
        if self.target_behaviors is not None and not self.target_behaviors:
            raise ValueError("target_behaviors names at least one behaviour, found none")
        if not 1 <= len(self.by) <= 2 or len(set(self.by)) != len(self.by):
            raise ValueError(f"by takes one rule or two different ones, found {list(self.by)}")
        found = f"found {_written(self.eval_from)} and {_written(self.test_from)}"
        shares, before_end, moments = self.shares(), self.before_end(), self.moments()
        if 1 in (len(shares), len(before_end)):
            raise ValueError(
                f"eval_from and test_from must be both shares, both times before the end, or both moments, {found}"
            )
        if not (_rise(shares) and _rise(before_end) and _rise(moments)):
            raise ValueError(f"eval_from must come before test_from, {found}")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`: the split would be another than the one that was asked for."""
        by_time = "time" in self.by
        return (
            settings.Reads(("eval_from", "test_from"), by_time, "by: time"),
            settings.Reads(
                ("targets",), by_time and "leave_one_out" not in self.by, "by: time, without leave_one_out"
            ),
            settings.Reads(("held_out_share",), "held_out_users" in self.by, "by: held_out_users"),
        )

    def shares(self) -> list[float]:
        """Where `eval` and `test` begin, by shares of the log's events; empty if that is told in another way."""
        return [cut for cut in (self.eval_from, self.test_from) if isinstance(cut, float)]

    def before_end(self) -> list[datetime.timedelta]:
        """Where `eval` and `test` begin, by times from the log's end, below 0; empty if that is told in another way."""
        return [cut for cut in (self.eval_from, self.test_from) if isinstance(cut, datetime.timedelta)]

    def moments(self) -> list[datetime.datetime]:
        """Where `eval` and `test` begin, by moments; empty if that is told in another way."""
        return [cut for cut in (self.eval_from, self.test_from) if isinstance(cut, datetime.datetime)]
