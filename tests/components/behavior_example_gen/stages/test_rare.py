"""What `log.filter` leaves out."""

import collections
import math

import pytest

from components.behavior_example_gen import spec
from components.behavior_example_gen.windows.next import NextWindow
from schemas import errors, names
from tests.components.behavior_example_gen import harness, reference
from tests.components.behavior_example_gen.cutting import test_next


@pytest.mark.parametrize("by", [("leave_one_out",), ("time",)])
def test_a_filter_equals_plain_python_on_what_it_leaves(tmp_path, by):
    events = test_next.make_log(3, users=60, events=900, items=120)
    for number, event in enumerate(events):
        event["time"] = number  # so that the cut in time falls on one event
    left = reference.without_rare(events, 4, 5)
    of_items = collections.Counter(e["item"] for e in events)
    path = harness.write_csv(tmp_path / "log.csv", [f"{e['user']},{e['item']},{e['time']}" for e in events])
    log = spec.LogSpec(
        path=path, timestamp_unit="ms", filter=spec.FilterSpec(min_item_events=4, min_user_events=5)
    )
    found, profiled, _ = harness.run(tmp_path, log, NextWindow(length=5, shards=3), spec.SplitSpec(by=by))
    after_items = sum(of_items[e["item"]] >= 4 for e in events)
    users = {e["user"] for e in events}
    assert profiled["filter"] == {
        "min_item_events": 4,
        "min_user_events": 5,
        "items": sum(count < 4 for count in of_items.values()),
        "item_events": len(events) - after_items,
        "users": len(users) - len({e["user"] for e in left}),
        "user_events": after_items - len(left),
    }
    # Each part of the filter has something to do here.
    assert min(profiled["filter"].values()) > 0
    assert (profiled["rows"], profiled["events"]) == (len(events), len(left))
    cuts = None
    if by == ("time",):
        # The first moment before which at least that share of what is left lies.
        cuts = [left[math.ceil(share * len(left))]["time"] for share in (0.8, 0.9)]
    expected = reference.windows(
        left,
        length=5,
        train="sliding",
        stride=5,
        min_history=1,
        by=by,
        targets="all",
        cuts=cuts,
        held_out=set(),
    )
    for split in names.SPLITS:
        mine = [{names.SEEN_ITEM_ID: [], **w, "split": split} for w in found[split]]
        assert sorted(map(harness.key, mine)) == sorted(
            harness.key(w) for w in expected if w["split"] == split
        )


def test_a_filter_that_leaves_nothing_says_so(tmp_path):
    log = spec.LogSpec(
        path=harness.write_csv(tmp_path / "log.csv", harness.log_rows()),
        timestamp_unit="ms",
        filter=spec.FilterSpec(min_item_events=99),
    )
    with pytest.raises(errors.InputError, match="log.filter leaves nothing.*7 of 7 items with fewer than 99"):
        harness.run(tmp_path, log)
