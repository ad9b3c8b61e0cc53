"""Evaluation of pretrained embeddings of users within training: whether they collapse, and what near ones do next."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import embeddings, errors, names
from trainer import input as input_lib
from trainer.evaluation import probe

# A mean over fewer users would be noise.
_FEW = 20


class UserMetrics:
    """What is measured of a model over windows; see `schemas.embeddings`.

    Where windows have labels, the objective is that of a linear probe on them, see `probe`. Else it is how alike what users
    do next is with what the users with the nearest embeddings do: it needs no label, does not move with the teacher as the
    loss does, and is no better than chance for embeddings that have collapsed. Its weakness: it counts items alone, so that
    what users do is alike only if it is of the same items.

    Args:
      model: a `models.pretraining.Pretraining`.
      windows: blocks of `input.read` with the features of the model, its loss, and USER_HASH. Of more than
        `embeddings.MOST`, as many are drawn, always the same ones.
      batch_size: windows at a time.
      labels: of the windows, by which a linear probe is measured.
      train: blocks of training windows, with the features that the model embeds and the labels; None without labels.

    Attributes:
      objective: what early stopping goes by, the larger the better.

    Raises:
      errors.InputError: if there are fewer than two users, or no label to measure a probe by.
    """

    def __init__(
        self,
        model: Any,
        windows: tf.data.Dataset,
        batch_size: int = 512,
        labels: Sequence[str] = (),
        train: tf.data.Dataset | None = None,
    ):
        self._model, self._batch_size = model, batch_size
        every, self._probe = input_lib.columns(windows), None
        if train is not None:
            # Which draws its own windows, so that a rare label has some.
            self._probe = probe.LinearProbe(input_lib.columns(train), every, labels)
        held = probe.drawn(every)
        self.objective = embeddings.PROBE_AUC if self._probe else embeddings.AGREEMENT
        self._users = held[names.USER_HASH].numpy()
        if len(np.unique(self._users)) < 2:
            raise errors.InputError(
                f"embeddings are compared between users: eval needs at least two, found {len(np.unique(self._users))}"
            )
        futures = held[names.FUTURE_ITEM_INDEX].numpy()
        self._sets = _sets(futures)
        followed = (futures != names.PADDING_INDEX).any(axis=1)
        self._followed = followed if followed.any() else np.ones_like(followed)
        self._features = {name: held[name] for name in (*model.inputs_read, *model.loss_inputs_read)}
        self._infer = tf.function(self._of_batch, reduce_retracing=True, autograph=False)
        self._encode = tf.function(self._encoded, reduce_retracing=True, autograph=False)

    def attention_by_age(self) -> dict[str, Any]:
        """How much of a user's attention a bucket of each age has (BYB, figure 5).

        Told is an attention over what it would be if all buckets of the user had the same, so that how many a user has
        does not count: the mean over the users with a bucket of that age.

        Returns:
          `bucket`, `ages`, `attention` and `users`: of each age that at least `_FEW` users have a bucket of. A user with
          several of an age, in one window or in several, counts once, by their mean.
        """
        users, ages, shares = [], [], []
        first = 0
        infer = tf.function(self._model.users.attention, reduce_retracing=True, autograph=False)
        for batch in self._batches({name: self._features[name] for name in self._model.inputs_read}):
            weights, age, present = (value.numpy() for value in infer(batch))
            weights = np.where(present, weights.astype(np.float64), 0.0)
            equal = weights.sum(axis=1, keepdims=True) / np.maximum(present.sum(axis=1, keepdims=True), 1)
            whose = self._users[first : first + len(present)]
            users.append(np.broadcast_to(whose[:, np.newaxis], present.shape)[present])
            ages.append(age[present])
            shares.append((weights / np.maximum(equal, 1e-300))[present])
            first += len(present)
        pairs, of_pair, size = np.unique(
            np.stack([np.concatenate(users), np.concatenate(ages)]),
            axis=1,
            return_inverse=True,
            return_counts=True,
        )
        share = np.bincount(of_pair.reshape(-1), np.concatenate(shares)) / size
        count = np.bincount(pairs[1])
        told = np.flatnonzero(count >= _FEW)
        means = np.bincount(pairs[1], share)[told] / count[told]
        return {
            "bucket": self._model.settings.bucket,
            "ages": told.tolist(),
            "attention": means.tolist(),
            "users": count[told].tolist(),
        }

    def _of_batch(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        found = self._model.judge(batch, training=False)._asdict()
        return {
            name: value if name == "counted" else tf.cast(value, tf.float32)
            for name, value in found.items()
            if value is not None
        }

    def _encoded(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(self._model.encode(batch, training=False), tf.float32)

    def _embed(self, features: Mapping[str, tf.Tensor]) -> np.ndarray:
        """The embeddings of windows, `[W, D]`."""
        read = {name: features[name] for name in self._model.inputs_read}
        return np.concatenate([self._encode(batch).numpy() for batch in self._batches(read)])

    def _batches(self, features: Mapping[str, tf.Tensor]) -> Iterator[dict[str, tf.Tensor]]:
        return input_lib.in_parts(features, self._batch_size)

    def evaluate(self) -> dict[str, float]:
        """What is known of the embeddings, see `schemas.embeddings`.

        Returns:
          `neighbor_agreement`, `random_agreement` (of any two users), `spread` and `effective_rank` of users' embeddings,
          `eval_loss`, and the number of `windows`; with labels the metrics of `probe.LinearProbe`, too. Of a model that
          predicts embeddings besides `target_spread` and `target_effective_rank` of what is to be predicted, and `cosine` of
          that with what is predicted: of windows that something follows, since nothing has no embedding.
        """
        parts = [self._infer(batch) for batch in self._batches(self._features)]
        found = {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}
        embedding = found["embedding"]
        agreements = embeddings.Agreements(embedding, self._users, self._sets)
        return {
            **(self._probe.evaluate(self._embed) if self._probe else {}),
            embeddings.AGREEMENT: float(np.nanmean(agreements.nearest)),
            embeddings.RANDOM_AGREEMENT: float(np.nanmean(agreements.of_all)),
            embeddings.SPREAD: embeddings.spread(embedding),
            embeddings.EFFECTIVE_RANK: embeddings.effective_rank(embedding),
            **(self._prediction(found) if "target" in found else {}),
            "eval_loss": float(found["losses"][found["counted"]].mean()) if found["counted"].any() else 0.0,
            "windows": len(self._users),
        }

    def _prediction(self, found: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Of predicted embeddings and what was to be predicted."""
        predicted, target = (found[name][self._followed] for name in ("predicted", "target"))
        # Less the mean over dimensions, which a softmax does not see.
        sides = [embeddings.unit(one - one.mean(axis=1, keepdims=True)) for one in (predicted, target)]
        return {
            f"target_{embeddings.SPREAD}": embeddings.spread(target),
            f"target_{embeddings.EFFECTIVE_RANK}": embeddings.effective_rank(target),
            "cosine": float((sides[0] * sides[1]).sum(axis=1).mean()),
        }


def _sets(futures: np.ndarray) -> list[np.ndarray]:
    """The items of each row of indices `[W, L]`, see `embeddings.jaccard`.

    Which item an unknown one is nobody can tell here: each is an item of its own, below 0, that no other row has.
    """
    own = -1 - np.arange(futures.size, dtype=np.int64).reshape(futures.shape)
    items = np.where(futures == names.OOV_INDEX, own, futures)
    return [row[row != names.PADDING_INDEX] for row in items]
