import json

import pytest
import tensorflow as tf

from trainer import reasons

_PARTS = {"windows": "1"}


def _kept(folder):
    return [json.loads(line)["parts"] for line in (folder / reasons.FILE).read_text().splitlines()]


def test_of_two_runs_that_end_at_once_none_fails(tmp_path, monkeypatch):
    """The second one writes all of its file when the first is about to rename its own."""
    rename = tf.io.gfile.rename

    def rename_after_the_other(*args, **options):
        monkeypatch.setattr(tf.io.gfile, "rename", rename)
        reasons.keep(str(tmp_path), {"windows": "2"})
        rename(*args, **options)

    monkeypatch.setattr(tf.io.gfile, "rename", rename_after_the_other)
    reasons.keep(str(tmp_path), _PARTS)
    assert _kept(tmp_path) == [_PARTS] and [path.name for path in tmp_path.iterdir()] == [reasons.FILE]


def test_a_training_is_not_lost_where_its_reason_cannot_be_kept(tmp_path, caplog):
    (tmp_path / "file").touch()
    reasons.keep(str(tmp_path / "file"), _PARTS)
    assert f"{tmp_path}/file/{reasons.FILE} cannot be written: " in caplog.text


@pytest.mark.parametrize(
    "damaged", [b'{"parts": {"win', b"\xff\xfe", b"[]", b'{"parts": 3}', b'{"other": {}}']
)
def test_a_damaged_line_is_left_out(tmp_path, caplog, damaged):
    reasons.keep(str(tmp_path), _PARTS)
    with (tmp_path / reasons.FILE).open("ab") as stream:
        stream.write(b"\n" + damaged + b"\n")
    assert reasons.since(str(tmp_path), _PARTS) == reasons.AGAIN
    assert caplog.messages == [f"{tmp_path}/{reasons.FILE}: line 3 is damaged, and left out"]
    reasons.keep(str(tmp_path), {"windows": "2"})
    assert _kept(tmp_path) == [_PARTS, {"windows": "2"}]
