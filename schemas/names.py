"""Feature, split and slice names, and the reserved ids, used by more than one package."""

from typing import Final

# Splits of the windowed examples.
TRAIN = "train"
EVAL = "eval"
TEST = "test"
SPLITS = (TRAIN, EVAL, TEST)

# Features of an event of the log, and of an exposure: scalars. Times are int64 milliseconds since the epoch.
USER_ID = "user_id"
ITEM_ID = "item_id"
BEHAVIOR = "behavior"  # present if the log has behaviours
SCENE = "scene"  # present if the log has scenes
TIMESTAMP = "timestamp"
# Prefixes of attributes: `item_color`, `user_country`.
ITEM_PREFIX = "item_"
USER_PREFIX = "user_"

# Features of a history (tf.Example), in windows of every kind: each a list `[n]` of the last n <= L events, oldest
# first, under the event's own name with this prefix. A history of `next` has the attributes of the items, too, as
# `history_item_color`; one of `period` all of the events' attributes.
HISTORY_PREFIX = "history_"
HISTORY_ITEM_ID = "history_item_id"
HISTORY_BEHAVIOR = "history_behavior"  # present if the log has behaviours
HISTORY_SCENE = "history_scene"  # present if the log has scenes
HISTORY_TIMESTAMP = "history_timestamp"
HISTORY: Final = (HISTORY_ITEM_ID, HISTORY_BEHAVIOR, HISTORY_SCENE, HISTORY_TIMESTAMP)

# Features of a `next` window besides its history: USER_ID, attributes of the user, and these scalars of the target.
TARGET_PREFIX = "target_"
TARGET_ITEM_ID = "target_item_id"
TARGET_BEHAVIOR = "target_behavior"
TARGET_SCENE = "target_scene"
TARGET_TIMESTAMP = "target_timestamp"
# Distinct items the user met before the target, also beyond the window; empty in `train`.
SEEN_ITEM_ID = "seen_item_id"  # [m]
# How many of the training targets of a window are recent: the last ones. 0 in `eval` and `test`.
RECENT_TARGETS = "recent_targets"

# Features of a `period` window besides those of a `next` window, whose target is the first event at or after the
# moment T. What follows in the period from T on: lists `[m]` under the event's own name with this prefix, oldest first.
FUTURE_PREFIX = "future_"
FUTURE_ITEM_ID = "future_item_id"
FUTURE_BEHAVIOR = "future_behavior"  # present if the log has behaviours
FUTURE_SCENE = "future_scene"  # present if the log has scenes
FUTURE_TIMESTAMP = "future_timestamp"
FUTURE: Final = (FUTURE_ITEM_ID, FUTURE_BEHAVIOR, FUTURE_SCENE, FUTURE_TIMESTAMP)
MOMENT = "moment"  # T, a scalar
# How many of the window's events (history, then future) are training targets that no earlier window of the user has:
# the last ones. 0 in `eval` and `test`.
NEW_TARGETS = "new_targets"

# Features of an `exposure` window besides the history strictly before it: USER_ID, ITEM_ID, TIMESTAMP, SCENE and
# attributes with the prefixes above or this one (of the exposure itself: device, place on the page) are scalars of the
# exposure; multi-valued attributes are lists. A label for each step of the chain, as `label_buy`.
CONTEXT_PREFIX = "context_"
# Of attributes of a history's events, in windows of a period.
HISTORY_ATTRIBUTES: Final = (HISTORY_PREFIX + ITEM_PREFIX, HISTORY_PREFIX + CONTEXT_PREFIX)
LABEL_PREFIX = "label_"  # scalar int64: 1, 0, or UNKNOWN_LABEL
UNKNOWN_LABEL = -1

# Slicing features: bytes scalars of every example.
USER_FREQUENCY: Final = "user_frequency"  # head | tail: the top 20 % of users by number of events
# head | tail | new: of the target, or, where windows may have none, of the last event before; counted in training
ITEM_FREQUENCY: Final = "item_frequency"
HISTORY_LENGTH: Final = "history_length"  # 0 | 1-4 | 5-9 | 10-19 | 20-49 | 50+
USER_STATUS: Final = "user_status"  # existing | new: whether the user has training events
USER_GROUP: Final = (
    "user_group"  # low | medium | high: thirds of the users by number of events, counted as USER_FREQUENCY
)
SLICES: Final = (USER_FREQUENCY, ITEM_FREQUENCY, HISTORY_LENGTH, USER_STATUS, USER_GROUP)
USER_GROUPS: Final = ("low", "medium", "high")
# The counts of items are a file beside the vocabularies, which attributes name.
ITEM_COUNTS: Final = "item_counts"
# What no attribute may be called, since examples, vocabularies or served models have it.
OWN: Final = frozenset((USER_ID, ITEM_ID, "item_index", ITEM_COUNTS, *SLICES))
HEAD = "head"
TAIL = "tail"
NEW = "new"
EXISTING = "existing"
HEAD_SHARE = 0.2

# Features after Transform are indices (int64, INDEX_SUFFIX) or numbers (float32, VALUE_SUFFIX). Every index, that
# of an hour as that of a vocabulary's value, begins at FIRST_INDEX, after the reserved ones: PADDING_INDEX where
# nothing stands, OOV_INDEX for what stands there and is unknown.
INDEX_SUFFIX = "_index"
VALUE_SUFFIX = "_value"
PADDING_INDEX = 0
OOV_INDEX = 1
# Of the most frequent value of a vocabulary, of hour 0 (UTC), of Monday.
FIRST_INDEX = 2

# Of a history: `[L]`, left-padded, in windows of every kind.
HISTORY_ITEM_INDEX = "history_item_index"
HISTORY_BEHAVIOR_INDEX = "history_behavior_index"
HISTORY_SCENE_INDEX = "history_scene_index"
HISTORY_HOUR_INDEX = "history_hour_of_day_index"
HISTORY_WEEKDAY_INDEX = "history_day_of_week_index"
# log(1 + seconds since the event before); 0 for the first of the L, and in padding.
HISTORY_LOG_GAP = "history_log_gap_value"
HISTORY_PLACES: Final = (
    HISTORY_ITEM_INDEX,
    HISTORY_BEHAVIOR_INDEX,
    HISTORY_SCENE_INDEX,
    HISTORY_HOUR_INDEX,
    HISTORY_WEEKDAY_INDEX,
    HISTORY_LOG_GAP,
)

# Of a `next` window.
TARGET_ITEM_INDEX = "target_item_index"  # scalar
TARGET_BEHAVIOR_INDEX = "target_behavior_index"  # scalar
TARGET_SCENE_INDEX = "target_scene_index"  # scalar
SEEN_ITEM_INDEX = "seen_item_index"  # [m], sparse
USER_HASH = "user_hash"  # scalar, equal for equal users; tells users apart, is no index of a table
USER_HEAD = "user_head"  # scalar: 1 for a user of the head, 0 for one of the tail

# Of a `period` window: `[m]`, sparse, in any order; attributes of events with their names and these prefixes and suffixes.
FUTURE_ITEM_INDEX = "future_item_index"
FUTURE_BEHAVIOR_INDEX = "future_behavior_index"
FUTURE_SCENE_INDEX = "future_scene_index"
FUTURE_SECONDS = "future_seconds_value"  # from T on, at the places of FUTURE_ITEM_INDEX
# Of a `period` window: seconds from each event of the history to its last one, `[L]`, 0 in padding; and from the last
# one to T, a scalar, which a request without T lacks: the last event's time then stands for T.
HISTORY_SECONDS = "history_seconds_before_last_value"
SECONDS_SINCE_LAST = "seconds_since_last_value"

# Of an `exposure` window: each feature is one or several indices (`item_color_index`, `[B]` or `[B, M]`,
# padded at the end) or a number (`item_price_value`, `[B]`); labels pass as they are.
HOUR_OF_DAY = "hour_of_day"
DAY_OF_WEEK = "day_of_week"
# `[L]`: the behaviours of the history's events with the exposed item, and padding in the places of others.
HISTORY_SAME_BEHAVIOR_INDEX = "history_same_behavior_index"

# Names of the vocabularies in the transform graph; the item vocabulary carries the
# number of training targets of each item.
ITEM_VOCABULARY = "items"
RECENT_ITEMS_VOCABULARY = "recent_items"  # "<number> <id>" of the items that are recent training targets
RECENT_SCENES_VOCABULARY = "recent_scenes"  # "<number> <scene>" of the scenes of recent training targets
BEHAVIOR_VOCABULARY = "behaviors"
SCENE_VOCABULARY = "scenes"

# Outputs of the `evaluate` signature, each `[B]`.
RANK = "rank"  # int64, 1 is best; ties count against the model
POPULARITY_RANK = "popularity_rank"  # int64: the same, for a model that ranks by training count
RECENT_POPULARITY_RANK = "recent_popularity_rank"  # int64: the same, by recent training count, then by all
# The same of other floors, only where seen items may be recommended: by how often the history has an item; by
# how late it has it.
OWN_FREQUENT_RANK = "own_frequent_rank"
OWN_RECENT_RANK = "own_recent_rank"
# int64: why a target cannot be recommended: it is not in the catalogue, or it is left out as seen.
UNREACHABLE = "unreachable"
REACHABLE, NOT_IN_CATALOGUE, LEFT_OUT = 0, 1, 2
# Where the ranking is among candidates: it is none of them, whether it is left out or not.
NOT_A_CANDIDATE = 3
CANDIDATES = "candidates"  # int64: how many items are ranked, the target included
CANDIDATE_SET = "candidate_set"  # int64, only among candidates: how many there are, with what is left out
CATALOGUE_SIZE = "catalogue_size"  # int64: a rank beyond it is a miss, see `schemas.ranks`

# Outputs of the `evaluate` signature of models of users' embeddings: `[B, D]` float32, and hashes of the distinct items
# that follow, `[B, M]` int64, equal for equal ids in any model.
EMBEDDING = "embedding"
FOLLOWING = "following"
NOTHING_FOLLOWS = 0  # where there is no further item

# The same ranks of all items of a `period` window, `[B, M]`, under these names.
NO_ITEM_RANK = 0  # where there is no further item: an item that comes again, or the end


def of_unmet(output: str) -> str:
    """The name of a rank, or of the number of candidates, among the target and the items that the user has not met.

    Only where seen items may be recommended: else these are what is ranked in any case.

    >>> of_unmet(POPULARITY_RANK)
    'unmet_popularity_rank'
    """
    return f"unmet_{output}"


# Of models that rank scenes, the same ranks of the target's scene among all scenes, and their number, `[B]`, under the names
# of `of_scene`; floors by how often training windows have a scene.


def of_scene(output: str) -> str:
    """The output that says of scenes what another one says of items.

    >>> of_scene(RECENT_POPULARITY_RANK)
    'scene_recent_popularity_rank'
    """
    return f"scene_{output}"


def of_period(rank: str) -> str:
    """The output with a rank of each item of a period.

    >>> of_period(POPULARITY_RANK)
    'period_popularity_rank'
    """
    return f"period_{rank}"
