"""Next-item windows in memory: Footfall's kernels and its training loop, without Beam and TFX around them."""

import dataclasses
import tempfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import schemas  # noqa: F401  selects Keras 2, before TensorFlow is imported
from components.behavior_example_gen import profile, readers, shards, spec, splits, time_span
from components.behavior_example_gen.cutting import next as cutting
from components.behavior_example_gen.reading import blocks
from components.behavior_example_gen.windows.next import NextWindow
from schemas import names
from trainer import config

_BLOCK = 1024
# Windows that are ranked at a time.
_RANKED = 256


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of a log as a pipeline's Transform hands them to the Trainer.

    Attributes:
      features: by split, what training and evaluation read: dense `[W, L]` and `[W]`, seen items sparse.
      users: by split, whose window each is: `[W]` int64 codes.
      counts: `[N]` training targets of each item of the catalogue, falling.
      length: L.
      recent: `[N]`, the recent ones among `counts`; see `NextWindow.recent_share`.
    """

    features: dict[str, dict[str, Any]]
    users: dict[str, np.ndarray]
    counts: np.ndarray
    length: int
    recent: np.ndarray

    def blocks(self, split: str) -> Any:
        """A `tf.data.Dataset` of blocks of windows, as `trainer.input.read` gives them."""
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(self.features[split]).batch(_BLOCK).cache()


def read(log: spec.LogSpec) -> pa.Table:
    """The usable events of a log, in its order."""
    found = []
    for block in readers.read_all([log.path], log):
        batch = pa.Table.from_batches([block.batch])
        file = pa.array(np.full(batch.num_rows, block.source.index, np.int32))
        found.append(batch.append_column(blocks.FILE, file))
    return pa.concat_tables(found)


def cut(table: pa.Table, window: NextWindow, split: spec.SplitSpec) -> Windows:
    """Cuts the windows of all splits, in one shard, and gives items the indices that Transform gives them."""
    cuts = None
    if "time" in split.by:
        histogram = time_span.TimeHistogram.of(table.column(names.TIMESTAMP).to_numpy())
        cuts = splits.Cuts(histogram.quantile(split.eval_from), histogram.quantile(split.test_from))
    events = shards.sort_events(table, split, cuts)
    found: dict[str, list[pa.Table]] = {name: [] for name in names.SPLITS}
    popularity = profile.popularity(profile.count(events), window.recent_share)
    for name, batch, _ in cutting.cut(events, window, popularity):
        if batch is not None:
            found[name].append(pa.Table.from_batches([batch]))
    tables = {name: pa.concat_tables(parts).combine_chunks() for name, parts in found.items()}
    items, counts, recent = _catalogue(tables[names.TRAIN])
    features = {name: _features(found, items, window.length) for name, found in tables.items()}
    users = {
        name: np.unique(_flat(found, names.USER_ID).to_numpy(zero_copy_only=False), return_inverse=True)[1]
        for name, found in tables.items()
    }
    return Windows(features, users, counts, window.length, recent)


def _flat(table: pa.Table, name: str) -> pa.Array:
    return pc.list_flatten(table.column(name)).combine_chunks()


def _lengths(table: pa.Table, name: str) -> np.ndarray:
    return pc.list_value_length(table.column(name)).to_numpy().astype(np.int64)


def _catalogue(train: pa.Table) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Each item that is a training target, by falling count: `[N]` ids, counts, and recent counts."""
    lengths = _lengths(train, names.HISTORY_ITEM_ID)
    recent = _flat(train, names.RECENT_TARGETS).to_numpy()
    begin = np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.arange(len(begin)) - begin
    # The target is the last of a window's recent ones.
    late = place + np.repeat(recent - lengths, lengths) > 0
    history = _flat(train, names.HISTORY_ITEM_ID).filter(pa.array(place > 0))
    targets = pa.concat_arrays([history, _flat(train, names.TARGET_ITEM_ID)])
    counted = pc.value_counts(targets)
    counts = counted.field("counts").to_numpy()
    order = np.argsort(-counts, kind="stable")
    items = counted.field("values").take(pa.array(order))
    rows = pc.index_in(targets, value_set=items).to_numpy()
    is_recent = np.concatenate([late[place > 0], recent > 0])
    return items, counts[order], np.bincount(rows[is_recent], minlength=len(items))


def _features(table: pa.Table, items: pa.Array, length: int) -> dict[str, Any]:
    """See `Windows.features`."""
    import tensorflow as tf

    def index(name: str) -> np.ndarray:
        row = pc.index_in(_flat(table, name), value_set=items).fill_null(names.OOV_INDEX - names.FIRST_INDEX)
        return row.to_numpy().astype(np.int64) + names.FIRST_INDEX

    lengths = _lengths(table, names.HISTORY_ITEM_ID)
    history = np.full([table.num_rows, length], names.PADDING_INDEX, np.int64)
    row = np.repeat(np.arange(table.num_rows), lengths)
    # Histories end in the last place.
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths), lengths) + length
    history[row, place] = index(names.HISTORY_ITEM_ID)
    seen = _lengths(table, names.SEEN_ITEM_ID)
    row = np.repeat(np.arange(table.num_rows), seen)
    place = np.arange(len(row)) - np.repeat(np.cumsum(seen) - seen, seen)
    return {
        names.HISTORY_ITEM_INDEX: history,
        names.TARGET_ITEM_INDEX: index(names.TARGET_ITEM_ID),
        names.SEEN_ITEM_INDEX: tf.SparseTensor(
            np.stack([row, place], axis=1),
            index(names.SEEN_ITEM_ID),
            [table.num_rows, max(1, int(seen.max(initial=0)))],
        ),
    }


def train(
    found: Windows, settings: config.TrainerSettings, exclude_seen: bool
) -> tuple[dict[str, Any], np.ndarray]:
    """Trains a model of item histories with early stopping on `eval`.

    Returns:
      What the loop says of the training, and the ranks of the targets of `test` by the best weights, `[W]`.
    """
    import tensorflow as tf

    from trainer import devices, registry
    from trainer.evaluation import ranking
    from trainer.loops import fit
    from trainer.losses import ranking as losses
    from trainer.models import ranking as ranking_models

    catalogue = ranking_models.Catalogue(found.counts, found.length)

    def build() -> ranking_models.SequenceModel:
        model = registry.load(settings.model.name)(settings.model, catalogue, seed=settings.training.seed)
        model.training_loss = losses.build(settings.loss)
        return model

    read_in_training = (names.HISTORY_ITEM_INDEX, names.TARGET_ITEM_INDEX)
    trained_on = {name: found.features[names.TRAIN][name] for name in read_in_training}
    with tempfile.TemporaryDirectory() as folder:
        loop = fit.Fit(
            build,
            settings.training,
            devices.strategy(),
            tf.data.Dataset.from_tensor_slices(trained_on).batch(_BLOCK).cache(),
            lambda model: ranking.FullRanking(model, found.blocks(names.EVAL), exclude_seen),
            folder,
        )
        history = loop.run()
    return history, _ranks(loop.model, found, exclude_seen)


def _ranks(model: Any, found: Windows, exclude_seen: bool) -> np.ndarray:
    import tensorflow as tf

    from serving import catalogue

    # AutoGraph would read the source of the model, to find nothing that it can turn into a graph.
    @tf.function(autograph=False)
    def of_batch(batch: dict[str, Any]) -> tf.Tensor:
        query, target = catalogue.query(model, batch), catalogue.target_rows(batch)
        seen = catalogue.seen_rows(batch) if exclude_seen else None
        return catalogue.full_rank(model, query, model.catalogue.size, target, seen)

    batches = found.blocks(names.TEST).unbatch().batch(_RANKED)
    return np.concatenate([of_batch(batch).numpy() for batch in batches])


def popular_ranks(found: Windows, exclude_seen: bool) -> np.ndarray:
    """The ranks of the targets of `test` by the items' counts in training, `[W]`; 0 is no rank.

    Equal counts keep the catalogue's order, as in `trainer.models.popularity`.
    """
    return _listed_ranks(found, np.arange(len(found.counts)), exclude_seen)


def recent_ranks(found: Windows, exclude_seen: bool) -> np.ndarray:
    """As `popular_ranks`, by the items' recent counts, equal ones by `counts`."""
    place = np.empty(len(found.recent), np.int64)
    place[np.argsort(-found.recent, kind="stable")] = np.arange(len(place))
    return _listed_ranks(found, place, exclude_seen)


def _listed_ranks(found: Windows, place: np.ndarray, exclude_seen: bool) -> np.ndarray:
    """The ranks of the targets of `test` in one list of all items, `[W]`, by the items' places in it, `[N]`."""
    features = found.features[names.TEST]
    # -1 is the place of what is not in the catalogue.
    place = np.append(place, -1)
    target = place[np.maximum(features[names.TARGET_ITEM_INDEX] - names.FIRST_INDEX, -1)]
    ranks = target + 1
    if exclude_seen:
        seen = features[names.SEEN_ITEM_INDEX]
        window = seen.indices.numpy()[:, 0]
        item = place[np.maximum(seen.values.numpy() - names.FIRST_INDEX, -1)]
        before = (item >= 0) & (item < target[window])
        ranks = ranks - np.bincount(window[before], minlength=len(target))
        ranks[window[item == target[window]]] = 0
    return np.where(target < 0, 0, ranks)


def own_ranks(found: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The ranks of the targets of `test` among the items of their own windows, each `[W]`; 0 is no rank.

    Returns:
      By how often they are there, the later of equal ones first; and by how late they are.
    """
    frequent, recent = [], []
    index = found.features[names.TEST][names.HISTORY_ITEM_INDEX]
    target = found.features[names.TEST][names.TARGET_ITEM_INDEX]
    place = np.arange(found.length)
    for rows in np.array_split(np.arange(len(index)), -(-len(index) // _RANKED)):
        items = index[rows]
        same = items[:, :, np.newaxis] == items[:, np.newaxis, :]
        count = same.sum(axis=2)
        # Where an item is for the last time.
        again = (same & (place[np.newaxis, :] > place[:, np.newaxis])).any(axis=2)
        last = ~again & (items >= names.FIRST_INDEX)
        own = last & (items == target[rows, np.newaxis])
        met = own.any(axis=1)
        at = own.argmax(axis=1)[:, np.newaxis]
        later = last & (place > at)
        of_target = np.take_along_axis(count, at, axis=1)
        more = last & (count > of_target) | later & (count == of_target)
        frequent.append(np.where(met, 1 + more.sum(axis=1), 0))
        recent.append(np.where(met, 1 + later.sum(axis=1), 0))
    return np.concatenate(frequent), np.concatenate(recent)
