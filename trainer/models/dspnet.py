"""DSPnet: predicting user behaviours with scene via dual sequence networks (under review at ICLR 2025)."""

from typing import Any

import tensorflow as tf

from schemas import names
from trainer.layers import augmentation, discriminator, history_encoder
from trainer.losses import adversary, contrast
from trainer.models import ranking, scenes
from trainer.settings import dspnet as dspnet_settings

# Of each history two other views are compared with it: section 4.1.
_VIEWS = 2
# Of each z: what its discriminator thinks of the prior's draws and of z (1/2 each where it cannot tell them apart), and
# the mean of z and of its square, of all its places (0 and 1 of the prior).
_MONITORS = ("chance_of_prior", "chance_of_encoded", "mean_z", "mean_square_z")


class DSPnet(scenes.SceneModel):
    """Items and scenes are two sequences, encoded apart; what follows of each is predicted from both.

    (2) h_V and h_S are the last states of two encoders (`history_encoder.HistoryEncoder`). (3) z_V = g_V([h_V; h_S]) and
    z_S = g_S([h_V; h_S]), perceptrons with ReLU between their layers, whose inner layers are as wide as their input and
    whose last ones are as wide as the embeddings. (5) o_V = r_V([z_V; z_S]) and o_S = r_S([z_V; z_S]), linear layers, which
    (6) score items and scenes by dot products with their embeddings.

    The loss of a window is eq. (9): L_V + lambda L_S + alpha L_APR + beta L_CCR, the last two in training alone.

    (4) L_APR: discriminators of each z, perceptrons, ascend it; encoders and g descend it, see `adversary.judge`. It is
    done in one pass: a step moves both, from where both were before. (8) L_CCR is the sum of the contrasts of h_V and of
    h_S, see `contrast.conditional_contrast`; two views of each history, of items and scenes apart, are drawn
    anew in each step.

    With `encoders: single`, there is one sequence of [e_v; e_s] and one h, which stands for the concatenation in (3).

    Args:
      settings: see `dspnet_settings.DSPnetSettings`.
      catalogue, seed: see `ranking.SequenceModel`.

    Raises:
      errors.InputError: if the data has no scenes.
    """

    def __init__(self, settings: dspnet_settings.DSPnetSettings, catalogue: ranking.Catalogue, seed: int = 0):
        super().__init__(settings, catalogue, seed)
        # In this order everywhere: of items, of scenes.
        widths = [settings.dim, settings.scene_dim]
        self._single = settings.encoders == dspnet_settings.SINGLE
        self._encoders = [
            history_encoder.HistoryEncoder(
                catalogue.window_length,
                width,
                settings.blocks,
                settings.heads,
                settings.ffn_ratio * width,
                settings.dropout,
                self.generator,
                masks=settings.ccr > 0,
            )
            for width in ([sum(widths)] if self._single else widths)
        ]
        read = [sum(widths)] * 2 if settings.concat else widths
        self._fusions = [
            [
                *(tf.keras.layers.Dense(inner, activation="relu") for _ in range(settings.mlp_layers - 1)),
                *([tf.keras.layers.Dense(width)] if settings.mlp_layers else []),
            ]
            for inner, width in zip(read, widths)
        ]
        self._selections = [tf.keras.layers.Dense(width) for width in widths]
        self._discriminators = []
        if settings.apr:
            for width in widths if settings.mlp_layers else read:
                judge = discriminator.Discriminator(settings.discriminator_hidden)
                # It makes its variables.
                judge(tf.zeros([1, width]))
                self._discriminators.append(judge)

    @property
    def adversary_variables(self) -> list[tf.Variable]:
        """Those of the discriminators."""
        return [variable for judge in self._discriminators for variable in judge.trainable_variables]

    @property
    def serving_variables(self) -> list[tf.Variable]:
        """All but the discriminators and the vectors of masked events."""
        masks = [variable for encoder in self._encoders for variable in encoder.training_variables]
        left_out = {variable.ref() for variable in [*self.adversary_variables, *masks]}
        return [variable for variable in self.variables if variable.ref() not in left_out]

    @property
    def monitors(self) -> tuple[str, ...]:
        """Whether the adversaries still learn something, and how near z is to the prior; see `_MONITORS`."""
        if not self.settings.apr:
            return ()
        return tuple(f"{of}_{name}" for of in ("item", "scene") for name in _MONITORS)

    @property
    def meets_replicas(self) -> bool:
        """Its negatives are windows of all replicas."""
        return self.settings.ccr > 0

    def queries(self, features: ranking.Features, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """o_V `[B, D]` and o_S `[B, D_S]`, eq. (5)."""
        return self._selected(self._fused(self._encoded(features, training)))

    def monitored_loss(
        self, features: ranking.Features, training: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The sum of eq. (9) over the windows that have a known target, their number, and the sums of `monitors`.

        Without `training` nothing is random: L_APR and L_CCR, which need draws, are left out.
        """
        encoded = self._encoded(features, training)
        fused = self._fused(encoded)
        losses, counted = self.target_losses(features, self._selected(fused))
        watched = tf.zeros([len(self.monitors)])
        if training and self.settings.ccr:
            losses += self.settings.ccr * self._contrasts(features, encoded, counted)
        if training and self.settings.apr:
            judged, watched = self._judged(fused, counted)
            losses += judged
        total = tf.reduce_sum(tf.where(counted, losses, 0.0))
        return total, tf.reduce_sum(tf.cast(counted, tf.float32)), watched

    def summed_loss(self, features: ranking.Features, training: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """The first two of `monitored_loss`."""
        total, count, _ = self.monitored_loss(features, training)
        return total, count

    def _encoded(self, features: ranking.Features, training: bool) -> list[tf.Tensor]:
        """h of each encoder, `[B, D]`, eq. (2)."""
        items, of_scenes = features[names.HISTORY_ITEM_INDEX], features[names.HISTORY_SCENE_INDEX]
        present = items != names.PADDING_INDEX
        return [
            encoder(vectors, present, training=training)[:, -1]
            for encoder, vectors in zip(self._encoders, self._vectors(items, of_scenes))
        ]

    def _vectors(self, items: tf.Tensor, of_scenes: tf.Tensor) -> list[tf.Tensor]:
        """What each encoder reads, `[B, W, D]`, of indices `[B, W]`."""
        vectors = [self._items(items), self._scene_table(of_scenes)]
        return [tf.concat(vectors, axis=2)] if self._single else vectors

    def _fused(self, encoded: list[tf.Tensor]) -> list[tf.Tensor]:
        """z_V and z_S, `[B, D]` and `[B, D_S]` or as wide as the concatenation, eq. (3)."""
        found = []
        for own, layers in zip(self._joined(encoded), self._fusions):
            for layer in layers:
                own = layer(own)
            found.append(own)
        return found

    def _selected(self, fused: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """o_V and o_S, eq. (5)."""
        items, of_scenes = (layer(own) for own, layer in zip(self._joined(fused), self._selections))
        return items, of_scenes

    def _joined(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """What is made of each sequence is made of: of both together, or of its own."""
        return [tf.concat(values, axis=1)] * 2 if self.settings.concat else values

    def _contrasts(
        self, features: ranking.Features, encoded: list[tf.Tensor], counted: tf.Tensor
    ) -> tf.Tensor:
        """L_CCR of each window, `[B]` float32: the sum over the sequences."""
        settings = self.settings
        return tf.add_n(
            [
                contrast.conditional_contrast(
                    anchors,
                    positives,
                    counted,
                    settings.positive_temperature,
                    settings.negative_temperature,
                    settings.contrast_weights_gradient,
                    None if settings.contrast_equal else contrast.keys_of(sequences),
                )
                for anchors, positives, sequences in zip(
                    encoded, self._views(features), self._sequences(features), strict=True
                )
            ]
        )

    def _sequences(self, features: ranking.Features) -> list[tf.Tensor]:
        """What each encoder reads, as indices."""
        both = [features[names.HISTORY_ITEM_INDEX], features[names.HISTORY_SCENE_INDEX]]
        return [tf.concat(both, axis=1)] if self._single else both

    def _views(self, features: ranking.Features) -> list[tf.Tensor]:
        """h+ of each encoder: `[views, B, D]`, in one pass."""
        items, of_scenes = (
            tf.tile(features[name], [_VIEWS, 1])
            for name in (names.HISTORY_ITEM_INDEX, names.HISTORY_SCENE_INDEX)
        )
        # A view leaves padding where it is.
        present = items != names.PADDING_INDEX
        views = [augmentation.draw(present, self.generator) for _ in self._encoders]
        vectors = self._vectors(views[0].of(items), views[-1].of(of_scenes))
        found = []
        for encoder, own, view in zip(self._encoders, vectors, views):
            states = encoder(own, present, masked=view.masked, training=True)[:, -1]
            found.append(tf.reshape(states, [_VIEWS, -1, states.shape[-1]]))
        return found

    def _judged(self, fused: list[tf.Tensor], counted: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """alpha L_APR of each window, `[B]` float32, and the sums of `monitors` over those that count."""
        draw, values, watched = adversary.PRIORS[self.settings.prior], [], []
        for encoded, judge in zip(fused, self._discriminators, strict=True):
            prior = draw(tf.shape(encoded), self.generator)
            judged = adversary.judge(judge, encoded, prior, self.settings.apr)
            values.append(judged.value)
            z = tf.stop_gradient(tf.cast(encoded, tf.float32))
            moments: Any = [tf.reduce_mean(z, axis=1), tf.reduce_mean(tf.square(z), axis=1)]
            watched += [judged.prior, judged.encoded, *moments]
        return tf.add_n(values), tf.reduce_sum(tf.where(counted, tf.stack(watched), 0.0), axis=1)
