"""What the losses of next-item models say of themselves."""


class Loss:
    """A loss on states of a model that ranks; see `losses.ranking` and `losses.sets`."""

    # Whether a call wants the items of the targets' windows, `[T, W]` catalogue rows, after all else.
    reads_windows: bool = False
    # Of which targets it is, as of `trainer.settings.losses.LossSettings`.
    targets: str = "next"
