"""What a pipeline is made of, besides what its runners tell."""

from pipeline import config, pipeline


def test_spans_are_compared_with_spans_that_were_cut_alike():
    def folder(*overrides):
        return pipeline._accepted(config.load(config.find("ml100k-sasrec"), overrides), "gs://b/accepted")

    found = folder()
    assert found.startswith("gs://b/accepted/") and found == folder("training.epochs=3", "log.path=other.csv")
    for change in ("window.length=10", "log.columns.scene=page", "split.by=[time]"):
        assert folder(change) != found
