"""Evaluation of pretrained embeddings of users within training: whether they collapse, and what near ones do next."""

from typing import Any

import numpy as np
import tensorflow as tf

from schemas import embeddings, errors, names
from trainer import input as input_lib


class FutureMetrics:
    """What is measured of a model over windows; see `schemas.embeddings`.

    The objective is how alike what users do next is with what the users with the nearest embeddings do: it needs no label,
    does not move with the teacher as the loss does, and is no better than chance for embeddings that have collapsed. Its
    weakness: it counts items alone, so that what users do is alike only if it is of the same items.

    Args:
      model: a `models.byb.BYB`.
      windows: blocks of `input.read` with the features of the model, its loss, and USER_HASH. Of more than
        `embeddings.MOST`, as many are drawn, always the same ones.
      batch_size: windows at a time.

    Raises:
      errors.InputError: if there are fewer than two users.
    """

    # What early stopping goes by, the larger the better.
    objective = embeddings.AGREEMENT

    def __init__(self, model: Any, windows: tf.data.Dataset, batch_size: int = 512):
        self._model, self._batch_size = model, batch_size
        held = input_lib.columns(windows)
        total = len(held[names.USER_HASH])
        if total > embeddings.MOST:
            chosen = np.sort(np.random.default_rng(0).permutation(total)[: embeddings.MOST])
            held = {name: tf.gather(value, chosen) for name, value in held.items()}
        self._users = held[names.USER_HASH].numpy()
        if len(np.unique(self._users)) < 2:
            raise errors.InputError(
                f"embeddings are compared between users: eval needs at least two, found {len(np.unique(self._users))}"
            )
        self._sets = [row[row >= names.FIRST_INDEX] for row in held[names.FUTURE_ITEM_INDEX].numpy()]
        self._features = {name: held[name] for name in (*model.inputs_read, *model.loss_inputs_read)}
        self._infer = tf.function(self._of_batch, reduce_retracing=True, autograph=False)

    def _of_batch(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        embedding = self._model.encode(batch, training=False)
        predicted, target = self._model.predict_future(embedding), self._model.supervision(batch)
        loss = self._model.training_loss(predicted, target)
        return *(tf.cast(one, tf.float32) for one in (embedding, predicted, target)), loss

    def evaluate(self) -> dict[str, float]:
        """`neighbor_agreement`, `random_agreement` (of any two users), `spread` and `effective_rank` of users' embeddings,
        `target_spread` and `target_effective_rank` of what is to be predicted, `cosine` of that with what is
        predicted, `eval_loss`, and the number of `windows`.
        """
        parts = []
        for start in range(0, len(self._users), self._batch_size):
            batch = {name: value[start : start + self._batch_size] for name, value in self._features.items()}
            parts.append([one.numpy() for one in self._infer(batch)])
        embedding, predicted, target, loss = (np.concatenate(one) for one in zip(*parts))
        nearest, of_all = embeddings.agreements(embedding, self._users, self._sets)
        # Less the mean over dimensions, which a softmax does not see.
        sides = [embeddings.unit(one - one.mean(axis=1, keepdims=True)) for one in (predicted, target)]
        cosine = (sides[0] * sides[1]).sum(axis=1)
        return {
            embeddings.AGREEMENT: float(np.nanmean(nearest)),
            embeddings.RANDOM_AGREEMENT: float(np.nanmean(of_all)),
            embeddings.SPREAD: embeddings.spread(embedding),
            embeddings.EFFECTIVE_RANK: embeddings.effective_rank(embedding),
            f"target_{embeddings.SPREAD}": embeddings.spread(target),
            f"target_{embeddings.EFFECTIVE_RANK}": embeddings.effective_rank(target),
            "cosine": float(cosine.mean()),
            "eval_loss": float(loss.mean()),
            "windows": len(self._users),
        }
