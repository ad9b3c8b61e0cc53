"""TP: learning transferrable parameters (Yin et al., "Learning Transferrable Parameters for
Long-tailed Sequential User Behavior Modeling", KDD 2020), around any next-item model."""

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from schemas import errors, names
from trainer import bucketing, grouping
from trainer import input as input_lib
from trainer.evaluation import classes as classes_lib
from trainer.layers import discriminator as discriminator_lib
from trainer.loops import gradients, loop
from trainer.settings import loops as loop_settings

_Gradient = Any  # tf.Tensor or tf.IndexedSlices
_Undo = list[tuple[tf.Variable, _Gradient]]
_PROGRESS = logging.getLogger("footfall.progress")
# The name of the group of theta_d: a model may have adversaries of its own.
_DISCRIMINATOR = "discriminator_optimizer"
# Users of each class that a probe is fitted on, and embedded at once.
_PROBED, _PROBED_AT_ONCE = 2048, 512
# An AUC that has grown by more shows that training separates; an adversary that sees nothing of it in so many evaluated epochs
# in a row is warned of.
_APART, _BLIND_EPOCHS = 0.02, 2


class TP(loop.Loop):
    """Gradient alignment between users, and an adversary that cannot tell head from tail.

    **Inner and outer updates** (section 3.2). From the parameters theta, k steps of gradient
    descent on the mini-batches D_1 .. D_k of one or several users each lead to theta_k; the optimiser then
    updates theta itself by the "gradient" theta - theta_k, divided by alpha k:

        theta_i = theta_(i-1) - alpha g_i,   g_i = dL(D_i; theta_(i-1)) / dtheta,         (6)
        (theta - theta_k) / (alpha k) = (g_1 + .. + g_k) / k.                             (7)

    The paper's signs are slips: as printed, (6) climbs the loss, while (7) with the climbing (6)
    would go down, and Algorithm 1 undoes that again. For k = 1 the quotient is the gradient of
    the mini-batch, so that TP without an adversary is plain training on the same batches; for
    any k it has the size of one, so that `clip_norm` and Adam's epsilon keep their meaning.
    With H_i the Hessian of L(D_i), g_i = L_i' - alpha H_i (L_1' + .. + L_(i-1)') + O(alpha^2).
    Averaged over the order of the users, H_i L_j' is half of the gradient of L_i' . L_j': the
    update descends eq. (8), and so raises the inner products between users' gradients.

    The sum of the g_i is kept rather than theta - theta_k, which would lose digits and need
    the last inner step. Of a table whose gradients are sparse only the rows that a step
    changes are written down before, and put back (exactly) in the reverse order after.

    **The adversary** (section 3.3). f_d(phi; theta_d) is the probability that an embedding phi is
    of a head user, R = 1. Eq. (9) calls L_d a loss, but it is a log-likelihood: at most 0, and
    the larger the better f_d tells. Let l = L_d as printed. The discriminator is to maximise
    its likelihood and the model to minimise L while fooling it, so that l falls:

        min over theta, max over theta_d of  V = L + lambda l.

    That is (10) with its L_d read as a loss, L_d = -l: theta in `min_(theta, theta_d)` is all
    that is minimised over. With L_d = l as in (9), theta would descend L - lambda l and help the
    discriminator, which would climb -lambda l and get worse. So theta descends V and theta_d
    ascends it, in inner steps with the same alpha, and then each by an optimiser of its own
    with the training's settings.

    A head user's windows are longer, and that alone tells much of the classes. So f_d is shown, of each window, the events up
    to a place that is drawn, as many of all users (`adversary_events`). It has a learning rate of its own: one that
    does not keep up with the model tells what the last batches had more of, its likelihood is that of a guess, and the
    model is pushed to where the classes lie apart. Whether they do is told by a fresh probe (`head_auc`), in whose eyes
    they are to become alike, not by the likelihood.

    L is the mean over the targets of a mini-batch (a mean makes alpha mean the same for any number
    of targets), or with `reduction: sum` the sum, as eq. (2) is, over the size of an average
    mini-batch; l likewise over its windows, each by the embedding of its whole history.

    **Replicas** share each mini-batch: gradients are summed over replicas in every inner step, so
    that all have the same theta_i and the result does not depend on how many there are.

    With `xla`, the step is compiled unless there are both several replicas and an adversary: the
    targets of all replicas then have to be counted between the forward and the backward pass.

    Args:
      build, settings, strategy, evaluate, checkpoint_dir, log_dir: see `loop.Loop`.
      train: blocks of `input.read` with `input.training_features` and `input.user_features`; kept
        in memory as columns.
      own: `TPSettings`.

    Raises:
      errors.InputError: if no window has what the adversary is shown, or see `grouping.UserBatches`.
      ValueError: if there is no window to train on.
    """

    features_read = tuple(input_lib.user_features())
    sums = ("loss", "targets", "log_likelihood", "windows", "heads")
    monitored = False

    # What is known once the windows are, and after each epoch.
    discriminator: discriminator_lib.Discriminator | None = None
    _gain: float | None = None
    _probed: tuple[dict[str, tf.Tensor], np.ndarray] | None = None

    def _prepare(self) -> None:
        self._tp: loop_settings.TPSettings = self._own_settings
        self._embed = tf.function(self._embedded, reduce_retracing=True, autograph=False)
        self._columns = input_lib.columns(self._train)
        self._check_targets(self._columns)
        users = self._columns.pop(names.USER_HASH).numpy()
        # A probe asks for the real ones, whichever the adversary is told.
        real = head = self._columns[names.USER_HEAD].numpy()
        if self._tp.shuffled_classes:
            head = _shuffled(users, real, self._settings.seed)
            self._columns[names.USER_HEAD] = tf.constant(head)
        classes = self._tp.classes
        self._users = grouping.UserBatches(
            users,
            head,
            self._tp.user_batch,
            self._tp.users_per_step,
            "mixed" if classes == "same" else classes,
        )
        items = self._columns[names.HISTORY_ITEM_INDEX].numpy()
        self._widths = self._usual_widths(items)
        lengths = np.count_nonzero(items != names.PADDING_INDEX, axis=1)
        expected = self.model.expected_targets(tf.constant(lengths, tf.float32))
        self._events = self._users.average(expected.numpy())
        judged = lengths >= (self._tp.adversary_events or 1)
        self._windows = self._users.average(judged)
        self._draw_probed(users, real, judged)
        if self._tp.adversary:
            self._check_judged(lengths, head, judged)
            self.discriminator = discriminator_lib.Discriminator(self._tp.discriminator_hidden)
            self.discriminator(self.model(self._nothing(), training=False))

    def _check_judged(self, lengths: np.ndarray, head: np.ndarray, judged: np.ndarray) -> None:
        """Refuses an adversary that is shown nothing, and warns of one that is shown one class."""
        events = self._tp.adversary_events or 1
        if not judged.any():
            raise errors.InputError(
                f"loop.adversary_events: no training window has the {events} events that the adversary is shown, found "
                f"{lengths.max()} at most: lower it, or set loop.adversary: 0"
            )
        classes = np.unique(head[judged] != 0)
        if len(classes) < 2:
            _PROGRESS.warning(
                "the adversary has nothing to tell apart: all %d training windows with the %d events that it is shown are of "
                "%s users; lower loop.adversary_events, or set loop.adversary: 0",
                *(judged.sum(), events, "head" if classes[0] else "tail"),
            )
        elif self._tp.users_per_step == 1 or self._tp.classes in ("apart", "paired"):
            _PROGRESS.warning(
                "the adversary sees users of one class in each mini-batch (%s), so that it learns which came last and not "
                "what tells them apart; set loop.%s, or loop.adversary: 0",
                *(
                    ("loop.users_per_step: 1", "users_per_step: 16")
                    if self._tp.users_per_step == 1
                    else (f"loop.classes: {self._tp.classes}", "classes: mixed")
                ),
            )

    def _draw_probed(self, users: np.ndarray, head: np.ndarray, judged: np.ndarray) -> None:
        """Chooses windows by which a probe is measured, one of a user, always the same ones."""
        rng = np.random.default_rng(0)
        order = rng.permutation(np.flatnonzero(judged))
        rows = order[np.unique(users[order], return_index=True)[1]]
        chosen = [rng.permutation(rows[head[rows] == of])[:_PROBED] for of in (0, 1)]
        if min(map(len, chosen)) < classes_lib.LEAST:
            return
        which = np.sort(np.concatenate(chosen))
        self._probed = input_lib.taken(self._columns, which), head[which]

    def groups(self) -> list[loop.Group]:
        """theta, which descends V, and theta_d, which ascends it."""
        found = super().groups()
        if self.discriminator is not None:
            variables = self.discriminator.trainable_variables
            optimizer = self.new_optimizer(
                variables, self._tp.discriminator_rate, self._tp.discriminator_steps
            )
            found.append(loop.Group(_DISCRIMINATOR, variables, optimizer, direction=-1.0))
        return found

    def _usual_widths(self, index: np.ndarray) -> list[int]:
        """The widths that mini-batches are cut down to; all epochs' are of about the first one's.

        Args:
          index: `[W, L]`, the items of all windows.
        """
        # XLA has to know shapes, and within a branch for a width nothing can be summed over replicas.
        sums_within = self._replicas.count > 1 and bool(self._tp.adversary)
        length = index.shape[1]
        if self._settings.xla or (sums_within and self.model.graph_per_width):
            return [length]
        needed = bucketing.needed_places(bucketing.lengths(index), length, self.model.padding_needed)
        order = self._users.order(self._settings.seed, 0)
        widest = np.where(order == grouping.NOTHING, 0, needed[order]).max(axis=1)
        return bucketing.widths(widest, length, self._settings.length_buckets)

    def _kept(self) -> dict[str, Any]:
        return {} if self.discriminator is None else {"discriminator": self.discriminator}

    def _measured(self, sums: dict[str, float]) -> dict[str, float]:
        if self.discriminator is None or not sums["windows"]:
            return {}
        likelihood = sums["log_likelihood"] / sums["windows"]
        self._gain = likelihood - _of_guess(sums["heads"] / sums["windows"])
        return {"discriminator_log_likelihood": likelihood, "discriminator_gain": self._gain}

    def _restore(self) -> None:
        # Of the weights that a training starts from.
        self._head_auc_at_start = self._head_auc()
        super()._restore()

    def _evaluated(self) -> dict[str, float]:
        found = self._head_auc()
        if found is None or self._head_auc_at_start is None:
            return {}
        measured = {"head_auc": found, "head_auc_at_start": self._head_auc_at_start}
        if self._gain is not None:
            before = [epoch for epoch in self._history if "head_auc" in epoch]
            latest_first = ({**measured, "discriminator_gain": self._gain}, *reversed(before))
            # Once each time that it becomes blind, also where a training goes on.
            if len(list(itertools.takewhile(_blind, latest_first))) == _BLIND_EPOCHS:
                _PROGRESS.warning(
                    "the adversary does not see what separates head from tail: a linear probe tells them apart with an AUC of "
                    "%.3f (%.3f before training), the adversary no better than who knows their shares, so that it drives them "
                    "anywhere, mostly apart; raise loop.discriminator_rate or loop.discriminator_steps, or lower loop.adversary",
                    *(found, self._head_auc_at_start),
                )
        return measured

    def _head_auc(self) -> float | None:
        """How well a fresh probe tells head from tail by what the adversary is shown; None of too few users.

        None also where weights are no numbers any more: the loss of the next epoch says what to do.
        """
        if self._probed is None:
            return None
        held, head = self._probed
        parts = [self._embed(part).numpy() for part in input_lib.in_parts(held, _PROBED_AT_ONCE)]
        embeddings = np.concatenate(parts)
        return classes_lib.separation(embeddings, head) if np.isfinite(embeddings).all() else None

    def _embedded(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The embeddings of windows by their last events, `[B, D]` float32."""
        seen = self._shown(batch, tf.zeros(tf.shape(batch[names.USER_HEAD]), tf.int32))
        return tf.cast(self.model(seen, training=False), tf.float32)

    def _epoch_steps(self) -> int:
        if self._tp.classes == "same":
            return self._users.batches
        return -(-self._users.batches // self._tp.inner_steps)

    def _order(self, epoch: int) -> tuple[np.ndarray, ...]:
        order = self._users.order(self._settings.seed, epoch)
        inner, replicas = self._tp.inner_steps, self._replicas.count
        if self._tp.classes == "same":
            order = np.repeat(order, inner, axis=0)
        steps = self._epoch_steps()
        # The last step of an epoch may have fewer mini-batches, and replicas need as many rows each.
        missing = [[0, steps * inner - len(order)], [0, -order.shape[1] % replicas]]
        return (np.pad(order, missing, constant_values=grouping.NOTHING).reshape([steps, inner, -1]),)

    def _shares(self, steps: tf.data.Dataset) -> tf.data.Dataset:
        # One element for each replica in turn: a batch that is split by TensorFlow would be split
        # along its first axis, and not always evenly.
        shares = steps.map(self._gather, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
        return input_lib.in_order(shares.prefetch(tf.data.AUTOTUNE))

    def _gather(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """The windows of a step `[k, C]` for each replica: `[replicas, k, C / replicas, ...]`.

        Places without a window are all padding. Where shapes need not be known, C is cut down to
        the largest of the k mini-batches.
        """
        inner, replicas = self._tp.inner_steps, self._replicas.count
        if not self._settings.xla:
            largest = tf.reduce_max(tf.reduce_sum(tf.cast(rows != grouping.NOTHING, tf.int32), axis=1))
            rows = rows[:, : -(-largest // replicas) * replicas]
        # Neighbours go to different replicas, so that all have as much to do.
        rows = tf.transpose(tf.reshape(rows, [inner, -1, replicas]), [2, 0, 1])
        real, found = rows != grouping.NOTHING, {}
        for name, values in self._columns.items():
            gathered = tf.gather(values, tf.maximum(rows, 0))
            mask = tf.reshape(real, tf.concat([tf.shape(real), tf.ones_like(tf.shape(values)[1:])], axis=0))
            found[name] = tf.where(mask, gathered, tf.zeros([], values.dtype))
        return found

    def _descent(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[_Gradient]]:
        """k inner updates, which are undone, on `[k, b, ...]`; see the class. The outer one follows."""
        compute: Callable[..., Any] = self._differentiate
        # Nothing can be summed over replicas within a function of its own; where nothing is, one
        # is traced once for all inner steps.
        if self._replicas.count == 1 or self.discriminator is None:
            compute = tf.function(compute, jit_compile=self._settings.xla or None, autograph=False)
        if self._tp.discriminator_steps > 1 and self.discriminator is not None:
            self._move_ahead(batch, self.discriminator)
        variables = self._variables()
        summed: list[_Gradient] = []
        undo: _Undo = []
        sums = tf.zeros([len(self.sums)])
        for step in range(self._tp.inner_steps):
            added, found = self._inner(compute, {name: value[step] for name, value in batch.items()})
            sums += added
            summed = [_add(a, b) for a, b in zip(summed, found)] if summed else found
            # The last inner step would only be undone.
            if step + 1 < self._tp.inner_steps:
                undo += _write_down(variables, found, undo)
                if self._scales:
                    # An inner step that overflows is not taken; the outer one tells the optimiser of it.
                    sound = gradients.finite(found)
                    found = [gradients.where(sound, gradient, 0.0) for gradient in found]
                change = [gradients.times(gradient, self._tp.inner_learning_rate) for gradient in found]
                gradients.update(_subtract, list(zip(variables, change)))
        gradients.update(_put_back, undo[::-1])
        return sums, [gradients.times(gradient, 1.0 / self._tp.inner_steps) for gradient in summed]

    def _move_ahead(self, batch: dict[str, tf.Tensor], judge: discriminator_lib.Discriminator) -> None:
        """Moves the discriminator on the embeddings of all mini-batches `[k, b, ...]`, but for the last time."""
        flat = {name: tf.reshape(value, [-1, *value.shape[2:]]) for name, value in batch.items()}
        seen, judged = self._shown_by_chance(flat)
        embedding = tf.stop_gradient(self.model(seen, training=True))
        windows = self._mean_or(
            tf.reduce_sum(tf.cast(judged, tf.float32)), self._windows * self._tp.inner_steps
        )
        group = next(group for group in self._groups if group.name == _DISCRIMINATOR)
        for _ in range(self._tp.discriminator_steps - 1):
            with tf.GradientTape() as tape:
                of_window = discriminator_lib.log_likelihood(judge(embedding), flat[names.USER_HEAD])
                value = tf.reduce_sum(tf.where(judged, of_window, 0.0))
            share = -tf.math.divide_no_nan(tf.constant(self._tp.adversary), windows)
            found = [gradients.times(one, share) for one in tape.gradient(value, group.variables)]
            found = gradients.sum_over_replicas(found)
            group.optimizer.apply_gradients(zip(found, group.variables), skip_gradients_aggregation=True)

    def _shown_by_chance(self, batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """What the adversary is shown of windows, up to a place that is drawn, and of which, `[b]` bool; see `_shown`."""
        events = self._tp.adversary_events
        if events is None:
            return batch, _is_window(batch)
        lengths = _lengths(batch)
        places = tf.maximum(lengths - events, 0) + 1
        drawn = self.model.generator.uniform(tf.shape(lengths))
        back = tf.minimum(tf.cast(drawn * tf.cast(places, tf.float32), tf.int32), places - 1)
        return self._shown(batch, back), lengths >= events

    def _shown(self, batch: dict[str, tf.Tensor], back: tf.Tensor) -> dict[str, tf.Tensor]:
        """The last `adversary_events` events of windows without the `back` (`[b]`) last ones, and no others."""
        events = self._tp.adversary_events
        if events is None:
            return batch
        length = self._columns[names.HISTORY_ITEM_INDEX].shape[1]
        needed = self.model.padding_needed
        padding = max(0, length - events if needed is None else min(needed, length - events))
        width = tf.shape(batch[names.HISTORY_ITEM_INDEX])[1]
        place = tf.maximum((width - events - back)[:, tf.newaxis] + tf.range(events), 0)
        shown = dict(batch)
        for name in input_lib.per_place(self._columns):
            values = tf.gather(batch[name], place, axis=1, batch_dims=1)
            more = [[0, 0]] * (values.shape.rank - 2)
            shown[name] = tf.pad(values, [[0, 0], [padding, 0], *more])
        return shown

    def _inner(self, compute: Any, part: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[_Gradient]]:
        """What `sums` names of this replica's rows of a mini-batch, and what an inner step subtracts, over alpha."""
        windows = self._mean_or(tf.reduce_sum(tf.cast(self._judged(part), tf.float32)), self._windows)
        bucket = self._bucket(part[names.HISTORY_ITEM_INDEX])
        width = tf.gather(self._widths, bucket)
        places = tf.cast(tf.shape(part[names.HISTORY_ITEM_INDEX])[0] * width, tf.float32)
        if self.model.graph_per_width and len(self._widths) > 1:
            branches = [
                lambda known=known: compute(self._cut(part, known), places, windows) for known in self._widths
            ]
            sums, found = tf.switch_case(bucket, branches)
        else:
            sums, found = compute(self._cut(part, width), places, windows)
        return sums, self._directed(sums, found, places)

    def _divisor(self, targets: tf.Tensor) -> tf.Tensor:
        return self._mean_or(targets, self._events)

    def _mean_or(self, number: tf.Tensor, average: float) -> tf.Tensor:
        """What a sum over a mini-batch on all replicas is divided by, see `loop_settings.TPSettings.reduction`.

        Args:
          number: of what is summed up, on this replica.
          average: of all mini-batches.
        """
        if self._tp.reduction == "mean":
            return gradients.sum_over_replicas(number)
        return tf.constant(average, tf.float32)

    def _bucket(self, index: tf.Tensor) -> tf.Tensor:
        """Which of the widths is the least that windows `[b, L]` fit in, scalar int32."""
        if len(self._widths) == 1:
            return tf.constant(0)
        real = tf.reduce_any(index != names.PADDING_INDEX, axis=0)
        length = tf.size(real)
        longest = tf.where(
            tf.reduce_any(real), length - tf.argmax(tf.cast(real, tf.int32), output_type=tf.int32), 0
        )
        needed = tf.minimum(longest + (self.model.padding_needed or 0), length)
        return tf.searchsorted(self._widths, needed[tf.newaxis])[0]

    def _cut(self, part: dict[str, tf.Tensor], width: int | tf.Tensor) -> dict[str, tf.Tensor]:
        """The last `width` places of the windows."""
        if len(self._widths) == 1:
            return part
        begin = part[names.HISTORY_ITEM_INDEX].shape[1] - width
        return {**part, **{name: part[name][:, begin:] for name in input_lib.per_place(self._columns)}}

    def _value(
        self, batch: dict[str, tf.Tensor], places: tf.Tensor, windows: tf.Tensor | float = 0.0
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """V times the divisor of L, over `places`; see `loop.Loop._value`.

        Args:
          batch: a mini-batch's rows on this replica, `[b, ...]`.
          places: see there.
          windows: the divisor of l.
        """
        likelihood, judged = tf.zeros([]), self._judged(batch)
        if self.discriminator is None:
            total, count = self.model.summed_loss(batch, training=True)
            value = total / places
        else:
            if self._tp.adversary_events is None:
                total, count, embedding = self.model.loss_and_embedding(batch, training=True)
            else:
                total, count = self.model.summed_loss(batch, training=True)
                embedding = self.model(self._shown_by_chance(batch)[0], training=True)
            of_window = discriminator_lib.log_likelihood(
                self.discriminator(embedding), batch[names.USER_HEAD]
            )
            # Rows of padding have no user; what they embed may be anything.
            likelihood = tf.reduce_sum(tf.where(judged, of_window, 0.0))
            strength = self._tp.adversary * self._divisor(count) / places
            value = total / places + strength * tf.math.divide_no_nan(likelihood, windows)
        heads = judged & (batch[names.USER_HEAD] != 0)
        numbers = [tf.reduce_sum(tf.cast(which, tf.float32)) for which in (judged, heads)]
        return tf.stack([total, count, likelihood, *numbers]), value

    def _judged(self, part: dict[str, tf.Tensor]) -> tf.Tensor:
        """Which rows the adversary looks at, `[b]` bool."""
        events = self._tp.adversary_events
        return _is_window(part) if events is None else _lengths(part) >= events


def _is_window(part: dict[str, tf.Tensor]) -> tf.Tensor:
    """Which rows have a history, `[b]` bool: events stand at the right."""
    return part[names.HISTORY_ITEM_INDEX][:, -1] != names.PADDING_INDEX


def _lengths(part: dict[str, tf.Tensor]) -> tf.Tensor:
    """How many events each row has, `[b]` int32."""
    return tf.math.count_nonzero(
        part[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, axis=1, dtype=tf.int32
    )


def _blind(epoch: Mapping[str, Any]) -> bool:
    """Whether, by the history of an epoch, its adversary does not see what a probe tells the classes apart by."""
    # Of an epoch that showed the adversary nothing, nothing is known.
    seen = epoch.get("discriminator_gain")
    return seen is not None and seen <= 0 and epoch["head_auc"] > epoch["head_auc_at_start"] + _APART


def _of_guess(share: float) -> float:
    """The log-likelihood of who knows no more than which share is of the head."""
    return sum(part * math.log(part) for part in (share, 1.0 - share) if part > 0)


def _shuffled(users: np.ndarray, head: np.ndarray, seed: int) -> np.ndarray:
    """Of windows `[W]` of users, whether each is of the head, dealt out to users by chance."""
    _, first, own = np.unique(users, return_index=True, return_inverse=True)
    return np.random.default_rng(seed).permutation(head[first])[own]


def _add(one: _Gradient, two: _Gradient) -> _Gradient:
    """The sum of two gradients of a variable; of sparse ones, their slices one after the other."""
    if isinstance(one, tf.IndexedSlices) and isinstance(two, tf.IndexedSlices):
        return tf.IndexedSlices(
            tf.concat([one.values, two.values], axis=0),
            tf.concat([one.indices, two.indices], axis=0),
            one.dense_shape,
        )
    return tf.convert_to_tensor(one) + tf.convert_to_tensor(two)


def _write_down(variables: Sequence[tf.Variable], gradients: Sequence[_Gradient], before: _Undo) -> _Undo:
    """What a step by these gradients is going to overwrite: rows, where they are sparse.

    Args:
      before: what earlier steps have overwritten.
    """
    known = {id(variable) for variable, old in before if not isinstance(old, tf.IndexedSlices)}
    undo: _Undo = []
    for variable, gradient in zip(variables, gradients):
        if isinstance(gradient, tf.IndexedSlices):
            old = tf.gather(variable, gradient.indices)
            undo.append((variable, tf.IndexedSlices(old, gradient.indices, gradient.dense_shape)))
        elif id(variable) not in known:
            undo.append((variable, tf.identity(variable)))
    return undo


def _subtract(variable: tf.Variable, change: _Gradient) -> tf.Operation:
    if isinstance(change, tf.IndexedSlices):
        return variable.scatter_sub(change)
    return variable.assign_sub(change)


def _put_back(variable: tf.Variable, old: _Gradient) -> tf.Operation:
    if isinstance(old, tf.IndexedSlices):
        return variable.scatter_update(old)
    return variable.assign(old)
