"""The panel of users: where a model puts those of the test split, by how much they had done.

As Fig. 4 of DSPnet: users are divided by their numbers of events, and a sample of each group is drawn by t-SNE.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
import threadpoolctl
from sklearn import manifold

from pipeline.batch_inference import model, questions
from pipeline.comparing import runs
from schemas import errors, names

GROUPS = ("low", "medium", "high")
# How what is no list of texts is parsed.
_FEATURE = {
    names.HISTORY_TIMESTAMP: tf.io.RaggedFeature(tf.int64),
    names.MOMENT: tf.io.FixedLenFeature([], tf.int64),
}
_PER_GROUP = 500
_FEWEST = 10
_SEED = 0
_BATCH = 512
# t-SNE: fewer steps and coarser forces than scikit-learn's defaults, for a third of their time; the divergence of the map is
# larger by less than a hundredth.
_PERPLEXITY, _STEPS, _ANGLE = 30.0, 500, 0.7
# Of the drawing.
_SIZE, _MARGIN = 480.0, 12.0


def users(run_dir: str) -> dict[str, Any]:
    """Groups of users, a map of them, and the distances between the groups' mean embeddings.

    Each user of the test split counts once, by the last test window, whose history the model of the run turns into the
    embedding. The same run gives the same panel.

    Args:
      run_dir: of a run that has trained a model of windows of events.

    Raises:
      errors.InputError: if the run has no model or no test windows, the model has no embeddings or gives one to all, or
        there are too few users.
    """
    run = runs.trained(run_dir)
    takes = model.takes(run.model_dir, questions.EMBEDDINGS)
    windows = _last_windows(run)
    if len(windows) < _FEWEST:
        raise errors.InputError(
            f"{run_dir}: a map takes at least {_FEWEST} users with a test {run.kind.noun[:-1]}, found {len(windows)}"
        )
    group = divided(windows.events.to_numpy())
    chosen = _sampled(group)
    shown, group_of = windows.iloc[chosen], group[chosen]
    embeddings = _embedded(run, takes, shown.position.to_numpy())
    if not np.isfinite(embeddings).all() or not np.ptp(embeddings, axis=0).any():
        what = (
            "values that are not finite"
            if not np.isfinite(embeddings).all()
            else "one embedding to all users"
        )
        raise errors.InputError(f"{run_dir}: its model gives {what}: there is nothing to draw")
    points = _mapped(embeddings)
    return {
        "groups": [
            {
                "name": GROUPS[number],
                "key": f"s{number}",
                "events": _range(windows.events[group == number], run.window.history_events),
                "users": int((group == number).sum()),
                "shown": int((group_of == number).sum()),
                "spread": _spread(embeddings[group_of == number]),
                # A line of no length with round ends is a dot.
                "path": "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points[group_of == number]),
            }
            for number in range(len(GROUPS))
            if (group == number).any()
        ],
        "pairs": distances(embeddings, group_of),
        "width": embeddings.shape[1],
        "noun": run.kind.noun[:-1],
        "most": _PER_GROUP,
        "size": _SIZE,
    }


def divided(events: np.ndarray) -> np.ndarray:
    """The group of each user, by terciles of the numbers of events: `[U]` int to `[U]`, places in GROUPS.

    Equal numbers are in one group. Those of the longest histories are in the last one, however many these are.
    """
    first, second = np.quantile(events, [1 / 3, 2 / 3])
    low = events <= min(first, events.max() - 1)
    return np.where(low, 0, np.where(events >= second, 2, 1))


def distances(embeddings: np.ndarray, group: np.ndarray) -> list[dict[str, Any]]:
    """How far the mean embeddings of each two groups are from each other.

    Args:
      embeddings: `[U, D]`.
      group: of each user, places in GROUPS, `[U]`.

    Returns:
      For each two groups that have users `between` (their names), `cosine` (1 - cosine similarity) and `euclidean`.
    """
    means = {
        int(number): embeddings[group == number].mean(axis=0, dtype=np.float64) for number in np.unique(group)
    }
    found = []
    for one, two in ((one, two) for one in means for two in means if one < two):
        a, b = means[one], means[two]
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        found.append(
            {
                "between": (GROUPS[one], GROUPS[two]),
                "cosine": 1 - float(a @ b) / norms if norms else float("nan"),
                "euclidean": float(np.linalg.norm(a - b)),
            }
        )
    return found


def _last_windows(run: runs.Trained) -> pd.DataFrame:
    """The last test window of each user: `user`, `position` among all of them, and `events` of its history.

    Of a history that is as long as a window allows, `events` is the number of distinct items that the user had met
    before, if that is larger: the window does not tell how many events it has cut off.
    """
    kind, most = run.kind, run.window.history_events
    spec = {
        kind.user: tf.io.FixedLenFeature([], tf.string),
        kind.time: tf.io.FixedLenFeature([], tf.int64),
        names.HISTORY_ITEM_ID: tf.io.RaggedFeature(tf.string),
        names.SEEN_ITEM_ID: tf.io.RaggedFeature(tf.string),
    }
    parts = []
    for position, serialized in _batches(run):
        parsed = tf.io.parse_example(serialized, spec)
        events, met = (
            parsed[name].row_lengths().numpy() for name in (names.HISTORY_ITEM_ID, names.SEEN_ITEM_ID)
        )
        parts.append(
            pd.DataFrame(
                {
                    "user": parsed[kind.user].numpy(),
                    "time": parsed[kind.time].numpy(),
                    "position": position + np.arange(len(serialized)),
                    "events": np.where(events == most, np.maximum(events, met), events),
                }
            )
        )
    if not parts:
        raise errors.InputError(f"{run.folder}: no test {run.kind.noun} below {run.examples_uri}")
    windows = pd.concat(parts, ignore_index=True).sort_values(["user", "time", "position"])
    return windows.drop_duplicates("user", keep="last").reset_index(drop=True)


def _batches(run: runs.Trained) -> Iterator[tuple[int, Any]]:
    """All test windows, serialized, and the position of the first of each batch."""
    position = 0
    for batch in tf.data.TFRecordDataset(run.test_files(), compression_type="GZIP").batch(_BATCH):
        yield position, batch
        position += len(batch)


def _sampled(group: np.ndarray) -> np.ndarray:
    """At most so many users of each group, by chance: their numbers, `[S]`, sorted."""
    generator = np.random.default_rng(_SEED)
    return np.sort(
        np.concatenate(
            [
                generator.permutation(np.flatnonzero(group == number))[:_PER_GROUP]
                for number in range(len(GROUPS))
            ]
        )
    )


def _embedded(run: runs.Trained, takes: model.Takes, positions: np.ndarray) -> np.ndarray:
    """What the model makes of the histories of test windows at some positions `[S]`: `[S, D]`."""
    asker = model.Asker(run.model_dir, takes.inputs, questions.EMBEDDINGS)
    spec = {
        name: tf.io.RaggedFeature(tf.float32)
        if name in takes.numbers
        else _FEATURE.get(name, tf.io.RaggedFeature(tf.string))
        for name in takes.inputs
    }
    place = np.argsort(positions)
    result: list[np.ndarray] = []
    done = 0
    for first, serialized in _batches(run):
        end = int(np.searchsorted(positions[place], first + len(serialized)))
        if end > done:
            rows = tf.gather(serialized, positions[place[done:end]] - first)
            parsed = tf.io.parse_example(rows, spec)
            dense = {
                name: values.to_tensor(math.nan if name in takes.numbers else None)
                if isinstance(values, tf.RaggedTensor)
                else values
                for name, values in parsed.items()
            }
            result.append(asker(dense)[names.EMBEDDING])
            done = end
    embeddings = np.concatenate(result)
    found = np.empty_like(embeddings)
    found[place] = embeddings
    return found


def _mapped(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings `[S, D]` on the drawing, `[S, 2]`: close ones stay close (t-SNE)."""
    # The first two principal components are where it begins.
    wide = np.pad(embeddings, [(0, 0), (0, max(0, 2 - embeddings.shape[1]))])
    search = manifold.TSNE(
        init="pca",
        perplexity=min(_PERPLEXITY, (len(wide) - 1) / 3),
        max_iter=_STEPS,
        angle=_ANGLE,
        random_state=_SEED,
    )
    # Sums of several threads depend on how many there are.
    with threadpoolctl.threadpool_limits(1):
        points = search.fit_transform(wide.astype(np.float32))
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (_SIZE - 2 * _MARGIN) / (float((high - low).max()) or 1.0)
    return _SIZE / 2 + (points - (low + high) / 2) * scale


def _spread(embeddings: np.ndarray) -> float:
    """The mean distance of embeddings from their mean."""
    return float(np.linalg.norm(embeddings - embeddings.mean(axis=0), axis=1).mean())


def _range(events: Sequence[int] | pd.Series, most: int | None) -> str:
    """From the fewest to the most events; a history that is as long as it can be may have been longer."""
    low, high = min(events), max(events)
    text = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    return f"{text} or more" if high == most else text
