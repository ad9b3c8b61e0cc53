"""Settings of exposures, and what is said of them: with labels that are a chain, and with labels that are none."""

import logging

import pyarrow as pa
import pydantic
import pytest

from components.behavior_example_gen import profile, spec, windows
from components.behavior_example_gen.windows.exposure import ExposureWindow
from schemas import errors, names

_ROWS = {"kind": "exposure", "steps": ["like", "share"]}


def test_labels_are_a_chain_unless_it_is_said():
    assert ExposureWindow.from_values(_ROWS).chain
    window = ExposureWindow.from_values({**_ROWS, "chain": False})
    assert not window.chain and window.label_names == ("like", "share")
    # With every default written out they are the same settings.
    assert windows.read(window.to_json()) == window


def test_windows_without_labels_name_none():
    assert windows.get("next").settings(kind="next").label_names == ()


@pytest.mark.parametrize("others", [{}, {"exposure": "view", "horizon": "7d"}])
@pytest.mark.parametrize(
    "settings, message",
    [
        ({"inconsistent": "fill"}, "inconsistent says .* needs chain: true; found fill with chain: false"),
        ({"inconsistent": "drop"}, "inconsistent says .* needs chain: true; found drop with chain: false"),
        (
            {"keep_negatives": 0.5},
            "keep_negatives below 1 needs chain: true, .*; found 0.5 with chain: false",
        ),
    ],
)
def test_what_presupposes_an_order_is_refused_where_there_is_none(settings, message, others):
    with pytest.raises(pydantic.ValidationError, match=message):
        ExposureWindow.from_values({**_ROWS, **others, **settings, "chain": False})


@pytest.mark.parametrize(
    "settings, said",
    [
        ({}, "30 exposures: 2 inconsistent (kept); in train: like 25.00%, share 50.00%"),
        ({"chain": False}, "30 exposures; in train: like 25.00%, share 50.00%"),
        (
            {"chain": False, "exposure": "view", "horizon": "7d"},
            "30 exposures: 1 censored (dropped); in train: like 25.00%, share 50.00%",
        ),
    ],
)
def test_an_exposure_is_inconsistent_in_a_chain_alone(settings, said, caplog):
    window = ExposureWindow.from_values({**_ROWS, **settings})
    written = {split: 8 for split in names.SPLITS}
    for split in names.SPLITS:
        written.update(
            {(split, "exposures"): 10, (split, "positive", "like"): 2, (split, "positive", "share"): 4}
        )
    written.update({(names.TRAIN, "inconsistent"): 2, (names.TEST, "censored"): 1})
    kind = windows.get("exposure")
    summary = kind.summary(window, written)
    assert ("inconsistent" in summary["exposures"]) == window.chain
    with caplog.at_level(logging.INFO, logger="footfall.progress"):
        kind.tell(window, summary, written, None, None)
    assert [record.getMessage() for record in caplog.records] == [said]


@pytest.mark.parametrize("split", names.SPLITS)
def test_a_step_that_nothing_is_known_of_is_refused(split):
    """As the last one is where `horizon` ends after all that a split may know, and exposures are marked."""
    window = ExposureWindow.from_values(_ROWS)
    items = pa.table({"item": ["a"], "events": [24], "train": [8]})
    counts = profile.Counts(items, {24: 1}, {8: 1}, events=24, start=0, end=23)
    written = {**dict.fromkeys(names.SPLITS, 8), (split, "unknown", "share"): 7}
    by = spec.SplitSpec.from_values({"by": ["held_out_users"]})
    kind = windows.get("exposure")
    kind.check_written(window, written, by, None, counts)
    written[(split, "unknown", "share")] = 8
    if split == names.EVAL:
        kind.check_written(window, written, by, None, counts)
        return
    with pytest.raises(
        errors.InputError, match=rf"window\.steps: share is unknown in all 8 exposures of '{split}'"
    ):
        kind.check_written(window, written, by, None, counts)
