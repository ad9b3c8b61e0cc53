"""Separators, quotes, encodings, line ends and headers: whatever a file is written like, its rows are the same."""

import gzip
import itertools
import random

import pytest

from components.behavior_example_gen.reading import delimited, dialect
from schemas import errors
from tests.components.behavior_example_gen.test_readers import read

# What stands in the title: nothing odd, or what has to be quoted.
TITLES = ["plain", "Müller & Söhne", "5 inch", "", "x"]
ODD = ["plain", 'a ";" b, c | d :: e\tf', "two\nlines, 1,2,3", 'Say "hi"', ""]
COLUMNS = {"item": {"title": "title"}}
NAMES = ["user_id", "title", "item_id", "timestamp"]


def events(titles, count=12):
    return [(f"u{n}", titles[n % len(titles)], f"i{n % 5}", str(1000 + n)) for n in range(count)]


def lines(rows, delimiter=",", quote=None, doubled=True):
    def field(value):
        if quote is None:
            return value
        inner = value.replace(quote, 2 * quote if doubled else "\\" + quote)
        return f"{quote}{inner}{quote}"

    return [delimiter.join(map(field, row)) for row in rows]


def text(rows, header=True, end="\n", **options):
    return end.join(lines(([tuple(NAMES)] if header else []) + rows, **options)) + end


PLAIN = {
    "semicolon": (text(events(TITLES), delimiter=";").encode(), {"delimiter": ";"}),
    "pipe": (text(events(TITLES), delimiter="|").encode(), {"delimiter": "|"}),
    "tab": (text(events(TITLES), delimiter="\t").encode(), {"delimiter": "\t"}),
    "tab by its escape": (text(events(TITLES), delimiter="\t").encode(), {"delimiter": "\\t"}),
    "two colons": (text(events(TITLES), delimiter="::").encode(), {"delimiter": "::"}),
    "of Hive": (text(events(TITLES), delimiter="\x01").encode(), {"delimiter": "\x01"}),
    "beyond ASCII": (text(events(TITLES), delimiter="¦").encode(), {"delimiter": "¦"}),
    "comma and blank": (text(events(TITLES), delimiter=", ").encode(), {"delimiter": ", "}),
    "sep=": (("sep=;\r\n" + text(events(TITLES), delimiter=";", end="\r\n")).encode(), {}),
    "quoted sep=": (('"sep=|"\n' + text(events(TITLES), delimiter="|")).encode(), {}),
    "comments": (("# an export\n\n# of today\n" + text(events(TITLES))).encode(), {"comment": "#"}),
    "blank lines": (text(events(TITLES)).replace("\n", "\n\n").encode(), {}),
    "CR LF": (text(events(TITLES), end="\r\n").encode(), {}),
    "CR": (text(events(TITLES), end="\r").encode(), {}),
    "no last break": (text(events(TITLES)).rstrip("\n").encode(), {}),
    "blanks in the header": (
        text(events(TITLES)).replace(",".join(NAMES), ", ".join(NAMES), 1).encode(),
        {},
    ),
    "UTF-8 with a mark": (text(events(TITLES)).encode("utf-8-sig"), {}),
    "UTF-16 with a mark": (text(events(TITLES)).encode("utf-16"), {}),
    "UTF-16 BE with a mark": (b"\xfe\xff" + text(events(TITLES)).encode("utf-16-be"), {}),
    "UTF-16 LE": (text(events(TITLES)).encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "UTF-16 BE": (text(events(TITLES)).encode("utf-16-be"), {"encoding": "utf-16-be"}),
    "UTF-32": (text(events(TITLES)).encode("utf-32"), {}),
    "cp1252": (text(events(TITLES)).encode("cp1252"), {"encoding": "cp1252"}),
    "Latin-1, semicolons": (
        text(events(TITLES), delimiter=";").encode("latin-1"),
        {"encoding": "latin-1", "delimiter": ";"},
    ),
    "no header": (
        text(events(TITLES), header=False).encode(),
        {"column_names": NAMES},
    ),
    "no header, said": (
        text(events(TITLES), header=False).encode(),
        {"header": False, "column_names": NAMES},
    ),
    "names beside a header": (text(events(TITLES)).encode(), {"column_names": NAMES}),
    "names instead of a header": (
        text(events(TITLES)).replace("user_id", "uid", 1).encode(),
        {"header": True, "column_names": NAMES},
    ),
    "gzip without its ending": (gzip.compress(text(events(TITLES)).encode()), {}),
}
QUOTED = {
    "doubled quotes": (text(events(ODD), quote='"').encode(), {}),
    "doubled quotes, CR LF": (
        text(events(ODD), quote='"').replace("\n", "\r\n").replace("two\r\nlines", "two\nlines").encode(),
        {},
    ),
    "escaped quotes": (text(events(ODD), quote='"', doubled=False).encode(), {"escape": "\\"}),
    "single quotes": (text(events(ODD), quote="'").encode(), {"quote": "'"}),
    "tabs": (text(events(ODD), delimiter="\t", quote='"').encode(), {"delimiter": "\t"}),
    "TSV": (text(events(ODD), delimiter="\t", quote='"').encode(), {"format": "tsv", "quote": '"'}),
    "two colons": (text(events(ODD), delimiter="::", quote='"').encode(), {"delimiter": "::"}),
    "UTF-16": (text(events(ODD), delimiter=";", quote='"').encode("utf-16"), {"delimiter": ";"}),
}
BROKEN = [
    'u,"x,i,1',
    '"u,x,i,1',
    'u,x,i,"1',
    'u,x"y,i',
    "u",
    'u,"x"',
    '"',
    '"""',
    'u,"a","b',
    ",,,,,,",
    ",,,",
    "u,x,i,never",
    'u,x,i"',
    "\x00",
]


def values(path, monkeypatch, size, **settings):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", size)
    found, rejects = read(path, columns=COLUMNS, **settings)
    rows = list(zip(found["user_id"], found["item_title"], found["item_id"], found["timestamp"]))
    return [(u.decode(), t.decode(), i.decode(), str(at)) for u, t, i, at in rows], found["row"], rejects


def stored(rows):
    return [(u, t, i, f"{int(at) * 1000}") for u, t, i, at in rows]


@pytest.mark.parametrize("size", [60, 1 << 20])
@pytest.mark.parametrize("form", PLAIN)
def test_plain_values_in_any_form(tmp_path, monkeypatch, form, size):
    data, settings = PLAIN[form]
    (tmp_path / "log.csv").write_bytes(data)
    found, numbers, rejects = values(tmp_path / "log.csv", monkeypatch, size, **settings)
    assert found == stored(events(TITLES)) and numbers == list(range(1, 13)) and not rejects


@pytest.mark.parametrize("size", [60, 1 << 20])
@pytest.mark.parametrize("form", QUOTED)
def test_quoted_values_in_any_form(tmp_path, monkeypatch, form, size):
    """With delimiters, quotes and line breaks within them, over the borders of blocks, too."""
    data, settings = QUOTED[form]
    (tmp_path / "log.csv").write_bytes(data)
    found, numbers, rejects = values(tmp_path / "log.csv", monkeypatch, size, **settings)
    assert found == stored(events(ODD)) and numbers == list(range(1, 13)) and not rejects


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize(
    "delimiter, quote, end", [(",", '"', "\n"), ("::", '"', "\r\n"), ("\t", "'", "\r"), (";", None, "\n")]
)
def test_one_broken_line_changes_nothing_else(tmp_path, monkeypatch, broken, delimiter, quote, end):
    rows = events(ODD if quote else TITLES, 10)
    good = lines([tuple(NAMES), *rows], delimiter=delimiter, quote=quote)
    broken = broken.replace(",", delimiter).replace('"', quote or '"')
    settings = {"delimiter": delimiter, "quote": quote}
    for place, size in ((1, 1 << 20), (3, 60), (4, 150), (11, 1 << 20)):
        written = [*good[:place], broken, *good[place:]]
        (tmp_path / "log.csv").write_bytes((end.join(written) + end).encode())
        found, numbers, rejects = values(tmp_path / "log.csv", monkeypatch, size, **settings)
        assert found == stored(rows), (place, rejects)
        assert [row for row, _, _ in rejects] == [place] and place not in numbers


def test_a_broken_value_of_an_encoding_is_that_of_its_row_alone(tmp_path, monkeypatch):
    rows = events(TITLES)
    data = text(rows).replace("u3", "u\x00").encode("cp1252").replace(b"u\x00", b"u\x81")
    (tmp_path / "log.csv").write_bytes(data)
    found, _, rejects = values(tmp_path / "log.csv", monkeypatch, 64, encoding="cp1252")
    assert found == stored(rows[:3] + rows[4:]) and [row for row, _, _ in rejects] == [4]


@pytest.mark.parametrize("blanks", [" ", "   ", "\t", " \t "])
def test_values_between_any_blanks(tmp_path, monkeypatch, blanks):
    rows = [(u, "", i, at) for u, _, i, at in events(TITLES)]
    lines = [
        " " + blanks.join([u, i, at]) + "  "
        for u, _, i, at in [("user_id", "", "item_id", "timestamp"), *rows]
    ]
    (tmp_path / "log.txt").write_text("\n".join(lines) + "\n")
    for size in (60, 1 << 20):
        monkeypatch.setattr(delimited, "_BLOCK_BYTES", size)
        found, rejects = read(tmp_path / "log.txt", delimiter=r"\s+")
        assert found["item_id"] == [i.encode() for _, _, i, _ in rows] and not rejects
        assert found["timestamp"] == [int(at) * 1000 for *_, at in rows]


@pytest.mark.parametrize(
    "columns", list(itertools.permutations(["user_id", "title", "item_id", "timestamp"]))[::5]
)
def test_a_text_of_several_lines_in_any_column(tmp_path, monkeypatch, columns):
    """Also where it stands first, so that its end leaves as many fields as a row has."""
    rows = events(["one", "two\nlines", "with, commas\n\n1, 2, 3\nand more", "x"])
    order = [NAMES.index(name) for name in columns]
    written = lines([tuple(row[i] for i in order) for row in [tuple(NAMES), *rows]], quote='"')
    (tmp_path / "log.csv").write_text("\n".join(written) + "\n")
    for size in (16, 1 << 20):
        found, _, rejects = values(tmp_path / "log.csv", monkeypatch, size)
        assert found == stored(rows) and not rejects


def test_a_text_of_the_length_of_many_blocks(tmp_path, monkeypatch):
    rows = [("u1", "a line\n" * 5000 + "end", "i", "5"), ("u2", "x", "i", "6")]
    (tmp_path / "log.csv").write_text(text(rows, quote='"'))
    found, _, rejects = values(tmp_path / "log.csv", monkeypatch, 1000)
    assert found == stored(rows) and not rejects


def test_what_stands_for_a_long_delimiter_may_be_in_the_file(tmp_path, monkeypatch):
    rows = [("u1", "a\x1cb", "i\x1dk", "5"), ("u2", "x\x1e\x1fy", "i", "6")]
    (tmp_path / "log.csv").write_text(text(rows, delimiter="::"))
    assert values(tmp_path / "log.csv", monkeypatch, 64, delimiter="::")[0] == stored(rows)
    (tmp_path / "log.csv").write_bytes(text(rows, delimiter="::").encode() + bytes(range(32)) + b"\n")
    with pytest.raises(errors.InputError, match="log.delimiter: '::' needs a control character"):
        values(tmp_path / "log.csv", monkeypatch, 1 << 20, delimiter="::")


def test_rejects_show_the_line_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "log.csv").write_text(text(events(TITLES), delimiter="::") + 'u::x::i\nu::"x::i::1\n')
    *_, rejects = values(tmp_path / "log.csv", monkeypatch, 1 << 20, delimiter="::")
    assert rejects == [
        (13, "wrong column count: 3 instead of 4", "u::x::i"),
        (14, "a quote is not closed", 'u::"x::i::1'),
    ]


# As MySQL writes a table: OPTIONALLY ENCLOSED BY '"' ESCAPED BY '\\'; and paths in columns that it does not quote.
DUMP = {
    r'"the \"best\" one"': 'the "best" one',
    r'"a back\\slash, \\"': "a back\\slash, \\",
    r'"C:\new ""x"""': 'C:\\new "x"',
    r"C:\new\\x": r"C:\new\\x",
    "C:\\": "C:\\",
    r"\N": "",
    r"x \"y\"": r"x \"y\"",
    r'"\",\""': '","',
    "'\\'": "'\\'",
}


@pytest.mark.parametrize("size", [60, 1 << 20])
@pytest.mark.parametrize("lines_within", [False, True])
@pytest.mark.parametrize("place", [1, 3])
def test_an_escape_is_one_within_quotes_alone(tmp_path, monkeypatch, size, lines_within, place):
    """Before a delimiter or a line break, too, and beside values of several lines."""
    titles = {**DUMP, **({'"two\n\\"lines\\""': 'two\n"lines"'} if lines_within else {})}
    order = ["user_id", "item_id", "timestamp"]
    order.insert(place, "title")
    rows = [("DOM\\alice", title, f'"i{n}"', str(n)) for n, title in enumerate(titles)]
    written = [",".join(row[NAMES.index(name)] for name in order) for row in [tuple(NAMES), *rows]]
    (tmp_path / "log.csv").write_text("\n".join(written) + "\n")
    found, numbers, rejects = values(tmp_path / "log.csv", monkeypatch, size, escape="\\")
    assert found == [("DOM\\alice", title, f"i{n}", str(1000 * n)) for n, title in enumerate(titles.values())]
    assert numbers == list(range(1, len(titles) + 1)) and not rejects


def test_nobody_of_a_dump_of_mysql_is_no_user(tmp_path, monkeypatch):
    data = 'user_id,title,item_id,timestamp\n"u1","the \\"best\\" one",i1,1\n\\N,\\N,i2,2\nu3,C:\\,i3,3\nu4,x,i4,4\n'
    (tmp_path / "log.csv").write_text(data)
    found, numbers, rejects = values(tmp_path / "log.csv", monkeypatch, 1 << 20, escape="\\")
    assert [user for user, *_ in found] == ["u1", "u3", "u4"] and numbers == [1, 3, 4]
    assert [(row, reason) for row, reason, _ in rejects] == [(2, "missing user_id (column 'user_id')")]


def test_a_quote_as_the_escape_is_a_doubled_quote(tmp_path, monkeypatch):
    (tmp_path / "log.csv").write_text(text(events(ODD), quote='"'))
    assert values(tmp_path / "log.csv", monkeypatch, 60, escape='"')[0] == stored(events(ODD))


def test_quotes_of_any_sort_between_blanks(tmp_path, monkeypatch):
    (tmp_path / "log.txt").write_text("user_id title item_id timestamp\nu 'a b' 'i 1' 5\nu 'it\\'s  x' i 6\n")
    found, _, rejects = values(
        tmp_path / "log.txt", monkeypatch, 1 << 20, delimiter=r"\s+", quote="'", escape="\\"
    )
    assert found == stored([("u", "a b", "i 1", "5"), ("u", "it's  x", "i", "6")]) and not rejects


def test_escapes_of_any_text():
    """By arrays, where they tell, or by fields: as character by character."""
    marks = dialect.Dialect(b",", b'"', b"\\")

    def slowly(text):
        found, state, at = b"", "start", 0
        while at < len(text):
            one, two = text[at : at + 1], text[at : at + 2]
            step, put = 1, one
            if state == "quoted":
                if two in (b"\\\\", b'\\"', b'""'):
                    step, put = 2, b"\\" if two == b"\\\\" else b'""'
                elif one == b'"':
                    state = "field"
            elif state == "start" and one == b'"':
                state = "quoted"
            else:
                state = "start" if one in (b",", b"\n") else "field"
            found, at = found + put, at + step
        return found

    draw = random.Random(1)
    at_once = 0
    for _ in range(3000):
        parts = draw.choices(
            ('"', "\\", ",", "\n", "a", '","', '\\"', '"a\\"b"', '"\n"'), k=draw.randrange(1, 12)
        )
        text = "".join(parts).encode()
        assert dialect.unescaped(text, marks) == slowly(text), text
        at_once += dialect._unescaped_at_once(text, marks, [b"\x01", b"\x02", b"\x03", b"\x04"]) is not None
    assert 300 < at_once < 2700
