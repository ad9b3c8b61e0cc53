"""Who answers how much of an endpoint's requests."""

from collections.abc import Mapping, Sequence

ALL = 100
# In a request to deploy, the id of what is being deployed.
NEW = "0"


def split(before: Mapping[str, int], new: str, share: int, oldest_first: Sequence[str]) -> dict[str, int]:
    """The traffic split with a new model; at most two have traffic.

    Args:
      before: the share of each deployed model, in per cent; those that are not in it have none.
      new: the new one's id.
      share: what it gets, in per cent; all where no other has any.
      oldest_first: the ids of the deployed models.

    Returns:
      The shares that are not 0, which add up to 100. The rest goes to the one with the largest share before; of equal
      ones, to the oldest.

    >>> split({"1": 90, "2": 10}, "3", 20, ["1", "2", "3"])
    {'3': 20, '1': 80}
    """
    served = [name for name in oldest_first if name != new and before.get(name, 0) > 0]
    if share == ALL or not served:
        return {new: ALL}
    return {new: share, max(served, key=lambda name: before[name]): ALL - share}
