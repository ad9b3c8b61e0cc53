"""The popularity floor."""

import numpy as np

from tests.trainer.models import harness


def test_popularity(tmp_path):
    harness.run_model_test({"name": "popularity"}, tmp_path, trains=False)


def test_the_catalogue_is_ranked_in_its_order():
    model = harness.build({"name": "popularity"})
    scores = model.scores(model.encode(harness.batch())).numpy()
    assert (np.diff(scores, axis=1) < 0).all()
