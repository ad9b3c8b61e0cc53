"""The signatures of an exported next-item model: a client sends what the log holds.

The transform graph is inside, so the server's features are those of training. Only core
TensorFlow operations are used: TensorFlow Serving answers from the same folder.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from schemas import names
from serving import among as among_lib
from serving import catalogue, events, ivf, module, moments, recent, scenes, search, sets
from serving import values as values_lib

EXAMPLES = "examples"
EXCLUDE = "exclude"
K = "k"
CANDIDATES = "candidates"
SCORE = "score"
EMBEDDING = "embedding"
RECOMMEND_SCENES = "recommend_scenes"
_WARMUP_ITEMS = 2
# Functions of a SavedModel of periods that are no signatures: a server is not asked for them.
EVALUATE_AMONG = "evaluate_among"
CATALOGUE_ROWS = "catalogue_rows"
# What would else be an empty history, and be answered.
_OLD_NAMES = (
    f"an example has {names.ITEM_ID}, which was the name of a history's items once, and no {names.HISTORY_ITEM_ID}; "
    f"a history is {', '.join(names.HISTORY)}"
)


class ServingModule(module.ModelModule):
    """A model with its transform graph and the ids of its catalogue.

    Args:
      model: has `serving_variables`, `encode(features) -> [B, D]`, `pair_scores(query, rows)`, and what
        `serving.catalogue` wants of a model.
      transform_output: of TFX Transform.
      exclude_seen: leave the items of the history out of what is recommended, and those
        that the user has seen out of evaluation.
      index: where the items with the highest scores are looked for; None: in the whole catalogue. Ranks of `evaluate`
        are those in what is served.
    """

    def __init__(
        self,
        model: Any,
        transform_output: tft.TFTransformOutput,
        exclude_seen: bool,
        index: ivf.Index | None = None,
    ):
        super().__init__(model, transform_output)
        self._transform = module.HeldTransform(transform_output)
        self._raw_spec = transform_output.raw_feature_spec()
        # Of windows of a period, a history is what came before a moment.
        self._has_moment = names.MOMENT in self._raw_spec
        self._exclude_seen = exclude_seen
        self._search = search.Whole() if index is None else index
        self._items = values_lib.Values(transform_output, names.ITEM_VOCABULARY)
        self._size = self._items.size
        self._recent = recent.RecentPlaces(transform_output, names.RECENT_ITEMS_VOCABULARY, self._items)
        self._encoded = module.shared(
            lambda features: catalogue.in_float32(model.encode(features, training=False))
        )
        self._queried = module.shared(lambda features: catalogue.query(model, features))
        self._both_queried = module.shared(
            lambda features: [catalogue.in_float32(one) for one in model.queries(features, training=False)]
        )
        scorer = getattr(model, "scenes", None)
        self._scenes = None if scorer is None else scenes.SceneAnswers(scorer, transform_output)
        raw = {name: tf.SparseTensorSpec([None, None], self._raw_spec[name].dtype) for name in self.history}
        if self._has_moment:
            raw[names.MOMENT] = tf.TensorSpec([None], tf.int64)
        self._history_features = self._transform.names(raw)
        if self._has_moment:
            self._add_candidates()

    def _add_candidates(self) -> None:
        """What a moment's candidates are ranked with, see `components.evaluator.among`; saved with the module."""
        examples = tf.TensorSpec([None], tf.string, name=EXAMPLES)
        rows = tf.TensorSpec([None, None], tf.int64, name="rows")
        which = tf.TensorSpec([None], tf.int64, name="which")
        items = tf.TensorSpec([None], tf.string, name=names.ITEM_ID)
        among = tf.function(self._evaluate_among, input_signature=[examples, rows, which], autograph=False)
        setattr(self, EVALUATE_AMONG, among)
        setattr(self, CATALOGUE_ROWS, tf.function(self._items.rows, input_signature=[items], autograph=False))

    @property
    def history(self) -> list[str]:
        """The raw features that make a history."""
        return [name for name in names.HISTORY if name in self._raw_spec]

    def signatures(self) -> dict[str, Any]:
        """All signatures as concrete functions, by name."""
        histories = {
            name: tf.TensorSpec([None, None], self._raw_spec[name].dtype, name=name) for name in self.history
        }
        if self._has_moment:
            histories[names.MOMENT] = tf.TensorSpec([None], tf.int64, name=names.MOMENT)
        exclude = tf.TensorSpec([None, None], tf.string, name=EXCLUDE)
        k = tf.TensorSpec([None], tf.int32, name=K)
        candidates = tf.TensorSpec([None, None], tf.string, name=CANDIDATES)
        # Signatures take keyword tensors, and a function's arguments must be known by name:
        # the specs of the histories depend on what the log has.
        return {
            "serving_default": of_examples(self.recommend_examples),
            "recommend": of_inputs(self.recommend, {**histories, EXCLUDE: exclude, K: k}),
            "embed": of_inputs(self.embed, histories),
            "rank": of_inputs(self.rank, {**histories, CANDIDATES: candidates}),
            **self._signature_of_scenes({**histories, K: k}),
            "transform_features": of_examples(self.transform_features),
            "evaluate": of_examples(self.evaluate),
            **self.training_times(),
        }

    def warm_up(self) -> dict[str, dict[str, tf.Tensor]]:
        """A small request for each signature."""
        items = self._items.of(tf.range(min(_WARMUP_ITEMS, self._size)))
        shape = [1, len(items)]
        history = {name: tf.zeros(shape, self._raw_spec[name].dtype) for name in self.history}
        history[names.HISTORY_ITEM_ID] = items[tf.newaxis]
        known = {name: value[0].numpy().tolist() for name, value in history.items()}
        if self._has_moment:
            history[names.MOMENT] = tf.fill([1], tf.constant(moments.NOT_TOLD, tf.int64))
        examples = {EXAMPLES: module.example(self._raw_spec, known)}
        return {
            "serving_default": examples,
            "recommend": {**history, EXCLUDE: tf.fill([1, 0], ""), K: tf.constant([search.DEFAULT_K])},
            "embed": history,
            "rank": {**history, CANDIDATES: items[tf.newaxis]},
            **({RECOMMEND_SCENES: {**history, K: tf.constant([search.DEFAULT_K])}} if self._scenes else {}),
            "transform_features": examples,
            "evaluate": examples,
            **self.ask_training_times(),
        }

    def recommend(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The `k` best items for each history.

        Args:
          inputs: histories (`names.HISTORY`) `[B, T]`, oldest first, rows padded with empty item ids at either
            end; `exclude` `[B, E]` more ids to leave out; `k` `[B]`, for each history: every
            input has a row a history, so that a server may put requests together. Of models of periods also
            `moment` `[B]` (ms), see `moments`: what lies outside of the period of training before it is no history,
            and what is not before it counts for nothing at all.

        Returns:
          `item_id` and `score`, `[B, min(max(k), N)]`; beyond a history's own k, and where
          fewer items are left, the id is empty and the score the lowest float.
        """
        raw = self._raw(inputs)
        seen = moments.items_before(raw) if self._has_moment else inputs[names.HISTORY_ITEM_ID]
        return self._best(self._query(raw), seen, inputs[EXCLUDE], inputs[K])

    def recommend_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `recommend`, for serialized tf.Examples `[B]` with the features of a history, and k = 10."""
        parsed = self._parse(examples, self.history)
        seen = (
            moments.items_before(parsed)
            if self._has_moment
            else tf.sparse.to_dense(parsed[names.HISTORY_ITEM_ID], default_value="")
        )
        nothing = tf.fill([tf.shape(examples)[0], 0], "")
        return self._best(self._query(parsed), seen, nothing, tf.fill(tf.shape(examples), search.DEFAULT_K))

    def embed(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The sequence embedding of each history: `embedding` `[B, D]`."""
        return {EMBEDDING: self._encoded.value(self._transform(self._raw(inputs)))}

    def rank(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Scores given candidates `[B, C]`.

        Returns:
          `score` `[B, C]` in the order of the candidates (the lowest float for an unknown
          one), and `rank` `[B, C]` int64 among them, 1 is best; ties keep their order.
        """
        rows = self._items.rows(inputs[CANDIDATES])
        found = self.model.pair_scores(self._query(self._raw(inputs)), tf.maximum(rows, 0))
        found = tf.cast(found, tf.float32)
        found = tf.where(rows >= 0, found, found.dtype.min)
        order = tf.argsort(found, axis=1, direction="DESCENDING", stable=True)
        return {SCORE: found, names.RANK: tf.cast(tf.argsort(order, axis=1), tf.int64) + 1}

    def _signature_of_scenes(self, specs: dict[str, tf.TensorSpec]) -> dict[str, Any]:
        """Of a model that ranks scenes, the signature that tells the `k` in which a history is most likely to go on.

        It takes histories and `k` as `recommend` does, and gives `scene` and `score`, `[B, min(max(k), S)]`; beyond a
        history's own k the scene is empty and the score the lowest float.
        """
        if self._scenes is None:
            return {}
        answers = self._scenes

        def recommend(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            features = self._transform(self._raw(inputs))
            query = catalogue.in_float32(self.model.scene_query(features, training=False))
            found, scores = answers.best(query, inputs[K])
            return {names.SCENE: found, SCORE: scores}

        return {RECOMMEND_SCENES: of_inputs(recommend, specs)}

    def transform_features(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The features after Transform of serialized tf.Examples `[B]` with a history."""
        return self._transform(self._parse(examples, self.history))

    def evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Where the targets of serialized windows `[B]` stand in the whole catalogue.

        Returns:
          `rank`, those of floors (`popularity_rank`, `recent_popularity_rank` and, where seen items are
          recommended, `own_frequent_rank` and `own_recent_rank`), `candidates` (what is ranked),
          `unreachable` and `catalogue_size`, `[B]` int64; see `serving.catalogue` and `schemas.names`. Where seen
          items are recommended the ranks and `candidates` come once more, among what the user has not met, by the
          names of `names.of_unmet`. Of windows of a period also where all of its items stand: ranks by the names of
          `names.of_period`, `[B, M]`, 0 where there is no further item. Of a model that ranks scenes also where the
          target's scene stands, see `scenes.SceneAnswers.evaluate`.
        """
        return self._evaluate(examples, None)

    def _evaluate_among(self, examples: tf.Tensor, rows: tf.Tensor, which: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `evaluate`, of items among candidates alone; scenes are all ranked.

        All candidates are scored, also where an index is served, which would hold too few of them.

        Args:
          examples: serialized windows `[B]`.
          rows: `[S, C]` int64, the catalogue rows of each set of candidates; negative ones say nothing.
          which: `[B]` int64, the set of each window.

        Returns:
          As `evaluate`, and `candidate_set` `[B]` int64.
        """
        return self._evaluate(examples, among_lib.Among.of_rows(rows, which, self._size))

    def _evaluate(self, examples: tf.Tensor, among: among_lib.Among | None) -> dict[str, tf.Tensor]:
        has_period = names.FUTURE_ITEM_ID in self._raw_spec
        wanted = [*self.history, names.TARGET_ITEM_ID, names.SEEN_ITEM_ID]
        wanted += [names.FUTURE_ITEM_ID] if has_period else []
        wanted += [names.TARGET_SCENE] if self._scenes else []
        parsed = self._parse(examples, wanted)
        features = self._transform(parsed)
        target, of_scenes = catalogue.target_rows(features), {}
        if self._scenes is None:
            query = self._queried.value(self._of_history(features))
        else:
            query, scene_query = self._both_queried.value(self._of_history(features))
            of_scenes = self._scenes.evaluate(scene_query, features, own=not self._exclude_seen)
        why = tf.where(target >= 0, names.REACHABLE, names.NOT_IN_CATALOGUE)
        seen = catalogue.seen_rows(features)
        excluded = None
        own: dict[str, tf.Tensor] = {}
        if self._exclude_seen:
            excluded = seen
            why = tf.where(catalogue.is_left_out(target, excluded), names.LEFT_OUT, why)
        else:
            history = features[names.HISTORY_ITEM_INDEX] - names.FIRST_INDEX
            frequent, latest = catalogue.own_ranks(self._size, target, history, among)
            own = {names.OWN_FREQUENT_RANK: frequent, names.OWN_RECENT_RANK: latest}
        period: dict[str, tf.Tensor] = {}
        if has_period:
            following = sets.distinct(parsed[names.FUTURE_ITEM_ID], features[names.FUTURE_ITEM_INDEX])
            period = self._of_period(query, features, *following, excluded, among)
        of_set: dict[str, tf.Tensor] = {}
        if among is not None:
            why = tf.where((target >= 0) & ~among.hold(target), names.NOT_A_CANDIDATE, why)
            of_set = {names.CANDIDATE_SET: among.sizes()}
        of_unmet: dict[str, tf.Tensor] = {}
        if excluded is None and among is None:
            rank, unmet_rank = self._search.rank_and_unmet(self.model, query, self._size, target, seen)
            of_unmet = self._of_unmet(unmet_rank, target, seen, features[names.HISTORY_ITEM_INDEX])
        else:
            rank = self._ranker(among).rank(self.model, query, self._size, target, excluded)
        return {
            **period,
            **of_scenes,
            **of_set,
            **of_unmet,
            names.RANK: rank,
            names.POPULARITY_RANK: catalogue.popularity_rank(self._size, target, excluded, among),
            names.RECENT_POPULARITY_RANK: self._recent.rank(target, excluded, among),
            **own,
            names.CANDIDATES: catalogue.candidates(self._size, target, excluded, among),
            names.UNREACHABLE: tf.cast(why, tf.int64),
            names.CATALOGUE_SIZE: tf.fill(tf.shape(target), tf.constant(self._size, tf.int64)),
        }

    def _of_unmet(
        self, rank: tf.Tensor, target: tf.Tensor, seen: tf.Tensor, history: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """What `evaluate` gives among the target and the items that users have not met, of ranks `[B]` by the model."""
        met = catalogue.met_before(target, seen)
        popular = catalogue.popularity_rank(self._size, target, met)
        # All of the history has been met: an own item has no other own one before it, and all else goes by count.
        own = catalogue.is_left_out(target, history - names.FIRST_INDEX)
        among_own = tf.where(own, tf.ones_like(popular), popular)
        found = {
            names.RANK: rank,
            names.POPULARITY_RANK: popular,
            names.RECENT_POPULARITY_RANK: self._recent.rank(target, met, None),
            names.OWN_FREQUENT_RANK: among_own,
            names.OWN_RECENT_RANK: among_own,
            names.CANDIDATES: catalogue.candidates(self._size, target, met),
        }
        return {names.of_unmet(name): value for name, value in found.items()}

    def _of_period(
        self,
        query: Any,
        features: dict[str, tf.Tensor],
        targets: tf.Tensor,
        there: tf.Tensor,
        excluded: tf.Tensor | None,
        among: among_lib.Among | None,
    ) -> dict[str, tf.Tensor]:
        """Ranks of the items of a period `[B, M]`, those of `sets.distinct`."""
        targets = tf.where(there, targets, tf.constant(-1, tf.int64))
        found = {
            names.RANK: self._ranker(among).ranks(self.model, query, self._size, targets, excluded),
            names.POPULARITY_RANK: sets.popularity_ranks(self._size, targets, excluded, among),
            names.RECENT_POPULARITY_RANK: self._recent.ranks(targets, excluded, among),
        }
        if excluded is None:
            history = features[names.HISTORY_ITEM_INDEX] - names.FIRST_INDEX
            found[names.OWN_FREQUENT_RANK], found[names.OWN_RECENT_RANK] = sets.own_ranks(
                self._size, targets, history, among
            )
        nothing = tf.constant(names.NO_ITEM_RANK, tf.int64)
        return {names.of_period(name): tf.where(there, rank, nothing) for name, rank in found.items()}

    def _ranker(self, among: among_lib.Among | None) -> Any:
        """What ranks items: what is served, or all candidates."""
        return self._search if among is None else search.Among(among)

    def _parse(self, examples: tf.Tensor, features: list[str]) -> dict[str, Any]:
        spec = {name: self._raw_spec[name] for name in features}
        if names.TARGET_SCENE in spec:
            # Of a log that has lost its scenes: the target is in none that is known.
            spec[names.TARGET_SCENE] = tf.io.FixedLenFeature([], tf.string, default_value="")
        if self._has_moment:
            spec[names.MOMENT] = tf.io.FixedLenFeature([], tf.int64, default_value=moments.NOT_TOLD)
        parsed = tf.io.parse_example(examples, {**spec, names.ITEM_ID: tf.io.VarLenFeature(tf.string)})
        old = events.row_lengths(parsed.pop(names.ITEM_ID))
        nameless = (old > 0) & (events.row_lengths(parsed[names.HISTORY_ITEM_ID]) == 0)
        check = tf.debugging.assert_equal(tf.reduce_any(nameless), False, message=_OLD_NAMES)
        with tf.control_dependencies([check] if check is not None else []):
            parsed = tf.nest.map_structure(tf.identity, parsed, expand_composites=True)
        return self._with_moment(events.checked(parsed))

    def _raw(self, inputs: dict[str, tf.Tensor]) -> dict[str, Any]:
        """What Transform takes of the inputs of a signature: histories, sparse, and their moments."""
        raw: dict[str, Any] = _to_sparse({name: inputs[name] for name in self.history})
        return self._with_moment({**raw, names.MOMENT: inputs[names.MOMENT]} if self._has_moment else raw)

    def _with_moment(self, raw: dict[str, Any]) -> dict[str, Any]:
        if not self._has_moment:
            return raw
        return {**raw, names.MOMENT: moments.told(raw[names.MOMENT], raw[names.HISTORY_TIMESTAMP])}

    def _query(self, raw: dict[str, Any]) -> Any:
        return self._queried.value(self._transform(raw))

    def _of_history(self, features: dict[str, Any]) -> dict[str, Any]:
        """Those that can be made of a history, by which a model is asked: of as many, its graph is the same."""
        return {name: features[name] for name in self._history_features}

    def _best(self, query: Any, seen: tf.Tensor, exclude: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        without = tf.concat([seen, exclude], axis=1) if self._exclude_seen else exclude
        most = tf.clip_by_value(tf.reduce_max(k), 0, self._size)
        best, rows = self._search.best(self.model, query, self._size, most, self._items.rows(without), k)
        wanted = tf.range(tf.shape(best)[1])[tf.newaxis, :] < k[:, tf.newaxis]
        left = wanted & (best > float("-inf"))
        return {
            names.ITEM_ID: tf.where(left, self._items.of(rows), ""),
            SCORE: tf.where(left, best, best.dtype.min),
        }


def of_examples(function: Any) -> Any:
    """A function of serialized tf.Examples `[B]` as a concrete one."""
    examples = tf.TensorSpec([None], tf.string, name=EXAMPLES)
    # Without AutoGraph, which would take longer to read the source than TensorFlow to trace it.
    return tf.function(function, autograph=False).get_concrete_function(examples)


def of_inputs(function: Any, specs: dict[str, tf.TensorSpec]) -> Any:
    """A function of a dict of tensors as a concrete function of keywords, as a signature must be."""
    return tf.function(lambda **inputs: function(inputs), autograph=False).get_concrete_function(**specs)


def _to_sparse(histories: dict[str, tf.Tensor]) -> dict[str, tf.SparseTensor]:
    """Padded rows to sparse ones, without the padding, wherever it stands."""
    checks = [
        tf.debugging.assert_equal(
            tf.shape(values),
            tf.shape(histories[names.HISTORY_ITEM_ID]),
            message=f"{name} has another shape than {names.HISTORY_ITEM_ID}",
        )
        for name, values in histories.items()
        if name != names.HISTORY_ITEM_ID
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        event = tf.identity(histories[names.HISTORY_ITEM_ID]) != ""
    return {name: tf.ragged.boolean_mask(values, event).to_sparse() for name, values in histories.items()}
