"""What a training says of how far it is, in the log and for TensorBoard."""

import logging
from collections.abc import Sequence

import tensorflow as tf

from schemas import figures
from trainer.settings import training as training_settings

_PROGRESS = logging.getLogger("footfall.progress")
# The epochs that say how long the next one will be: the first has the graph's making in it.
_EPOCHS_ASKED = 3


def duration(seconds: float) -> str:
    """`45 s`, `2 min 05 s` or `1 h 05 min`."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Progress:
    """Says how far a training is.

    Args:
      settings: of the training.
      log_dir: of TensorBoard; None writes none.
    """

    def __init__(self, settings: training_settings.TrainingSettings, log_dir: str | None = None):
        self._settings = settings
        self._writer = tf.summary.create_file_writer(log_dir) if log_dir else None

    def step(
        self, epoch: int, done: int, steps: int, targets_per_s: float, seconds: float, spent: float
    ) -> None:
        """How far an epoch is, and how long the rest will be.

        Args:
          epoch: from 0.
          done: how many of its `steps` are.
          targets_per_s: in it.
          seconds: that it has taken so far.
          spent: seconds of training in all.
        """
        of_epoch = seconds * steps / done
        rest = of_epoch - seconds
        _PROGRESS.info(
            "epoch %d/%d step %s of %s %s targets/s, about %s left of it%s",
            epoch + 1,
            self._settings.epochs,
            f"{done:,}",
            f"{steps:,}",
            f"{targets_per_s:,.0f}",
            duration(rest),
            self.left(epoch + 1, of_epoch, spent, rest),
        )

    def start(self, record: dict[str, float], objective: str) -> None:
        """What the weights are worth that a training starts from.

        Args:
          record: what the history has of them, as epoch 0.
          objective: the metric that is to become large.
        """
        _PROGRESS.info("before training %s %s", objective, figures.metric(record[objective]))
        self._write(record)

    def epoch(
        self,
        record: dict[str, float],
        objective: str,
        history: Sequence[dict[str, float]] | None,
        spent: float,
    ) -> None:
        """What came of an epoch, and how long all that follow will take.

        Args:
          record: what the history has of it.
          objective: the metric that is to become large; an epoch may have none.
          history: all epochs until then; None of the last one.
          spent: seconds of training in all.
        """
        measured = f" {objective} {figures.metric(record[objective])}" if objective in record else ""
        left = ""
        if history is not None:
            lasted = sorted(
                one["seconds"] + one.get("evaluation_seconds", 0.0) for one in history[-_EPOCHS_ASKED:]
            )
            left = self.left(int(record["epoch"]), lasted[len(lasted) // 2], spent)
        _PROGRESS.info(
            "epoch %d/%d loss %s%s %s targets/s%s",
            record["epoch"],
            self._settings.epochs,
            figures.metric(record["loss"]),
            measured,
            f"{record['targets_per_s']:,.0f}",
            left,
        )
        self._write(record)

    def _write(self, record: dict[str, float]) -> None:
        """An epoch for TensorBoard."""
        if not self._writer:
            return
        with self._writer.as_default(step=int(record["epoch"])):
            for name, value in record.items():
                if name != "epoch":
                    tf.summary.scalar(name, value)
        self._writer.flush()

    def left(self, done: int, of_epoch: float, spent: float, rest: float = 0.0) -> str:
        """How long training will still take if nothing stops it, after so many epochs."""
        epochs = self._settings.epochs - done
        if epochs <= 0:
            return ""
        left = rest + epochs * of_epoch
        if self._settings.max_seconds is not None:
            left = min(left, max(self._settings.max_seconds - spent, rest))
        return f", at most {duration(left)} in all" if rest else f", at most {duration(left)} left"
