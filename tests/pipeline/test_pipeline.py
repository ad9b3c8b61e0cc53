"""What a pipeline is made of, besides what its runners tell."""

from components.behavior_example_gen.windows.period import PeriodWindow
from pipeline import config, pipeline


def test_spans_are_compared_with_spans_that_were_cut_alike():
    def folder(*overrides, **of_log):
        experiment = config.load(config.find("ml100k-sasrec"), overrides)
        log = experiment.log.model_copy(update=of_log)
        return pipeline._accepted(experiment.model_copy(update={"log": log}), "gs://b/accepted")

    found = folder()
    assert found.startswith("gs://b/accepted/") and found == folder("training.epochs=3", "log.path=other.csv")
    written = {
        "format": "csv",
        "delimiter": ";",
        "quote": "'",
        "escape": "+",
        "comment": "#",
        "encoding": "cp1252",
        "header": True,
        "column_names": ("user", "item", "time"),
        "max_rejected_share": 0.5,
    }
    assert folder(**written) == found
    for change in (
        "window.length=10",
        "log.columns.scene=page",
        "log.missing={ids: [nobody]}",
        "log.duplicates=drop",
        "log.filter={min_item_events: 2}",
        "log.earliest=1997-10-01",
        "log.latest=1998-03-01",
        "log.timezone=Europe/Berlin",
        "log.timestamp_unit=ms",
        "log.timestamp_format='%Y%m%d'",
        "log.max_id_bytes=3",
        "split.by=[time]",
    ):
        assert folder(change) != found, change
    # What a daily job moves on.
    days = [
        [
            f"log.earliest=1997-10-{d}",
            f"log.latest=1998-03-{d}",
            f"split={{eval_from: 1998-01-{d}, test_from: 1998-02-{d}}}",
        ]
        for d in (10, 11)
    ]
    assert folder(*days[0]) == folder(*days[1]) == folder(*days[0], "window.shards=3") != found
    experiment = config.load(config.find("ml100k-sasrec"))

    def of_moments(at):
        window = PeriodWindow(kind="period", past="30d", future="7d", at=at)
        return pipeline._accepted(experiment.model_copy(update={"window": window}), "x")

    assert of_moments(["1998-01-10"]) == of_moments(["1998-01-11"])
    # A grid, one moment and two of them are cut otherwise.
    assert len({of_moments(at) for at in (None, ["1998-01-10"], ["1998-01-11", "1998-02-11"])}) == 3
    # Which this experiment has no use for.
    assert len({found, folder(spans=7), folder(label_minus_one="unknown")}) == 3


def test_every_experiment_has_a_folder_of_accepted_statistics():
    loaded = [config.load(config.find(name)) for name in config.shipped_names()]
    assert len({pipeline._accepted(experiment, "x") for experiment in loaded}) > 1
