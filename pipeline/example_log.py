"""A synthetic log of exposures whose chain is known: each row was shown, perhaps clicked, then perhaps bought.

For trying out models of exposures where no log is at hand. Nobody clicked or bought anything here:
whatever is measured on it says that the pipeline works, not how good a model is.
"""

import numpy as np

HEADER = "user_id,item_id,timestamp,slot,interest,category,price,tags,clicked,bought"
ROWS = 12_000
_USERS, _ITEMS = 400, 120
_START, _DAYS = 1_700_000_000, 30
_SLOTS = np.array(["top", "feed", "side"])
_CATEGORIES = np.array(["books", "garden", "games", "music", "shoes", "tools"])
_TAGS = ("new", "sale", "eco")
# Shares of rows that lost their price, or the click before a purchase, as it happens in real logs.
_PRICE_LOST, _CLICK_LOST = 0.01, 0.1


def make(seed: int = 0) -> str:
    """The log as CSV text with `HEADER` and `ROWS` rows in time order.

    A click is likely where the item's category is what the user is interested in, and in the slot at the
    top; a purchase after a click for low prices and for the tag `sale`. Times are in s.
    """
    rng = np.random.default_rng(seed)
    category, price = rng.integers(len(_CATEGORIES), size=_ITEMS), rng.gamma(2.0, 12.0, _ITEMS).round(2)
    tagged = rng.random((_ITEMS, len(_TAGS))) < 0.35
    interest = rng.integers(len(_CATEGORIES), size=_USERS)

    time = _START + np.sort(rng.integers(_DAYS * 86_400, size=ROWS))
    user = (_USERS * rng.random(ROWS) ** 1.5).astype(np.int64)
    item = (_ITEMS * rng.random(ROWS) ** 1.5).astype(np.int64)
    slot = rng.integers(len(_SLOTS), size=ROWS)
    click = -2.2 + 3.0 * (category[item] == interest[user]) + np.array([1.5, 0.0, -1.5])[slot]
    buy = 0.5 + 2.0 * tagged[item, _TAGS.index("sale")] - 0.06 * price[item]
    clicked = rng.random(ROWS) < _sigmoid(click)
    bought = clicked & (rng.random(ROWS) < _sigmoid(buy))
    clicked &= ~(bought & (rng.random(ROWS) < _CLICK_LOST))
    unpriced = rng.random(ROWS) < _PRICE_LOST

    names = ["|".join(np.array(_TAGS)[row]) for row in tagged]
    lines = [HEADER]
    for n, (u, i) in enumerate(zip(user, item)):
        lines.append(
            f"u{u},i{i},{time[n]},{_SLOTS[slot[n]]},{_CATEGORIES[interest[u]]},{_CATEGORIES[category[i]]},"
            f"{'' if unpriced[n] else format(price[i], '.2f')},{names[i]},{clicked[n]:d},{bought[n]:d}"
        )
    return "\n".join(lines) + "\n"


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))
