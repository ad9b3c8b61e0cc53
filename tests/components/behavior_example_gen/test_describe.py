"""What `describe` makes of logs in the style of public ones: settings that a run reads every row with."""

import datetime
import gzip
import json
import os
import weakref

import pyarrow as pa
import pyarrow.parquet
import pytest

from components.behavior_example_gen import describe, guess, readers, spans, spec
from pipeline import config, describing, suggest
from schemas import errors

EVENTS = [(n * 7 % 40 + 1, n * 11 % 30 + 100, 1_500_000_000 + 60 * n) for n in range(400)]


def moment(seconds, form="%Y-%m-%d %H:%M:%S"):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime(form)


def written(form, header="", encoding="utf-8"):
    return (header + "".join(form(u, i, t) for u, i, t in EVENTS)).encode(encoding)


STYLES = {
    "ratings.dat": written(lambda u, i, t: f"{u}::{i}::5::{t}\n"),
    "u.data": written(lambda u, i, t: f"{u}\t{i}\t3\t{t}\n"),
    "BX-Ratings.csv": written(
        lambda u, i, t: f'"{u}";"{i:010d}";"Mädchen ""x""; é";"{moment(t)}"\r\n',
        '"User-ID";"ISBN";"Book-Title";"Date"\r\n',
        "latin-1",
    ),
    "Gowalla.txt": written(lambda u, i, t: f"{u}\t{moment(t, '%Y-%m-%dT%H:%M:%SZ')}\t30.{i}\t-97.{i}\t{i}\n"),
    "tsmc.txt": written(
        lambda u, i, t: f"{u}\t4b{i:06x}\tc{i % 5}\tBar {i}\t40.7{i}\t-73.9{i}\t-240\t"
        f"{moment(t, '%a %b %d %H:%M:%S +0000 %Y')}\n"
    ),
    "yoochoose-clicks.dat": written(lambda u, i, t: f"{u},{moment(t, '%Y-%m-%dT%H:%M:%S.000Z')},{i},0\n"),
    "lastfm": written(lambda u, i, t: f'user_{u}\t{moment(t, "%Y-%m-%dT%H:%M:%SZ")}\tab-{i}\tDéjà "{i}"\n'),
    "diginetica.csv": written(
        lambda u, i, t: f"{u};NA;{i};{t % 977};{moment(t, '%Y-%m-%d')}\n",
        "sessionId;userId;itemId;timeframe;eventdate\n",
    ),
    "UserBehavior.csv": written(lambda u, i, t: f"{u},{i},{i % 7},{['pv', 'buy', 'cart'][t // 60 % 3]},{t}\n"),
    "reviews.jsonl": written(
        lambda u, i, t: json.dumps({"reviewerID": f"A{u}", "asin": f"B{i}", "unixReviewTime": t, "text": "a\n"}) + "\n"
    ),
    "ml.inter": written(lambda u, i, t: f"{u}\t{i}\t3\t{t}\n", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"),
    "transactions.csv": written(
        lambda u, i, t: f"{moment(t, '%Y-%m-%d')},c{u},{i},0.0{i},1\n", "t_dat,customer_id,article_id,price,channel\n"
    ),
    "OnlineRetail.csv": written(
        lambda u, i, t: f"5{t % 97},S{i},a,{u}.0,{moment(t)}\n", "InvoiceNo,StockCode,Text,CustomerID,InvoiceDate\n"
    ),
    "saved.csv": written(lambda u, i, t: f"{u};{i};{moment(t)}\r\n", "sep=;\r\nvisitorid;document_id;created_at\r\n"),
    "unicode.csv": written(lambda u, i, t: f"{u}\t{i}\t{t}\r\n", "userId\ttrack_id\tts\r\n", "utf-16"),
    "yelp.csv": written(
        lambda u, i, t: f'u{u},"nice\nplace, ""{i}"", 5","b{i}",{moment(t)}\n', "user_id,review,business_id,date\n"
    ),
    "songs.csv": written(lambda u, i, t: f"{u}|s{i}|{t}000\n", "session_id|song|datetime\n"),
    "amazon.csv": written(lambda u, i, t: f"B{i:09d},A{u:013d},5.0,{t}\n"),
}  # fmt: skip


def suggested(tmp_path, path, **options):
    """What `describe` says, and the experiment that it suggests, as it loads."""
    found = describe.describe(str(path), options)
    text = "\n".join(map(describing.comment, describing.lines(found))) + "\n" + suggest.experiment(found)
    (tmp_path / "suggested.yaml").write_text(text, encoding="utf-8")
    return found, config.load(str(tmp_path / "suggested.yaml"))


@pytest.mark.parametrize("name", STYLES)
def test_logs_in_the_style_of_public_ones(tmp_path, name):
    (tmp_path / name).write_bytes(STYLES[name])
    found, experiment = suggested(tmp_path, tmp_path / name)
    assert (found["users"], found["items"], found["events"], found["rejected"]) == (40, 30, 400, 0), found
    assert found["start"][:10] == found["end"][:10] == "2017-07-14"
    assert experiment.log.path == str(tmp_path / name)


def test_a_column_of_one_value_or_of_another_in_each_row_is_no_user_while_another_fits(tmp_path):
    rows = [f"-7,{n},{u},{i},{t}" for n, (u, i, t) in enumerate(EVENTS)]
    (tmp_path / "a.csv").write_text("user_id,uid,user,item,time\n" + "\n".join(rows) + "\n")
    found, experiment = suggested(tmp_path, tmp_path / "a.csv")
    assert experiment.log.columns.user_id == "user" and found["users"] == 40
    # Where no other fits it is taken, and said to be odd.
    (tmp_path / "b.csv").write_text("user_id,item,time\n" + "".join(f"7,{i},{t}\n" for _, i, t in EVENTS))
    found, _ = suggested(tmp_path, tmp_path / "b.csv")
    assert any(
        "'user_id' has one value; name another: --columns user_id=" in note for note in found["notices"]
    )


def test_columns_may_be_named(tmp_path):
    rows = "".join(f"{u},{i},{t}\n" for u, i, t in EVENTS)
    (tmp_path / "a.csv").write_text("who,what,at time\n" + rows)
    with pytest.raises(
        errors.InputError,
        match=r"looks like user_id, item_id or timestamp among who, what, at time. Name them: --columns user_id=COLUMN,"
        r"item_id=COLUMN,timestamp=COLUMN, where COLUMN may be who \(1, 8, 15, ...; 40 different\); what",
    ):
        describe.describe(str(tmp_path / "a.csv"))
    given = describing.settings(["user_id=who,item_id=what", "timestamp=at time"], None, None, True, [])
    found, _ = suggested(tmp_path, tmp_path / "a.csv", **given)
    assert (found["users"], found["items"]) == (40, 30)
    with pytest.raises(errors.InputError, match="no column 'none' .* the file has who, what, at time"):
        describe.describe(
            str(tmp_path / "a.csv"), describing.settings(["user_id=none"], None, None, True, [])
        )
    with pytest.raises(errors.InputError, match="--columns takes ROLE=COLUMN"):
        describing.settings(["who"], None, None, True, [])
    (tmp_path / "b.csv").write_text(rows.replace(",", "#"))
    names = "log.column_names=[user_id, item_id, timestamp]"
    given = describing.settings([], "#", None, False, [names, "log.timestamp_unit=s"])
    assert suggested(tmp_path, tmp_path / "b.csv", **given)[0]["items"] == 30


@pytest.mark.parametrize("form", ["%d/%m/%y %H:%M", "%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%dT%H:%M:%S"])
def test_a_single_column_of_dates_is_the_time_whatever_its_name(tmp_path, form):
    first = datetime.datetime(2017, 7, 14)
    moments = [(first + datetime.timedelta(hours=12 * n)).strftime(form) for n in range(len(EVENTS))]
    rows = "".join(f"{u},{i},day,{m}\n" for (u, i, _), m in zip(EVENTS, moments))
    (tmp_path / "a.csv").write_text("user,item,part of the day,Flown On\n" + rows)
    assert describe.describe(str(tmp_path / "a.csv"))["log"]["columns"]["timestamp"] == "Flown On"
    # A date is offered for nothing else; of two columns of dates the user chooses.
    rows = "".join(f"{u},{m},{m},{u}{i}\n" for (u, i, _), m in zip(EVENTS, moments))
    (tmp_path / "b.csv").write_text("user,flown,landed,what\n" + rows)
    with pytest.raises(errors.InputError) as refused:
        describe.describe(str(tmp_path / "b.csv"))
    assert "like item_id or timestamp among user, flown" in str(refused.value) and "; landed (" in str(
        refused.value
    )
    with pytest.raises(errors.InputError) as refused:
        describe.describe(str(tmp_path / "b.csv"), {"columns": {"timestamp": "flown"}})
    assert "item_id=COLUMN, where COLUMN may be what (" in str(refused.value) and "landed (" not in str(
        refused.value
    )


@pytest.mark.parametrize(
    "no, yes", [("no", "yes"), ("N", "Y"), ("f", "t"), ("0.0", "1.0"), ("-1", "1"), ("False", "True")]
)
def test_labels_make_a_log_of_exposures_and_it_is_said(tmp_path, no, yes):
    rows = [f"{u},{i},{t},{yes if t % 3 else no}" for u, i, t in EVENTS]
    (tmp_path / "a.csv").write_text("user,item,time,is_clicked\n" + "\n".join(rows) + "\n")
    found, experiment = suggested(tmp_path, tmp_path / "a.csv")
    assert experiment.window.kind == "exposure" and experiment.window.steps == ("click",)
    assert any("'is_clicked' holds labels" in note for note in found["notices"])


def test_a_column_that_is_named_like_a_step_and_holds_none_is_told(tmp_path):
    rows = [f"{u},{i},{t},{t % 7}" for u, i, t in EVENTS]
    (tmp_path / "a.csv").write_text("user,item,time,clicks\n" + "\n".join(rows) + "\n")
    found, experiment = suggested(tmp_path, tmp_path / "a.csv")
    assert experiment.window.kind == "next"
    assert any("'clicks' is named like a step, but holds no labels (" in note for note in found["notices"])


def test_a_user_with_an_implausible_share_of_the_events_is_named(tmp_path):
    rows = [f"{'walk-in' if n % 3 == 0 else u},{i},{t}" for n, (u, i, t) in enumerate(EVENTS)]
    (tmp_path / "a.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    found, _ = suggested(tmp_path, tmp_path / "a.csv")
    assert any("walk-in" in note for note in found["notices"])


LONG = "a" * 80
ODD = {
    "long": (f"{LONG}.csv", EVENTS),
    "odd": ("-- ü 'quoted': #1 [x] & \"more\".csv", EVENTS),
    "number": ("1e5", EVENTS),
    "nothing": ("_.csv", EVENTS),
    "one event each": ("a.csv", [(n, n % 5, t) for n, (_, _, t) in enumerate(EVENTS)]),
    "one user": ("a.csv", [("u", i, t) for _, i, t in EVENTS]),
    "one time": ("a.csv", [(u, i, 1_500_000_000) for u, i, _ in EVENTS]),
    "tiny": ("a.csv", EVENTS[:3]),
    "one row": ("a.csv", EVENTS[:1]),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_suggested_loads(tmp_path, case):
    name, events = ODD[case]
    (tmp_path / name).write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in events))
    found, experiment = suggested(tmp_path, tmp_path / name)
    assert experiment.log.path == str(tmp_path / name) and found["events"] == len(events)
    if case == "one event each":
        assert any("nothing can be learnt" in note for note in found["notices"])


def test_a_behavior_with_a_line_break_breaks_no_line(tmp_path):
    rows = "".join(f'{u},{i},{t},"view\nlog: [{i % 2}]\u2028x"\n' for u, i, t in EVENTS)
    (tmp_path / "a.csv").write_text("user,item,time,event\n" + rows)
    _, experiment = suggested(tmp_path, tmp_path / "a.csv")
    assert experiment.log.columns.behavior == "event"


def test_a_folder_of_spark(tmp_path):
    folder = tmp_path / "out" / "events"
    (folder / "day=2").mkdir(parents=True)
    (folder / "_SUCCESS").write_text("")
    (folder / ".part-0.csv.crc").write_bytes(b"\x00crc")
    (folder / "part-0.csv").write_text(
        "user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in EVENTS[:200])
    )
    (folder / "day=2" / "part-1.csv").write_text(
        "user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in EVENTS[200:])
    )
    for path in (folder, f"{folder}/"):
        found, experiment = suggested(tmp_path, path)
        assert found["events"] == 400 and experiment.name == "events"


@pytest.mark.parametrize(
    "path, days, name",
    [
        ("shop/{YYYY}-{MM}-{DD}.csv", ["2011-01-16", "2011-01-17"], "shop"),
        ("shop/day-{SPAN}/*.csv", ["day-7/a", "day-7/b", "day-8/a"], "day"),
        ("{SPAN:3}-clicks.csv.gz", ["007-clicks", "008-clicks"], "clicks"),
        ("shop/{SPAN}/v{VERSION}/log.csv", ["7/v1/log", "8/v1/log", "8/v2/log"], "log"),
    ],
)
def test_daily_logs_are_found_as_a_run_finds_them(tmp_path, path, days, name):
    head, ending = "userId,itemId,ts,click,buy\n", ".csv.gz" if path.endswith(".gz") else ".csv"
    folder = path.split("{")[0].rpartition("/")[0]
    for number, day in enumerate(days):
        file = tmp_path / folder / f"{day}{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = "".join(f"{u},{i},{t},{t // 60 % 2},0\n" for u, i, t in EVENTS[50 * number : 50 * number + 50])
        data = (head + rows).encode()
        file.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    found, experiment = suggested(tmp_path, tmp_path / path)
    log = experiment.log
    assert log.path == str(tmp_path / path) and experiment.name == name
    # A version that was made again takes the place of the one before.
    by_run = readers.sources(spans.paths(log.path, log.spans), log)
    assert found["rows_read"] == 50 * len(by_run) == 100 + 50 * ("day" in name)
    assert found["steps"] == {"click": 0.5, "buy": 0.0} and found["unused_columns"] == []
    latest, _ = suggested(tmp_path, tmp_path / path, spans=1)
    assert latest["rows_read"] == 50


def test_marks_that_fit_no_file_are_told_before_anything_is_read(tmp_path):
    (tmp_path / "2011-01-16.csv").write_text("user,item,time\nu,i,1600000000\n")
    for path, words in (
        ("{SPAN}.csv", r"found '2011-01-16' in .*as path: .*/\{YYYY\}-\{MM\}-\{DD\}\.csv$"),
        ("{DATE}.csv", r"unknown mark \{DATE\}"),
        ("day-{SPAN}.csv", "no file matches"),
    ):
        with pytest.raises(errors.InputError, match=words) as caught:
            describe.describe(str(tmp_path / path))
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(errors.InputError, match="^log.path: takes a path of a disk or of a bucket"):
        describe.describe("abfs://log/*.csv")


def test_links_that_lead_back_or_to_a_folder_beside_them_are_read_once(tmp_path):
    day = tmp_path / "log" / "2011-01-16"
    day.mkdir(parents=True)
    (day / "a.csv").write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in EVENTS))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.csv").write_text("user,item,time\nu,i,1500000000\n")
    (day / "up").symlink_to(tmp_path / "log")
    (day / "itself").symlink_to(day)
    (tmp_path / "log" / "1-latest").symlink_to(day)
    (tmp_path / "log" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "log" / "nowhere").symlink_to(tmp_path / "gone")
    found = spans.paths(str(tmp_path / "log"))
    assert [os.path.relpath(path, tmp_path / "log") for path in found] == ["2011-01-16/a.csv", "other/b.csv"]
    assert suggested(tmp_path, tmp_path / "log")[0]["events"] == 401


def test_files_that_are_found_and_those_that_are_not(tmp_path):
    """By describe and by a run alike, which ask one function."""

    def of(path):
        log = spec.LogSpec(path=str(path))
        sources = readers.sources(spans.paths(log.path), log)
        return [os.path.basename(source.path) for source in sources]

    text = "user_id,item_id,timestamp\nu,i,1600000000\n"
    (tmp_path / "log[1].csv").write_text(text)
    assert of(tmp_path / "log[1].csv") == ["log[1].csv"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(errors.InputError, match=r"^log.path: no file matches .*nothing$"):
        of(tmp_path / "nothing")
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.csv").write_text(text)
    (tmp_path / "mixed" / "b.tsv").write_text(text)
    with pytest.raises(errors.InputError, match=r"files of several formats \(csv: a.csv; tsv: b.tsv\)"):
        of(tmp_path / "mixed")
    with pytest.raises(errors.InputError, match="files of several formats"):
        describe.describe(str(tmp_path / "mixed"))


def test_one_nested_value_is_a_bad_row_and_a_column_of_them_is_told(tmp_path):
    rows = [{"user_id": n % 5, "item_id": f"i{n % 7}", "timestamp": 1_600_000_000 + n} for n in range(60)]
    rows[3]["user_id"], rows[5]["item_id"] = {"id": 7}, [1, 2]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = describe.describe(str(path))
    assert (found["users"], found["items"], found["rejected"]) == (5, 7, 2)
    path.write_text("".join(json.dumps({"session": n, "events": [rows[n]]}) + "\n" for n in range(60)))
    with pytest.raises(errors.InputError, match=r"events: lists or objects.*A log has one event per row"):
        describe.describe(str(path))


def test_of_bad_rows_the_first_ones_are_kept_and_all_counted(tmp_path, monkeypatch):
    for name in "abcd":
        bad = "".join(f"u,{name}{n},soon\n" for n in range(3))
        (tmp_path / f"{name}.csv").write_text(f"user,item,time\nu,i,1600000000\n{bad}")
    last, kept, read_all = [], [], readers.read_all

    def watched(*arguments):
        last.clear(), kept.clear()
        for block in read_all(*arguments):
            # Of the blocks before the one that the caller still holds.
            kept.append(sum(one() is not None for one in last[:-1]))
            last.append(weakref.ref(block.rejects[-1]))
            yield block

    monkeypatch.setattr(readers, "read_all", watched)
    settings = {"columns": {"user_id": "user", "item_id": "item", "timestamp": "time"}, "timestamp_unit": "s"}
    found = describe.describe(str(tmp_path), settings)
    assert (found["events"], found["rejected"]) == (4, 12)
    assert [(one["file"][-5:], one["row"]) for one in found["rejected_examples"]] == [
        ("a.csv", 2),
        ("a.csv", 3),
        ("a.csv", 4),
        ("b.csv", 2),
        ("b.csv", 3),
    ]
    # The third one of the first file is an example.
    assert kept == [0, 0, 1, 1]


def test_a_key_that_is_misspelt_is_refused_as_by_a_run(tmp_path, monkeypatch):
    rows = [{"user_id": u, "item_id": i, "timestamp": t, "coupon": "c"} for u, i, t in EVENTS]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"columns": {"context": {"coupon": "cuopon"}}}
    with pytest.raises(
        errors.InputError, match="missing in all 400 rows.*log.columns.context.coupon: coupon[?]"
    ):
        describe.describe(str(path), given)
    # A rare key is told, and of the rows that were read alone.
    given["columns"]["context"]["coupon"] = "voucher"
    for most, where in ((5000, "any row"), (400, "the first 400 rows")):
        monkeypatch.setattr(describe, "_DESCRIBE_ROWS", most)
        said = f"column 'voucher' (log.columns.context.coupon) has no value in {where}"
        assert said in describe.describe(str(path), given)["notices"]


def test_describe_guesses_a_log(tmp_path):
    lines = ["visitorid\tevent\titemid\ttimestamp"]
    lines += [
        f"{n % 6}\t{'buy' if n % 10 == 0 else 'view'}\t{n % 7}\t{1_400_000_000_000 + n}" for n in range(60)
    ]
    (tmp_path / "events.tsv").write_text("\n".join(lines) + "\n")
    found = describe.describe(str(tmp_path / "events.tsv"))
    # What is as by default is not written out: the time is in the column `timestamp`.
    assert found["log"]["columns"] == {"user_id": "visitorid", "item_id": "itemid", "behavior": "event"}
    assert found["log"]["timestamp_unit"] == "ms"
    assert found["behaviors"] == {"view": 54, "buy": 6} and found["users"] == 6
    assert "timestamp_unit: ms" in suggest.experiment(found)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(
        errors.InputError, match="looks like user_id, item_id or timestamp among a, b. A log has"
    ):
        describe.describe(str(tmp_path / "other.csv"))


def test_describe_knows_better_names_and_items_that_come_again(tmp_path):
    lines = ["session_id,user_id,description,product_id,event_time"]
    lines += [f"s{n},u{n % 6},text,p{n % 4},{1_400_000_000 + n}" for n in range(60)]
    (tmp_path / "shop.csv").write_text("\n".join(lines) + "\n")
    found = describe.describe(str(tmp_path / "shop.csv"))
    # `user_id` is so by default.
    assert found["log"]["columns"] == {"item_id": "product_id", "timestamp": "event_time"}
    # 6 and 4 have a common multiple of 12: a user has two items.
    assert (found["users"], found["items"]) == (6, 4) and found["repeat_share"] == pytest.approx(1 - 12 / 60)
    assert "exclude_seen: false" in suggest.experiment(found)
    likely = guess.named_like(guess.ROLES, ["session_id", "description", "time"])
    assert {role: columns for role, columns in likely.items() if columns} == {
        "user_id": ["session_id"],
        "item_id": ["description"],
        "timestamp": ["time"],
    }


def test_describe_guesses_the_steps_of_exposures(tmp_path):
    lines = ["userId,sku,time,isClicked,Purchased,colour"]
    lines += [f"{n % 6},{n % 7},{1_400_000_000 + n},{n % 2},{'' if n % 3 else n % 2},red" for n in range(60)]
    (tmp_path / "shown.csv").write_text("\n".join(lines) + "\n")
    found = describe.describe(str(tmp_path / "shown.csv"))
    assert found["log"]["columns"]["label"] == {"click": "isClicked", "buy": "Purchased"}
    # Purchases are known of every third row; every other one of these has one.
    assert found["steps"] == {"click": 0.5, "buy": 0.5} and found["unused_columns"] == ["colour"]
    suggested = suggest.experiment(found)
    assert "steps:\n  - click\n  - buy\n" in suggested and "Not used yet: colour." in suggested
    # Counts are no labels, and a log of events has none.
    (tmp_path / "counts.csv").write_text("\n".join(lines).replace(",1,", ",7,") + "\n")
    counts = describe.describe(str(tmp_path / "counts.csv"))
    assert list(counts["steps"]) == ["buy"] and counts["rejected"] == 0
    assert any("'isClicked' is named like a step" in notice for notice in counts["notices"])
    (tmp_path / "events.csv").write_text("\n".join(lines).replace("colour", "event") + "\n")
    assert describe.describe(str(tmp_path / "events.csv"))["steps"] == {}


def test_a_first_file_without_rows_says_nothing(tmp_path):
    """As an empty partition of Spark's."""
    rows = [(f"u{n % 7}", f"i{n % 5}", 1_700_000_000 + 60 * n) for n in range(50)]
    schema = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("timestamp", pa.int64())])
    (tmp_path / "parquet").mkdir()
    pyarrow.parquet.write_table(schema.empty_table(), tmp_path / "parquet" / "part-0.parquet")
    table = pa.table(dict(zip(schema.names, zip(*rows))), schema)
    pyarrow.parquet.write_table(table, tmp_path / "parquet" / "part-1.parquet")
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "part-0.csv").write_text("user_id,item_id,timestamp\n")
    text = "".join(f"{user},{item},{time}\n" for user, item, time in rows)
    (tmp_path / "csv" / "part-1.csv").write_text("user_id,item_id,timestamp\n" + text)
    for kind in ("parquet", "csv"):
        assert describe.describe(str(tmp_path / kind))["events"] == 50
    with pytest.raises(errors.InputError, match="no usable row; is log.delimiter what separates"):
        describe.describe(str(tmp_path / "csv" / "part-0.csv"))
    with pytest.raises(errors.InputError, match="no usable row$"):
        describe.describe(str(tmp_path / "parquet" / "part-0.parquet"))


def test_the_range_of_plausible_times_may_be_named(tmp_path):
    path = tmp_path / "old.csv"
    rows = "".join(f"u{n % 7},i{n % 5},1985-03-{1 + n % 28:02d} 12:00:00\n" for n in range(60))
    path.write_text("user_id,item_id,timestamp\n" + rows)
    with pytest.raises(errors.InputError, match="no times of one known kind"):
        describe.describe(str(path))
    assert describe.describe(str(path), {"earliest": "1980-01-01"})["events"] == 60
