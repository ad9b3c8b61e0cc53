"""What a rank means: 1 is best, and a rank beyond the catalogue is that of a target which cannot be recommended.

For arrays of NumPy, tensors and numbers alike.
"""

from typing import Any


def reached(rank: Any, size: Any) -> Any:
    """Whether the target is among what a model ranks; a miss at any cutoff if not, also of a small catalogue."""
    return rank <= size


def hit(rank: Any, cutoff: int, size: Any) -> Any:
    """Whether the target is among the first `cutoff`."""
    return (rank <= cutoff) & reached(rank, size)
