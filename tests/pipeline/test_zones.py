"""Moments of an experiment that name no zone, beside a log of another zone than UTC."""

import pytest

from pipeline import cli, config, zones

SPLIT = ["split.by=[time]", "split.eval_from=2024-03-01", "split.test_from=2024-03-15T06:00:00+01:00"]
PERIODS = [
    "window={kind: period, past: 7d, future: 1d, at: [2024-01-01T00:00:00Z, 2024-02-01 06:30]}",
    "log.earliest=2023-01-01",
]


def notes(*overrides):
    found = zones.notes(config.load(config.find("ml100k-sasrec"), overrides))
    assert all("names no zone and is in UTC; in log.timezone" in note for note in found)
    return found


def test_a_moment_without_a_zone_is_told_where_the_log_has_another_one():
    berlin = ["log.timestamp_unit=iso8601", "log.timezone=Europe/Berlin"]
    (found,) = notes(*berlin, *SPLIT)
    assert found == (
        "split.eval_from 2024-03-01T00:00:00 names no zone and is in UTC; in log.timezone (Europe/Berlin) it is "
        "2024-03-01T00:00:00+01:00"
    )
    found = notes(*berlin, *SPLIT, *PERIODS)
    assert [note.split(" ")[0] for note in found] == ["log.earliest", "split.eval_from", "window.at[1]"]
    assert notes(*SPLIT, *PERIODS) == [] == notes(*berlin)
    # There clocks are those of UTC.
    assert notes("log.timestamp_unit=iso8601", "log.timezone=Atlantic/Reykjavik", *SPLIT, *PERIODS) == []


def test_an_experiment_that_was_written_names_zones(tmp_path):
    overrides = ["log.timestamp_unit=iso8601", "log.timezone=Europe/Berlin", *SPLIT]
    path = tmp_path / "written.yaml"
    path.write_text(config.load(config.find("ml100k-sasrec"), overrides).to_yaml())
    experiment = config.load(str(path))
    assert zones.notes(experiment) == []
    assert experiment.split.eval_from.isoformat() == "2024-03-01T00:00:00+00:00"


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_commands_tell_it(tmp_path, capsys, command):
    given = [
        f"log.path={tmp_path}/none.csv",
        "log.timestamp_unit=iso8601",
        "log.timezone=Europe/Berlin",
        *SPLIT,
    ]
    settings = [word for one in given for word in ("--set", one)]
    assert cli.execute([command, "ml100k-sasrec", "--runs", str(tmp_path / "runs"), *settings]) != 0
    assert "footfall: warning: split.eval_from 2024-03-01T00:00:00 names no zone" in capsys.readouterr().err
