"""What is said where a file lacks a column."""

import pytest

from components.behavior_example_gen import readers, spec
from components.behavior_example_gen.reading import columns
from schemas import errors


@pytest.mark.parametrize(
    "found,words",
    [
        (
            ["196", "242", "3", "881250949"],
            "these look like values: .*log: {column_names: \\[user_id, item_id, timestamp, ...\\]}",
        ),
        (["u1", "i1", "2024-01-31T10:00:00"], "these look like values"),
        (["userId", "itemId", "at"], "column 'user_id' .* did you mean log.columns.user_id: userId\\?"),
        (["a", "b"], "the file has a, b$"),
        ([f"c{n}x" for n in range(300)], "c49x and 250 more"),
    ],
)
def test_a_missing_column(tmp_path, found, words):
    path = str(tmp_path / "log.csv")
    row = ",".join(str(n) for n in range(len(found)))
    (tmp_path / "log.csv").write_text(f"{','.join(found)}\n" + f"{row}\n" * 3)
    with pytest.raises(errors.InputError, match=words):
        columns.check(found, spec.LogSpec(path=path), path)


def test_what_the_file_looks_like_is_said_once(tmp_path):
    """By whatever reads it: a run's first look, the reader itself."""
    path = tmp_path / "log.csv"
    path.write_text("user_id;item_id;timestamp\n" + "u;i;1600000000\n" * 3)
    log = spec.LogSpec(path=str(path))
    for check in (
        lambda: list(readers.read_all([str(path)], log)),
        lambda: columns.check(readers.header(str(path), log), log, str(path)),
    ):
        with pytest.raises(errors.InputError) as caught:
            check()
        assert str(caught.value).count('log.delimiter: ";"') == 1
