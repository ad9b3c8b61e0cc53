"""The signatures of an exported model of users' embeddings: a client sends what the log holds."""

from typing import Any

import tensorflow as tf

from schemas import names
from serving import module, moments, signatures

# Hashes of ids are from 1 on: 0 is that of none.
_HASHES = 2**63 - 2


class EmbeddingModule(signatures.ServingModule):
    """A model that embeds histories, with its transform graph; see `signatures.ServingModule`.

    A request may tell its moment, see `moments`. Windows, which have one, are evaluated with it.
    """

    @property
    def history(self) -> list[str]:
        """The raw features that make a history: with the attributes of its events that the model reads."""
        read = [name for name in self.model.raw_inputs if name not in (*names.HISTORY, names.MOMENT)]
        return [*super().history, *read]

    def _add_candidates(self) -> None:
        """Nothing is ranked."""

    def signatures(self) -> dict[str, Any]:
        """All signatures as concrete functions, by name."""
        histories = {
            name: tf.TensorSpec([None, None], self._raw_spec[name].dtype, name=name) for name in self.history
        }
        histories[names.MOMENT] = tf.TensorSpec([None], tf.int64, name=names.MOMENT)
        return {
            "serving_default": signatures.of_examples(self.embed_examples),
            "embed": signatures.of_inputs(self.embed, histories),
            "transform_features": signatures.of_examples(self.transform_features),
            "evaluate": signatures.of_examples(self.evaluate),
            **self.training_times(),
        }

    def warm_up(self) -> dict[str, dict[str, tf.Tensor]]:
        """A small request for each signature."""
        items = self._items.of(tf.range(1))
        history = {name: tf.zeros([1, 1], self._raw_spec[name].dtype) for name in self.history}
        history[names.HISTORY_ITEM_ID] = items[tf.newaxis]
        known = {name: value[0].numpy().tolist() for name, value in history.items()}
        history[names.MOMENT] = tf.fill([1], tf.constant(moments.NOT_TOLD, tf.int64))
        examples = {signatures.EXAMPLES: module.example(self._raw_spec, known)}
        by_examples = dict.fromkeys(("serving_default", "transform_features", "evaluate"), examples)
        return {"embed": history, **by_examples, **self.ask_training_times()}

    def embed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `embed`, for serialized tf.Examples `[B]` with the features of a history."""
        return self._embedded(self._parse(examples, self.history))

    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Of serialized windows `[B]`: `embedding` `[B, D]` at their moments, and `following`, see `names.FOLLOWING`."""
        parsed = self._parse(examples, [*self.history, names.FUTURE_ITEM_ID])
        following = parsed.pop(names.FUTURE_ITEM_ID)
        hashes = tf.strings.to_hash_bucket_fast(following.values, _HASHES) + 1
        nothing = tf.constant(names.NOTHING_FOLLOWS, tf.int64)
        sparse = tf.SparseTensor(following.indices, hashes, following.dense_shape)
        return {**self._embedded(parsed), names.FOLLOWING: tf.sparse.to_dense(sparse, nothing)}

    def _embedded(self, raw: dict[str, Any]) -> dict[str, tf.Tensor]:
        return {names.EMBEDDING: self._encoded.value(self._transform(raw))}
