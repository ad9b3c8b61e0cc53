"""Settings of the pretraining of a network of users by next items."""

from typing import ClassVar, Literal

from trainer.settings import sasrec, users


class UserNextSettings(users.PretrainingSettings):
    """Next items as a pretraining, as SASRec's (Kang and McAuley, ICDM 2018). See `PretrainingSettings`."""

    model_class: ClassVar[str] = "trainer.models.user_next.UserNext"
    paper: ClassVar[str] = sasrec.SASRecSettings.paper
    summary: ClassVar[str] = "embeddings of users, learnt without labels by predicting each next item"
    losses: ClassVar[tuple[str, ...]] = ("softmax", "sampled_softmax")

    name: Literal["user_next"]
    # Only where an event sees nothing that follows can it predict the next one.
    encoder: Literal["causal", "gru"] = "causal"
