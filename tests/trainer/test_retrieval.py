"""How many lists are searched, and when none is made."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import errors
from serving import retrieval, search
from tests.serving import test_ivf
from trainer import retrieval as choosing

SETTINGS = retrieval.IVFSettings(name="ivf", recall=0.8, queries=100)


def batches(number, excluded=0, seed=5):
    rng = np.random.default_rng(seed)
    while True:
        rows = rng.integers(test_ivf.SIZE, size=(number, excluded))
        yield tf.constant(rng.normal(size=(number, test_ivf.DIM)), tf.float32), tf.constant(rows)


@pytest.fixture(scope="module")
def model():
    return test_ivf.model.__wrapped__()


def test_the_fewest_lists_that_reach_the_recall(model):
    index, known = choosing.choose(model, batches(32, excluded=3), SETTINGS)
    assert known["queries"] == 100 and known["name"] == "ivf" and index.probes == known["probes"]
    assert known["recall_low"] >= 0.8 and 0 < known["searched"] <= 0.25
    assert known["recall"] == pytest.approx(recall(model, index), abs=0.07)
    if index.probes > 1:
        index.probes //= 2
        assert recall(model, index) < known["recall"]


def recall(model, index):
    found = []
    for (query, excluded), _ in zip(batches(50, excluded=3, seed=6), range(10)):
        arguments = (model, query, test_ivf.SIZE, tf.constant(10), excluded)
        exact, some = (one.best(*arguments)[1].numpy() for one in (search.Whole, index))
        found.append((exact[:, :, None] == some[:, None, :]).any(axis=2).mean())
    return np.mean(found)


def test_a_recall_that_no_part_reaches_serves_the_whole_catalogue(model):
    index, known = choosing.choose(
        model, batches(32), SETTINGS.model_copy(update={"recall": 0.9999, "lists": 3})
    )
    assert index is None and known["name"] == "exact" and known["lists"] >= 3


def test_no_history_decides_nothing(model):
    index, known = choosing.choose(model, iter(()), SETTINGS)
    assert index is None and known["queries"] == 0


def test_scores_that_are_no_dot_products_are_refused():
    with pytest.raises(errors.InputError, match="needs a model that scores by dot products, found Module"):
        choosing.choose(tf.Module(), iter(()), SETTINGS)


def test_it_is_of_models_that_rank():
    retrieval.check(retrieval.EXACT, "labels")
    with pytest.raises(
        ValueError, match="of models that rank a catalogue, found one of the objective labels"
    ):
        retrieval.check(SETTINGS, "labels")


def test_it_is_of_models_that_score_by_dot_products():
    retrieval.check(retrieval.EXACT, "ranking", dot_products=False)
    with pytest.raises(ValueError, match=r"retrieval: \{name: ivf\} is of models that score by dot products"):
        retrieval.check(SETTINGS, "ranking", dot_products=False)


def test_a_handful_of_queries_shows_no_recall(model, caplog):
    """All of them find everything, and a hundred that do not may be others."""
    few = [next(batches(5))]
    index, known = choosing.choose(model, few, SETTINGS.model_copy(update={"recall": 0.5}))
    assert index is None and known["queries"] == 5
    assert known["best"]["recall_low"] <= 1 - 3 / 5
    # It is not the index that is to blame.
    with caplog.at_level("WARNING", "footfall.progress"):
        choosing.choose(model, few, SETTINGS.model_copy(update={"recall": 0.45}))
    assert "5 histories of eval are too few to show a recall of 0.45, though they find" in caplog.text
