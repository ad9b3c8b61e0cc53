"""Settings of an autoencoder of histories."""

from typing import ClassVar, Literal

import pydantic

from trainer.settings import users


class UserAutoencoderSettings(users.PretrainingSettings):
    """An autoencoder of histories, with the encoder `gru` that of Srivastava et al. (ICML 2015). See `PretrainingSettings`.

    Attributes:
      hidden: the share of events that the decoder is not told when it says the next one, so that it has to ask the embedding.
    """

    model_class: ClassVar[str] = "trainer.models.user_autoencoder.UserAutoencoder"
    paper: ClassVar[str] = (
        "Srivastava et al., Unsupervised Learning of Video Representations using LSTMs, ICML 2015"
    )
    summary: ClassVar[str] = "embeddings of users, learnt without labels by telling their histories again"
    losses: ClassVar[tuple[str, ...]] = ("softmax", "sampled_softmax")

    name: Literal["user_autoencoder"]
    encoder: Literal["buckets", "causal", "gru"] = "gru"
    blocks: int = pydantic.Field(default=1, ge=1)
    hidden: float = pydantic.Field(default=0.5, ge=0, le=1)
