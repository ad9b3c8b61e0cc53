"""Feature, split and slice names, and the reserved ids, used by more than one package."""

from typing import Final

# Splits of the windowed examples.
TRAIN = "train"
EVAL = "eval"
TEST = "test"
SPLITS = (TRAIN, EVAL, TEST)

# Features of a `next` window (tf.Example). `[n]` is a list of the n <= L events of the
# history, oldest first; the rest are scalars. Times are int64 milliseconds since the epoch.
USER_ID = "user_id"
ITEM_ID = "item_id"  # [n]
BEHAVIOR = "behavior"  # [n], present if the log has behaviours
SCENE = "scene"  # [n], present if the log has scenes
TIMESTAMP = "timestamp"  # [n]
TARGET_ITEM_ID = "target_item_id"
TARGET_BEHAVIOR = "target_behavior"
TARGET_SCENE = "target_scene"
TARGET_TIMESTAMP = "target_timestamp"
# Distinct items the user met before the target, also beyond the window; empty in `train`.
SEEN_ITEM_ID = "seen_item_id"  # [m]
# How many of the training targets of a window are recent: the last ones. 0 in `eval` and `test`.
RECENT_TARGETS = "recent_targets"
# Prefixes of attributes: `item_color` is one value per event, `user_country` a scalar.
ITEM_PREFIX = "item_"
USER_PREFIX = "user_"

# Features of an `exposure` window (tf.Example): USER_ID, ITEM_ID, TIMESTAMP, SCENE and attributes with the
# prefixes above or this one (of the exposure itself: device, place on the page) are scalars of the
# exposure; multi-valued attributes are lists. A label for each step of the chain, as `label_buy`.
CONTEXT_PREFIX = "context_"
LABEL_PREFIX = "label_"  # scalar int64: 1, 0, or UNKNOWN_LABEL
UNKNOWN_LABEL = -1
# The user's last events strictly before the exposure, oldest first: `[n]`, n <= the window's history.
HISTORY_ITEM_ID = "history_item_id"
HISTORY_BEHAVIOR = "history_behavior"  # present if the log has behaviours
HISTORY_TIMESTAMP = "history_timestamp"

# Slicing features: bytes scalars of every example.
USER_FREQUENCY: Final = "user_frequency"  # head | tail: the top 20 % of users by number of events
ITEM_FREQUENCY: Final = "item_frequency"  # head | tail | new: of the target, counted in training
HISTORY_LENGTH: Final = "history_length"  # 0 | 1-4 | 5-9 | 10-19 | 20-49 | 50+
USER_STATUS: Final = "user_status"  # existing | new: whether the user has training events
SLICES: Final = (USER_FREQUENCY, ITEM_FREQUENCY, HISTORY_LENGTH, USER_STATUS)
HEAD = "head"
TAIL = "tail"
NEW = "new"
EXISTING = "existing"
HEAD_SHARE = 0.2

# Features after Transform: int64 `[L]`, left-padded with PADDING_INDEX unless said otherwise.
ITEM_INDEX = "item_index"
BEHAVIOR_INDEX = "behavior_index"
SCENE_INDEX = "scene_index"
HOUR_OF_DAY = "hour_of_day"  # 0 padding, 1..24 (UTC)
DAY_OF_WEEK = "day_of_week"  # 0 padding, 1..7 (Monday is 1)
LOG_GAP = "log_gap"  # float32: log(1 + seconds since the previous event), 0 for the first
TARGET_ITEM_INDEX = "target_item_index"  # scalar
TARGET_BEHAVIOR_INDEX = "target_behavior_index"  # scalar
TARGET_SCENE_INDEX = "target_scene_index"  # scalar
SEEN_ITEM_INDEX = "seen_item_index"  # [m], sparse
USER_HASH = "user_hash"  # scalar, equal for equal users; tells users apart, is no index of a table
USER_HEAD = "user_head"  # scalar: 1 for a user of the head, 0 for one of the tail

# Of an `exposure` window: each feature is one or several indices (`item_color_index`, `[B]` or `[B, M]`,
# padded at the end) or a number (`item_price_value`, float32 `[B]`); labels pass as they are.
INDEX_SUFFIX = "_index"
VALUE_SUFFIX = "_value"

# Reserved ids of every vocabulary; the most frequent known value has id FIRST_INDEX.
PADDING_INDEX = 0
OOV_INDEX = 1
FIRST_INDEX = 2

# Names of the vocabularies in the transform graph; the item vocabulary carries the
# number of training targets of each item.
ITEM_VOCABULARY = "items"
RECENT_ITEMS_VOCABULARY = "recent_items"  # "<number> <id>" of the items that are recent training targets
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
CANDIDATES = "candidates"  # int64: how many items are ranked, the target included
CATALOGUE_SIZE = "catalogue_size"  # int64: a rank beyond it is a miss, see `schemas.ranks`
