"""Next items as a pretraining of a network of users: which state says what."""

import numpy as np
import pydantic
import pytest

from schemas import names
from tests.trainer.models import user_harness
from trainer import config

SMALL = {"name": "user_next", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}


@pytest.mark.parametrize("encoder", ["causal", "gru"])
def test_it_is_a_pretraining(encoder):
    user_harness.check({**SMALL, "encoder": encoder})


def test_a_state_says_the_next_item_and_the_moment_the_first_that_follows():
    model, features = user_harness.build(SMALL), user_harness.batch(2)
    states = model.users.states(features).numpy().astype(np.float64)
    table = model.users.behaviors.items.table.numpy()[names.FIRST_INDEX :]
    history, target = features[names.HISTORY_ITEM_INDEX].numpy(), features[names.TARGET_ITEM_INDEX].numpy()
    expected = []
    for row in range(5):
        losses = []
        events = np.flatnonzero(history[row])
        for state, item in [*((place - 1, history[row, place]) for place in events[1:]), (-1, target[row])]:
            if item >= names.FIRST_INDEX:
                scores = states[row, state] @ table.T
                losses.append(np.log(np.exp(scores).sum()) - scores[item - names.FIRST_INDEX])
        expected.append(np.mean(losses))
    found, counted = model.window_losses(features, training=False)
    assert counted.numpy().all()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    model.static_shapes = True
    np.testing.assert_allclose(model.window_losses(features, training=False)[0], expected, rtol=1e-4)


def test_one_batch_is_learnt_by_heart():
    first, last = user_harness.learns({**SMALL, "dim": 16})
    assert last < 0.3 * first, (first, last)


def test_negatives_may_be_drawn():
    model = user_harness.build(
        SMALL, loss={"name": "sampled_softmax", "negatives": 5, "shared_negatives": True}
    )
    total, count = model.summed_loss(user_harness.batch(3), training=True)
    assert float(count) == 5 and np.isfinite(float(total))


def test_settings_are_those_that_were_packed():
    """Packed, they name defaults, too, which are no fault."""
    settings = config.TrainerSettings.from_values({"model": SMALL})
    assert config.TrainerSettings.unpack(settings.pack()) == settings


@pytest.mark.parametrize(
    "values, message",
    [
        ({"model": {"encoder": "buckets"}}, "'causal' or 'gru'"),
        (
            {"loss": {"name": "future_ce"}},
            r"needs loss: \{name: softmax or sampled_softmax\}, found future_ce",
        ),
        (
            {"loss": {"name": "sampled_softmax", "negative_sampling": "popularity"}},
            "does not know how often items are targets: loss.negative_sampling has to be uniform, found popularity",
        ),
    ],
)
def test_settings_that_do_not_fit(values, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        config.TrainerSettings.from_values({**values, "model": {**SMALL, **values.get("model", {})}})
