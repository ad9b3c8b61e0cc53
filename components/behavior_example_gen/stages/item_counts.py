"""How many events each item has, as tables that can be added up."""

import pyarrow as pa
import pyarrow.compute as pc

from schemas import names

EMPTY = pa.table({"item": pa.array([], pa.binary()), "events": pa.array([], pa.int64())})


def of_table(table: pa.Table) -> pa.Table:
    """How many events of a table each item has."""
    counted = pc.value_counts(table.column(names.ITEM_ID))
    return pa.table({"item": counted.field("values"), "events": counted.field("counts")})


def added(*counts: pa.Table) -> pa.Table:
    """Adds numbers of events up by item."""
    total = pa.concat_tables(counts).group_by("item").aggregate([("events", "sum")])
    return total.select(["item", "events_sum"]).rename_columns(["item", "events"])
