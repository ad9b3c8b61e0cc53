"""What is known of a run whose metadata store cannot be read."""

import pytest

from pipeline import lineage
from schemas import errors

RUN = {"components": [{"id": "Trainer", "state": "failed", "seconds": 3.0, "message": "the disk is full"}]}


@pytest.mark.parametrize("content", [b"garbage" * 100, b""])
def test_a_report_has_what_the_run_says_itself_and_others_get_one_line(tmp_path, content):
    (tmp_path / lineage.METADATA).write_bytes(content)
    with pytest.raises(
        errors.InputError, match=r"metadata\.sqlite: cannot be read \(.*the next run"
    ) as found:
        lineage.components(str(tmp_path), {})
    assert "\n" not in str(found.value)
    (trainer,) = lineage.components(str(tmp_path), RUN)
    assert (trainer.id, trainer.state, trainer.message) == ("Trainer", "failed", "the disk is full")
    assert trainer.outputs == []


def test_a_folder_without_a_store_has_no_lineage_yet(tmp_path):
    assert lineage.components(str(tmp_path), {}) == []
