"""What frozen embeddings of users are worth: the same small network on any of them, as in the RecSys Challenge 2025.

The challenge (Synerise; github.com/Synerise/recsys2025) trains one network for each task on the embeddings that are handed in: a
projection, three residual blocks of an inverted bottleneck with a normalisation in front, and a linear output, by AdamW for
a few epochs. So does this, but narrower (128 and 256): the tasks have thousands of users here, not a million. So that it has
as many steps as it needs, it learns until the AUC on `eval` has been no better for some epochs, and the best one counts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.baselines import histories
from schemas import auc, names

_THIN, _WIDE, _BLOCKS = 128, 256, 3
_EPOCHS, _PATIENCE, _BATCH, _RATE, _DECAY = 50, 5, 128, 1e-3, 0.01
_WINDOWS_AT_ONCE = 1024


def embedded(saved: str, files: Sequence[str]) -> np.ndarray:
    """The embeddings of windows by a SavedModel, `[W, D]`.

    Args:
      saved: its folder.
      files: gzip TFRecords of the windows.

    Raises:
      SystemExit: if it answers no embeddings.
    """
    import tensorflow as tf

    model = tf.saved_model.load(saved)
    ask = model.signatures["serving_default"]
    if names.EMBEDDING not in ask.structured_outputs:
        raise SystemExit(
            f"{saved}: serving_default answers {sorted(ask.structured_outputs)}, no {names.EMBEDDING}"
        )
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP").batch(_WINDOWS_AT_ONCE)
    return np.concatenate([ask(examples=batch)[names.EMBEDDING].numpy() for batch in records])


def fit(
    features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Probabilities of a label for the test windows, `[W]`; see `floors.boosted`.

    Returns:
      The probabilities, and `epoch` and `auc` on `eval`.
    """
    import tensorflow as tf

    import schemas  # noqa: F401  selects Keras 2

    x, y = histories.known(features, labels, names.TRAIN)
    if len(np.unique(y)) < 2:
        return histories.constant(features, y)
    held, truth = histories.known(features, labels, names.EVAL)
    tf.keras.utils.set_random_seed(seed)
    network = build(x.shape[1])
    network.compile(tf.keras.optimizers.AdamW(_RATE, weight_decay=_DECAY), "binary_crossentropy")
    # AutoGraph would read the source of Keras for ten seconds, to find nothing that it can turn into a graph.
    for name in ("train_step", "predict_step"):
        setattr(network, name, tf.autograph.experimental.do_not_convert(getattr(network, name)))
    best, area, found = 0, -np.inf, np.zeros(0)
    for epoch in range(1, _EPOCHS + 1):
        network.fit(x, y, batch_size=_BATCH, epochs=1, verbose=0)
        now = auc.of_scores(network.predict(held, 4096, verbose=0)[:, 0], truth)
        if not best or now > area:
            best, area = epoch, now
            found = network.predict(features[names.TEST], 4096, verbose=0)[:, 0].astype(np.float64)
        elif epoch - best >= _PATIENCE:
            break
    return found, {"epoch": best, "auc": round(float(area), 5)}


def build(width: int) -> Any:
    """The network: embeddings `[B, width]` to probabilities `[B, 1]`."""
    import tensorflow as tf

    layers = tf.keras.layers
    given = layers.Input([width])
    hidden = layers.LayerNormalization(epsilon=1e-5)(layers.Dense(_THIN)(given))
    for _ in range(_BLOCKS):
        wide = layers.Dense(_WIDE, activation="gelu")(layers.LayerNormalization(epsilon=1e-5)(hidden))
        hidden = layers.Add()([hidden, layers.Dense(_THIN)(wide)])
    said = layers.Dense(1, activation="sigmoid")(layers.LayerNormalization(epsilon=1e-5)(hidden))
    return tf.keras.Model(given, said)
