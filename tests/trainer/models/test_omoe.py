"""OMoE."""

import numpy as np

from tests.trainer.models import labels_harness as harness

SMALL = {"name": "omoe", "dim": 4, "experts": 3, "expert": [8, 6], "tower": [5], "dropout": 0.1}


def test_omoe(tmp_path):
    harness.run_model_test(SMALL, tmp_path)


def test_all_steps_see_one_mixture():
    """Towers and heads that are made equal give equal logits, since what is below them is one."""
    model, features = harness.build(SMALL), harness.batch(3)
    first = [variable for part in (model._towers[0], model._heads[0]) for variable in part.variables]
    for tower, head in zip(model._towers, model._heads):
        for variable, value in zip([*tower.variables, *head.variables], first):
            variable.assign(value)
    logits = model(features).numpy()
    np.testing.assert_array_equal(logits, logits[:, :1].repeat(3, axis=1))
