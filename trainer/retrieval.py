"""How much of a catalogue must be searched so that the best items are found: measured on real histories."""

import logging
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import errors
from serving import catalogue, ivf, retrieval
from trainer.models import scoring

_PROGRESS = logging.getLogger("footfall.progress")
# Beyond this share of the catalogue, all of it is as fast.
_MOST = 0.25
# Of the lower bound of a 95 % interval.
_NORMAL_975 = 1.96


def choose(
    model: Any,
    queries: Iterable[tuple[tf.Tensor, tf.Tensor]],
    settings: retrieval.IVFSettings,
    seed: int = 0,
) -> tuple[ivf.Index | None, dict[str, Any]]:
    """Divides a model's catalogue into lists, and finds the fewest that reach the recall that is asked.

    Args:
      model: a trained one, with `catalogue`.
      queries: batches of queries `[B, D]` and the catalogue rows `[B, E]` that are left out for each (negative: nothing);
        at most `settings.queries` are taken.
      settings: what is asked.
      seed: of the division.

    Returns:
      The index, None where the whole catalogue is to be scored; and what is known of it: `name`, `k`, `queries`,
      `lists`, `probes`, `searched` (the share of the catalogue that a request scores), `recall` and `recall_low`.

    Raises:
      errors.InputError: if the model's scores are no dot products.
    """
    if not isinstance(model, scoring.DotProduct):
        raise errors.InputError(
            f"retrieval: {{name: ivf}} needs a model that scores by dot products, found {type(model).__name__}: use "
            "retrieval: {name: exact}"
        )
    vectors = tf.cast(model.item_table(), tf.float32).numpy()
    size = len(vectors)
    k = min(settings.k, size)
    asked = list(_first(queries, settings.queries))
    best = [catalogue.best(model, query, size, tf.constant(k), excluded) for query, excluded in asked]
    lists = ivf.divide(vectors, min(size, settings.lists or max(1, round(math.sqrt(size)))), seed)
    known: dict[str, Any] = {
        "k": k,
        "queries": sum(len(query) for query, _ in asked),
        "lists": len(lists.rows),
    }
    # Each number is about 1.4 times the one before.
    for probes in sorted({round(2 ** (step / 2)) for step in range(2 * len(lists.rows).bit_length())}):
        if not known["queries"] or probes * lists.rows.shape[1] > _MOST * size:
            break
        index = ivf.Index(lists, probes)
        measured = {
            "probes": index.probes,
            "searched": probes * lists.rows.shape[1] / size,
            **_measured(index, model, size, k, asked, best),
        }
        if measured["recall_low"] >= settings.recall:
            _PROGRESS.info(
                "retrieval: %s of %s lists find %.2f %% of the %s best items (at least %.2f %%; asked: %g %%) and score %.1f %% "
                "of the catalogue",
                *(index.probes, known["lists"], 100 * measured["recall"], k, 100 * measured["recall_low"]),
                *(100 * settings.recall, 100 * measured["searched"]),
            )
            return index, {"name": settings.name, **known, **measured}
        known["best"] = measured
    found = known.get("best", {}).get("recall", 0.0)
    if found >= settings.recall > retrieval.most_shown(max(known["queries"], 1)):
        _PROGRESS.warning(
            "retrieval: %d histories of eval are too few to show a recall of %g, though they find %.2f %% of the %d best items: "
            "all of the catalogue is scored",
            *(known["queries"], settings.recall, 100 * found, k),
        )
        return None, {"name": retrieval.EXACT.name, **known}
    _PROGRESS.warning(
        "retrieval: no part of at most %.0f %% of the catalogue of %s items reaches a recall of %g: all of it is scored",
        *(100 * _MOST, f"{size:,}", settings.recall),
    )
    return None, {"name": retrieval.EXACT.name, **known}


def _measured(
    index: ivf.Index,
    model: Any,
    size: int,
    k: int,
    asked: Iterable[tuple[tf.Tensor, tf.Tensor]],
    best: Iterable[tuple[tf.Tensor, tf.Tensor]],
) -> dict[str, float]:
    """The mean recall of what an index finds for each batch of queries, and the lower bound of its 95 % interval.

    Args:
      index: of the model's catalogue.
      model, size, k: see `catalogue.best`.
      asked: batches of queries and of the rows to leave out, see `choose`.
      best: what `catalogue.best` gives for each of these batches.
    """
    search = tf.function(index.best, autograph=False, reduce_retracing=True)
    found = np.concatenate(
        [
            _recall(exact, search(model, query, size, tf.constant(k), excluded))
            for (query, excluded), exact in zip(asked, best)
        ]
    )
    mean, error = float(found.mean()), float(found.std() / math.sqrt(len(found)))
    # Of queries that are all alike the deviation says nothing.
    return {
        "recall": mean,
        "recall_low": min(mean - _NORMAL_975 * error, retrieval.most_shown(len(found))),
    }


def _first(
    queries: Iterable[tuple[tf.Tensor, tf.Tensor]], number: int
) -> Iterable[tuple[tf.Tensor, tf.Tensor]]:
    for query, excluded in queries:
        if number <= 0:
            return
        yield query[:number], excluded[:number]
        number -= len(query)


def _recall(exact: Any, found: Any) -> np.ndarray:
    """The share of the exact items of each query that are found: `[B]`; of what there is to find."""
    (scores, rows), others = exact, found[1].numpy()
    there = scores.numpy() > float("-inf")
    hit = (rows.numpy()[:, :, np.newaxis] == others[:, np.newaxis, :]).any(axis=2) & there
    return np.where(there.any(axis=1), hit.sum(axis=1) / np.maximum(there.sum(axis=1), 1), 1.0)
