"""Mini-batches that hold the windows of one user, or of a few users, of any or of one class."""

import numpy as np

from schemas import errors

# Fills up a mini-batch that has fewer windows than another.
NOTHING = -1


class UserBatches:
    """Puts the windows of users into mini-batches, in another order each epoch.

    A user's windows, shuffled, are cut into parts of at most `per_user`; the last one may be
    smaller. `users` parts share a mini-batch, of any users or of one class; of a user with many
    windows several parts may meet. For `users=1` a mini-batch is one user's, as in the paper.

    Every window is in just one mini-batch of an epoch, so that users are met as often as
    they have parts; Algorithm 1 of the paper leaves open how a user is selected. With `paired`
    mini-batches of head and of tail users follow each other in turns, and of the class that has
    fewer some are there again.

    Args:
      user: `[W]` int64, equal for windows of the same user.
      head: `[W]`, whether that user is of the head (1) or the tail (0).
      per_user, users: see above, at least 1.
      classes: `mixed`, `apart` (of one class each) or `paired` (the same, in turns).

    Raises:
      errors.InputError: if mini-batches of both classes are wanted, and all users are of one.
      ValueError: if there is no window.
    """

    def __init__(self, user: np.ndarray, head: np.ndarray, per_user: int, users: int, classes: str = "mixed"):
        if not len(user):
            raise ValueError("there is no window to train on, found 0")
        found = np.unique(np.asarray(head) != 0)
        if classes == "paired" and len(found) < 2:
            raise errors.InputError(
                "loop.classes: paired needs training windows of head and of tail users, found those of "
                f"{'head' if found[0] else 'tail'} users alone"
            )
        self.capacity = per_user * users
        self._per_user, self._users = per_user, users
        _, self._user, counts = np.unique(user, return_inverse=True, return_counts=True)
        self._starts = np.cumsum(counts) - counts
        parts = -(-counts // per_user)
        self._first_part = np.cumsum(parts) - parts
        head_of_user = np.zeros(len(counts), np.int64)
        head_of_user[self._user] = np.asarray(head) != 0
        self._paired = classes == "paired"
        # With one user to a mini-batch there is no class to keep apart.
        mixed = classes == "mixed" or classes == "apart" and users == 1
        self._class_of_part = np.repeat(0 * head_of_user if mixed else head_of_user, parts)

    @property
    def batches(self) -> int:
        """How many mini-batches an epoch has."""
        of_classes = self._batches_of_classes()
        return int(2 * of_classes.max() if self._paired else of_classes.sum())

    def _batches_of_classes(self) -> np.ndarray:
        return -(-np.bincount(self._class_of_part) // self._users)

    def average(self, values: np.ndarray) -> float:
        """What a mini-batch has on average of values of windows, `[W]`, summed up."""
        if not self._paired:
            return float(np.sum(values)) / self.batches
        # Those of the class that has fewer come again, so that half of all are of each class.
        of_class = np.bincount(self._class_of_part[self._first_part[self._user]], values, minlength=2)
        return float(np.mean(of_class / self._batches_of_classes()))

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """The windows of each mini-batch of an epoch, which `seed` and `epoch` alone decide.

        Returns:
          `[batches, capacity]` int64, rows of windows at the left and `NOTHING` after them.
        """
        rng = np.random.default_rng([seed, epoch])
        different = int(self._batches_of_classes().sum())
        windows = np.lexsort((rng.random(len(self._user)), self._user))
        user = self._user[windows]
        part = self._first_part[user] + (np.arange(len(user)) - self._starts[user]) // self._per_user
        batch = self._batch_of_part(rng)[part]
        # A part stays together, though it may not matter: the sort is stable.
        by_batch = np.argsort(batch, kind="stable")
        windows, batch = windows[by_batch], batch[by_batch]
        sizes = np.bincount(batch, minlength=different)
        place = np.arange(len(batch)) - (np.cumsum(sizes) - sizes)[batch]
        result = np.full([different, self.capacity], NOTHING, np.int64)
        result[batch, place] = windows
        return self._in_turns(result, np.bincount(batch, self._class_of_part[part[by_batch]]) > 0, rng)

    def _in_turns(self, order: np.ndarray, head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Of mini-batches `[batches, capacity]`, of which some are of the head, pairs of both classes where these are wanted."""
        if not self._paired:
            return order
        number = self.batches // 2
        pairs = np.empty([number, 2], np.int64)
        for column, of_class in enumerate((np.flatnonzero(head), np.flatnonzero(~head))):
            pairs[:, column] = np.resize(of_class, number)
        # Which of both comes first is left to chance: eq. (8) is of all orders.
        swapped = rng.random(number) < 0.5
        pairs[swapped] = pairs[swapped, ::-1]
        return order[pairs.reshape(-1)]

    def _batch_of_part(self, rng: np.random.Generator) -> np.ndarray:
        """Shuffles the parts, fills the mini-batches of each class, and shuffles those: `[P]`."""
        shuffled = rng.permutation(len(self._class_of_part))
        by_class = shuffled[np.argsort(self._class_of_part[shuffled], kind="stable")]
        sizes = np.bincount(self._class_of_part)
        begins = np.cumsum(sizes) - sizes
        batches = -(-sizes // self._users)
        first_batch = np.cumsum(batches) - batches
        of_class = self._class_of_part[by_class]
        place = np.arange(len(by_class)) - begins[of_class]
        result = np.empty(len(by_class), np.int64)
        result[by_class] = rng.permutation(int(batches.sum()))[first_batch[of_class] + place // self._users]
        return result
