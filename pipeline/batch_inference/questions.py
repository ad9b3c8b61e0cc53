"""What can be asked of a model about each user: the signature that answers, and the columns of the answers."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas import names
from serving import requests, signatures

EMBEDDING = names.EMBEDDING
# Before the name of a label, in a table of scores: labels may be named as other columns are.
PROBABILITY = "probability_"


class Question(abc.ABC):
    """What a command asks about each user.

    Attributes:
      signature: of the SavedModel, that answers.
      noun: what the answers are, in the plural.
      needs: which models have the signature, for messages.
      whole: whether the model is told all events of a user, in place of those that count as the history.
      as_trained: whether there is no answer for users with fewer events than any window of training.
    """

    signature: str
    noun: str
    needs: str
    whole: bool = False
    as_trained: bool = False

    @abc.abstractmethod
    def suits(self, takes: Mapping[str, Any], gives: Sequence[str]) -> bool:
        """Whether a signature of that name, by its inputs and outputs, answers of a user."""

    def at_one_moment(self, objective: str | None) -> bool:
        """Whether all users are asked about as of one moment, in place of each right after the last event.

        Args:
          objective: of the model.
        """
        del objective
        return False

    def constants(self, users: int) -> dict[str, np.ndarray]:
        """What the signature takes that no log has, for so many users, by input."""
        del users
        return {}

    @abc.abstractmethod
    def columns(self, answers: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
        """The columns of the answers for some users, by output `[B, ...]`: float32, or texts as bytes."""


class Embeddings(Question):
    """The embedding of each user: a column `embedding`, lists of D float32."""

    signature, noun = "embed", "embeddings"
    needs = (
        "models that rank items and models of users' embeddings (byb, user_*) have it, also the model.base_model that "
        "byb_labels is finetuned from"
    )

    def suits(self, takes: Mapping[str, Any], gives: Sequence[str]) -> bool:
        del takes
        return signatures.EMBEDDING in gives

    def at_one_moment(self, objective: str | None) -> bool:
        # As it has learnt users: how long they have done nothing is of what it tells.
        return objective == "user_embedding"

    def columns(self, answers: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
        vectors = answers[signatures.EMBEDDING]
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        return {EMBEDDING: pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}


class Scores(Question):
    """How likely each label is of each user: a column `probability_LABEL` for each, float32."""

    signature, noun, as_trained = requests.PREDICT, "probabilities", True
    needs = "models of labels of what users do (window.labels) have it for users"

    def suits(self, takes: Mapping[str, Any], gives: Sequence[str]) -> bool:
        # One of exposures is asked about an item that is shown.
        return names.MOMENT in takes and bool(gives)

    def at_one_moment(self, objective: str | None) -> bool:
        del objective
        return True

    def columns(self, answers: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
        return {PROBABILITY + label: pa.array(answers[label]) for label in sorted(answers)}


class Recommendations(Question):
    """The best items for each user, best first: columns `item_id`, lists of texts, and `score`, lists of float32.

    Args:
      k: how many, or as many as are left of those that the user has not met.
    """

    signature, noun = "recommend", "recommendations"
    needs = "models that rank items have it"
    # What a user has met and is not recommended may be older than the history.
    whole = True

    def __init__(self, k: int):
        self._k = k

    def suits(self, takes: Mapping[str, Any], gives: Sequence[str]) -> bool:
        return {signatures.EXCLUDE, signatures.K} <= set(takes) and {names.ITEM_ID, signatures.SCORE} <= set(
            gives
        )

    def constants(self, users: int) -> dict[str, np.ndarray]:
        return {
            signatures.EXCLUDE: np.full([users, 1], b"", object),
            signatures.K: np.full(users, self._k, np.int32),
        }

    def columns(self, answers: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
        items, scores = answers[names.ITEM_ID], answers[signatures.SCORE]
        there = items != b""
        offsets = pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32))
        return {
            names.ITEM_ID: pa.ListArray.from_arrays(
                offsets, pa.array(items[there], pa.binary()).cast(pa.string())
            ),
            signatures.SCORE: pa.ListArray.from_arrays(offsets, pa.array(scores[there], pa.float32())),
        }


EMBEDDINGS, SCORES = Embeddings(), Scores()
