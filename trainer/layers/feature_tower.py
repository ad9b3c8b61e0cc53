"""The feature tower of BPCM (Tang et al.): self-attention, aggregation, and the gate between them."""

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2


class FieldAttention(tf.keras.layers.Layer):
    """Eq. (2)-(3): softmax(Q K^T / sqrt(d)) V with one head and no biases.

    Args:
      dim: d.
    """

    def __init__(self, dim: int):
        super().__init__()
        self._scale = dim**-0.5
        self._query = tf.keras.layers.Dense(dim, use_bias=False, name="query")
        self._key = tf.keras.layers.Dense(dim, use_bias=False, name="key")
        self._value = tf.keras.layers.Dense(dim, use_bias=False, name="value")

    def call(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """Queries of `[B, I, d]`, keys and values of `[B, J, d]`, to `[B, I, d]`."""
        logits = tf.matmul(self._query(queries) * self._scale, self._key(keys), transpose_b=True)
        return tf.matmul(tf.nn.softmax(logits), self._value(keys))


class Aggregation(tf.keras.layers.Layer):
    """Eq. (4), the feature-aware aggregation: ReLU(W_2 ReLU(W_1 E_F + b_1) + b_2).

    The unit is there since attention only relates pairs of features, and is to refine with more than
    that; so E_F is taken as one vector of all I d numbers, and the result is cut into tokens again.
    (Taken token by token, as eq. (2) is, the unit would not aggregate anything.)

    Args:
      fields: I.
      dim: d.
      hidden: width of the first layer.
    """

    def __init__(self, fields: int, dim: int, hidden: int):
        super().__init__()
        self._shape = [-1, fields, dim]
        self._first = tf.keras.layers.Dense(hidden, activation="relu", name="first")
        self._second = tf.keras.layers.Dense(fields * dim, activation="relu", name="second")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """`[B, I, d]` to `[B, I, d]`."""
        flat = tf.reshape(tokens, [-1, self._shape[1] * self._shape[2]])
        return tf.reshape(self._second(self._first(flat)), self._shape)


class ComplementaryGate(tf.keras.layers.Layer):
    """Eq. (5)-(6): W_b = sigmoid(W_C E_org + W_D E_Att), E_Att * W_b + E_org * (1 - W_b).

    W_C and W_D are d x d, so they are applied to each token.

    Args:
      dim: d.
    """

    def __init__(self, dim: int):
        super().__init__()
        self._of_aggregated = tf.keras.layers.Dense(dim, use_bias=False, name="W_C")
        self._of_attended = tf.keras.layers.Dense(dim, use_bias=False, name="W_D")

    def call(self, attended: tf.Tensor, aggregated: tf.Tensor) -> tf.Tensor:
        """E_Att and E_org, each `[B, I, d]`, to q, `[B, I, d]`."""
        share = tf.sigmoid(self._of_aggregated(aggregated) + self._of_attended(attended))
        return attended * share + aggregated * (1 - share)


class FeatureTower(tf.keras.layers.Layer):
    """Section 3.3: what a step makes of the features.

    Without one of the two units the other is all there is, and there is nothing to gate; without the
    gate they are added.

    Args:
      fields: I.
      dim: d.
      hidden: of `Aggregation`.
      attention, aggregation, gate: False leaves a unit out (the ablations w/o Att, w/o Org, w/o Gate).
    """

    def __init__(
        self,
        fields: int,
        dim: int,
        hidden: int,
        attention: bool = True,
        aggregation: bool = True,
        gate: bool = True,
    ):
        super().__init__()
        self._attention: FieldAttention | None = FieldAttention(dim) if attention else None
        self._aggregation: Aggregation | None = Aggregation(fields, dim, hidden) if aggregation else None
        gated = attention and aggregation and gate
        self._gate: ComplementaryGate | None = ComplementaryGate(dim) if gated else None

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """E_F, `[B, I, d]`, to q, `[B, I, d]`."""
        aggregated = None if self._aggregation is None else self._aggregation(tokens)
        attended = None if self._attention is None else self._attention(tokens, tokens)
        if aggregated is None or attended is None:
            return attended if aggregated is None else aggregated
        return attended + aggregated if self._gate is None else self._gate(attended, aggregated)
