"""The fields of an exposure: what a model of exposures has to know of the transformed features."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Field:
    """One feature of an exposure after Transform.

    Attributes:
      name: as in `item_price`.
      key: of the transformed feature, as in `item_price_index`.
      kind: `index` (int64 `[B]`), `indices` (int64 `[B, M]`, padded with 0 at the end) or `value`
        (float32 `[B]`).
      size: rows of the embedding table, reserved ids included; 0 of a `value`.
      table: fields of the same table share their embeddings.
    """

    name: str
    key: str
    kind: str
    size: int
    table: str
