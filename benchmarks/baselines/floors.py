"""What practitioners would do without a sequence model, on the very windows of a study.

`counts`: gradient boosting (scikit-learn's HistGradientBoostingClassifier) on counts by hand, see `histories.Counts`. The
number of trees is the one with the best AUC on `eval`. With `embeddings` (`point:byb`) those of a pretraining are beside the
counts: whether they tell what counts do not. With `reader: logistic` it is logistic regression on the logarithms of the counts,
as of `linear`, where labels are too few for trees.

`pooled_items`: the mean of the vectors of a history's items, and logistic regression on it, whose regularisation is chosen in
the same way. The vectors are the rows of the item table of a pretraining (`items: point:byb`), or the right singular vectors of
the matrix of which history of the training windows has which item (`items: svd`, `dim` of them).

`head`: the embeddings of a pretraining (`embeddings: point:byb`), frozen, and a network of fixed size on them, see `head`.

`linear`: the same embeddings, and logistic regression on them, as of `pooled_items`.

A label is learnt from the training windows where it is known, apart from all others; with `label_share` from so many of them,
drawn by the seed.
"""

import posixpath
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import threadpoolctl
from scipy import sparse, special

from benchmarks.baselines import head, histories
from schemas import auc, names

_TREES = 300
# The strongest first, which stays where others are no better.
_PENALTIES = (1000.0, 100.0, 10.0, 1.0, 0.1)
_DIM = 64
_LOGISTIC = "logistic"


def answers(
    settings: Mapping[str, Any], run: Any, seed: int, saved: str | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fits a floor, and asks it about the test windows.

    Args:
      settings: `name`, and what else the floor has, see the module.
      run: a `runs.Trained` with the windows.
      seed: of what is drawn.
      saved: the SavedModel of the pretraining, where its vectors are read.

    Returns:
      A table like that of `comparing.labels.ask`, and what was chosen on `eval`, by label.
    """
    from pipeline import config

    experiment = config.load(posixpath.join(run.folder, "experiment.yaml"), must_be_read=())
    columns = histories.Columns.of(experiment.log.columns, experiment.window.labels)
    splits = {
        split: histories.read(histories.files(run.examples_uri, split), columns) for split in names.SPLITS
    }
    windows = Windows(run, columns, splits)
    fit, features, options = _FLOORS[settings["name"]](settings, windows, seed, saved)
    table, chosen = _described(run, columns), {}
    labels = {split: found.labels for split, found in splits.items()}
    drawn = np.random.default_rng(seed).random(len(labels[names.TRAIN])) < settings.get("label_share", 1.0)
    labels[names.TRAIN] = np.where(drawn[:, None], labels[names.TRAIN], names.UNKNOWN_LABEL)
    # One thread: those of OpenMP wait for each other on a machine that others use, too.
    with threadpoolctl.threadpool_limits(1):
        for place, label in enumerate(columns.labels):
            own = {split: found[:, place] for split, found in labels.items()}
            table[label], chosen[label] = fit(features, own, seed, **options)
    return table, chosen


def _described(run: Any, columns: histories.Columns) -> pd.DataFrame:
    """The keys, slices and labels of the test windows, in the order of the files."""
    import tensorflow as tf

    from pipeline.comparing import answers as comparing

    wanted = comparing.features(run.kind)
    wanted |= {names.LABEL_PREFIX + label: tf.io.FixedLenFeature([], tf.int64) for label in columns.labels}
    records = tf.data.TFRecordDataset(run.test_files(), compression_type="GZIP").batch(8192)
    return comparing.as_table([comparing.parsed(batch, wanted) for batch in records], run)


class Windows(NamedTuple):
    """What a floor is fitted to: the run that has the windows, what there is of an event, and the histories by split."""

    run: Any
    columns: histories.Columns
    splits: Mapping[str, histories.Histories]


Features = Mapping[str, np.ndarray]


def _counts(settings: Mapping[str, Any], windows: Windows, seed: int, saved: str | None) -> Any:
    counter = histories.Counts(windows.columns, windows.splits[names.TRAIN])
    found = {split: counter.of(one) for split, one in windows.splits.items()}
    if settings.get("reader") == _LOGISTIC:
        return logistic, scaled(found, counter.categorical), {}
    features = {split: np.stack(list(one.values()), axis=1) for split, one in found.items()}
    codes = [name in counter.categorical for name in found[names.TRAIN]]
    if saved is not None:
        vectors = _embedded(windows, saved)
        features = {split: np.concatenate([own, vectors[split]], axis=1) for split, own in features.items()}
        codes += [False] * vectors[names.TRAIN].shape[1]
    return boosted, features, {"categorical": codes}


def _pooled_items(settings: Mapping[str, Any], windows: Windows, seed: int, saved: str | None) -> Any:
    if saved is None:
        vectors = singular_vectors(windows.splits[names.TRAIN], settings.get("dim", _DIM), seed)
    else:
        vectors = item_vectors(saved)
    return logistic, {split: pooled(found, *vectors) for split, found in windows.splits.items()}, {}


def _head(settings: Mapping[str, Any], windows: Windows, seed: int, saved: str | None) -> Any:
    return head.fit, _required(settings, windows, saved), {}


def _linear(settings: Mapping[str, Any], windows: Windows, seed: int, saved: str | None) -> Any:
    return logistic, _required(settings, windows, saved), {}


def _required(settings: Mapping[str, Any], windows: Windows, saved: str | None) -> dict[str, np.ndarray]:
    if saved is None:
        raise SystemExit(
            f"{settings['name']} reads the embeddings of a point, as embeddings: point:byb, found {settings}"
        )
    return _embedded(windows, saved)


def _embedded(windows: Windows, saved: str) -> dict[str, np.ndarray]:
    """The embeddings of the windows of each split by a SavedModel, in the order of the files, as histories are."""
    files = {split: histories.files(windows.run.examples_uri, split) for split in windows.splits}
    return {split: head.embedded(saved, found) for split, found in files.items()}


_FLOORS = {"counts": _counts, "pooled_items": _pooled_items, "head": _head, "linear": _linear}


def scaled(
    counted: Mapping[str, Mapping[str, np.ndarray]], left_out: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Counts as logistic regression reads them: signed logarithms, and the mean of the training windows where there is none.

    Args:
      counted: features by split and name, `[W]` each.
      left_out: features that are codes.

    Returns:
      `[W, F]` by split.
    """
    chosen = [name for name in counted[names.TRAIN] if name not in left_out]
    found = {split: np.stack([one[name] for name in chosen], axis=1) for split, one in counted.items()}
    found = {split: np.sign(one) * np.log1p(np.abs(one)) for split, one in found.items()}
    there = np.isfinite(found[names.TRAIN])
    mean = np.where(there, found[names.TRAIN], 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return {split: np.where(np.isfinite(one), one, mean) for split, one in found.items()}


def boosted(
    features: Features, labels: Mapping[str, np.ndarray], seed: int, categorical: Any = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Probabilities of a label for the test windows, `[W]`, by boosted trees.

    Args:
      features: `[W, F]` of each split.
      labels: `[W]` of each split, 1, 0 or below 0 where it is unknown.
      seed: of the features that a tree may use.
      categorical: which features are codes, `[F]` bool.

    Returns:
      The probabilities, and `trees` and `auc` on `eval`.
    """
    from sklearn import ensemble

    x, y = histories.known(features, labels, names.TRAIN)
    if len(np.unique(y)) < 2:
        return histories.constant(features, y)
    # Half of the features at each split of a tree, so that seeds differ.
    model = ensemble.HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=_TREES,
        max_features=0.5,
        categorical_features=categorical,
        early_stopping=False,
        random_state=seed,
    ).fit(x, y)
    held, truth = histories.known(features, labels, names.EVAL)
    areas = [auc.of_scores(found[:, 1], truth) for found in model.staged_predict_proba(held)]
    best = int(np.nanargmax(areas)) if np.isfinite(areas).any() else _TREES - 1
    test = next(
        found for n, found in enumerate(model.staged_predict_proba(features[names.TEST])) if n == best
    )
    return test[:, 1], {"trees": best + 1, "auc": round(float(areas[best]), 5)}


def logistic(
    features: Features, labels: Mapping[str, np.ndarray], seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """As `boosted`, by logistic regression on standardised features; what is chosen is `penalty`."""
    from trainer import regression

    x, y = histories.known(features, labels, names.TRAIN)
    if len(np.unique(y)) < 2:
        return histories.constant(features, y)
    held, truth = histories.known(features, labels, names.EVAL)
    fitted = regression.LogisticRegression(x, y)
    best, area, found = None, -np.inf, None
    for penalty in _PENALTIES:
        weights, bias = fitted.at(penalty)
        now = auc.of_scores(held @ weights, truth)
        if found is None or now > area:
            best, area, found = penalty, now, special.expit(features[names.TEST] @ weights + bias)
    return found, {"penalty": best, "auc": round(float(area), 5)}


def singular_vectors(found: histories.Histories, dim: int, seed: int) -> tuple[list[bytes], np.ndarray]:
    """Items, and the right singular vectors of the matrix of windows by items with a 1 where a history has the item.

    Returns:
      The items, N, and `[N, dim]` (of fewer items fewer).
    """
    from sklearn import decomposition

    codes, items = pd.factorize(found.texts[names.ITEM_ID], sort=True)
    shape = (len(found.lengths), len(items))
    matrix = sparse.csr_matrix((np.ones(len(codes), np.float32), (found.window, codes)), shape=shape)
    matrix.data[:] = 1.0
    model = decomposition.TruncatedSVD(max(1, min(dim, len(items) - 1)), random_state=seed).fit(matrix)
    return list(items), model.components_.T


def item_vectors(saved: str) -> tuple[list[bytes], np.ndarray]:
    """The items that a pretrained SavedModel knows, N, and the rows of its table, `[N, D]`.

    Raises:
      SystemExit: if it has no such table.
    """
    import tensorflow as tf

    from trainer import warm_start

    items = warm_start.vocabulary_of(saved, names.ITEM_VOCABULARY) or []
    reader = tf.train.load_checkpoint(posixpath.join(saved, "variables", "variables"))
    for place in range(len(warm_start.names_of(saved))):
        value = reader.get_tensor(warm_start.KEY.format(place))
        # Of tables of as many values that of the items is the first.
        if value.ndim == 2 and len(value) == len(items) + names.FIRST_INDEX:
            return items, value[names.FIRST_INDEX :]
    raise SystemExit(f"{saved}: has no table with a row for each of its {len(items)} items")


def pooled(found: histories.Histories, items: list[bytes], vectors: np.ndarray) -> np.ndarray:
    """The mean vector of the items of each history, `[W, D]`; items that have none are left out, 0 of none at all."""
    place = pd.Index(np.array(items, object)).get_indexer(found.texts[names.ITEM_ID])
    known, window = place >= 0, found.window
    shape = (len(found.lengths), len(items))
    times = sparse.csr_matrix((np.ones(known.sum()), (window[known], place[known])), shape=shape)
    return (times @ vectors) / np.maximum(np.bincount(window[known], minlength=shape[0]), 1)[:, None]
