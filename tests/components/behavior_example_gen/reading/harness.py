"""Reads a file as a run does, without a run."""

from components.behavior_example_gen import readers, spec


def read(path, **settings):
    """The good rows as dicts of plain values, the bad ones as (row, reason), and the notes of all blocks."""
    # Many times of tests count from 0.
    log = spec.LogSpec.from_values({"path": str(path), "earliest": "1970-01-01", **settings})
    rows, rejects, notes = [], [], {}
    for block in readers.read_all([str(path)], log):
        for row in block.batch.to_pylist():
            rows.append({key: _plain(value) for key, value in row.items()})
        rejects += [(reject.row, reject.reason) for reject in block.rejects]
        for key, count in block.notes.items():
            notes[key] = notes.get(key, 0) + count
    return rows, sorted(rejects), notes


def _plain(value):
    if isinstance(value, list):
        return [part.decode() for part in value]
    if isinstance(value, float) and value != value:
        return None
    return value.decode() if isinstance(value, bytes) else value


def ids(rows):
    return [(row["user_id"], row["item_id"]) for row in rows]
