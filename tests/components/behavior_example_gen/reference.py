"""Windows the slow way: plain Python over one event after the other, to check the kernels against."""

import collections
import math


def head_threshold(counts):
    """The least count that at most a fifth have or exceed."""
    best = max(counts, default=0) + 1
    for count in sorted(set(counts), reverse=True):
        if sum(c >= count for c in counts) <= 0.2 * len(counts):
            best = count
    return best


def thirds(counts):
    """The counts of the last users of the first third and of the second, were they all in a row."""
    row = sorted(counts)
    return [row[math.ceil(part * len(row) / 3) - 1] for part in (1, 2)] if row else [0, 0]


def user_group(size, thirds):
    return "low" if size <= thirds[0] else "medium" if size <= thirds[1] else "high"


def length_group(size):
    return (
        "50+"
        if size >= 50
        else "20-49"
        if size >= 20
        else "10-19"
        if size >= 10
        else "5-9"
        if size >= 5
        else "1-4"
    )


def without_rare(events, min_item_events, min_user_events):
    """The events of a log that a filter leaves: items first, then users by what they have left."""
    of_item = collections.Counter(e["item"] for e in events)
    events = [e for e in events if of_item[e["item"]] >= min_item_events]
    of_user = collections.Counter(e["user"] for e in events)
    return [e for e in events if of_user[e["user"]] >= min_user_events]


def roles(times, out, by, targets, cuts, may_be_target=None):
    """The role of each event of one user; `may_be_target` marks those that eval and test may ask for."""
    count = len(times)
    if may_be_target is not None:
        return _roles_of_some(times, out, by, targets, cuts, may_be_target)
    if "time" in by:
        period = ["train" if t < cuts[0] else "eval" if t < cuts[1] else "test" for t in times]
        wanted = "last" if "leave_one_out" in by else targets
        result = []
        for i, p in enumerate(period):
            if p == "train":
                result.append(None if out else "train")
                continue
            same = [j for j, q in enumerate(period) if q == p]
            chosen = wanted == "all" or i == (same[0] if wanted == "first" else same[-1])
            result.append(p if chosen else None)
        return result
    leaves = "leave_one_out" in by or out
    result = ["train" if not out else None] * count
    if leaves and (count >= 3 or out):
        if count >= 2:
            result[-2] = "eval"
        result[-1] = "test"
    return result


def _roles_of_some(times, out, by, targets, cuts, may_be_target):
    if "time" in by:
        result, asked = [], {"eval": [], "test": []}
        for i, t in enumerate(times):
            period = "train" if t < cuts[0] else "eval" if t < cuts[1] else "test"
            result.append("train" if period == "train" and not out else None)
            if period != "train" and may_be_target[i]:
                asked[period].append(i)
        wanted = "last" if "leave_one_out" in by else targets
        for period, found in asked.items():
            for i in {"all": found, "first": found[:1], "last": found[-1:]}[wanted]:
                result[i] = period
        return result
    if "leave_one_out" not in by and not out:
        return ["train"] * len(times)
    result = [None] * len(times)
    found = [i for i, may in enumerate(may_be_target) if may]
    # Two events at least are left to learn the test target from, unless nothing is learnt anyway.
    if found and (out or found[-1] >= 2):
        first_left_out = found[-1]
        result[found[-1]] = "test"
        if len(found) > 1 and found[-2] >= 1:
            first_left_out = found[-2]
            result[found[-2]] = "eval"
    else:
        first_left_out = len(times)
    if not out:
        result[:first_left_out] = ["train"] * first_left_out
    return result


def recent_from(times, share):
    """The moment from which times are recent: at most that share of all, and in any case the last moment."""
    moments = sorted(set(times))
    fits = [moment for moment in moments if sum(t >= moment for t in times) <= share * len(times) + 1e-9]
    return min(fits, default=moments[-1] if moments else None)


def windows(
    events,
    *,
    length,
    train,
    stride,
    min_history,
    by,
    targets,
    cuts,
    held_out,
    target_behaviors=None,
    recent_share=0.1,
):
    """All windows of a log as a list of dicts.

    Args:
      events: dicts with user, item, time (and behavior), in the order of the log.
      held_out: users that train nothing.
    """
    users = collections.defaultdict(list)
    for event in events:
        users[event["user"]].append(event)
    for sequence in users.values():
        sequence.sort(key=lambda e: e["time"])
    role = {}
    for u, s in users.items():
        asked = None if target_behaviors is None else [e["behavior"] in target_behaviors for e in s]
        role[u] = roles([e["time"] for e in s], u in held_out, by, targets, cuts, asked)
    trained = {u: role[u].count("train") for u in users}
    items = collections.Counter(
        e["item"] for u, s in users.items() for e, r in zip(s, role[u]) if r == "train"
    )
    item_threshold = head_threshold(list(items.values()))
    user_threshold = head_threshold([n for n in trained.values() if n])
    groups = thirds([n for n in trained.values() if n])
    learnt = [e["time"] for u, s in users.items() for e, r in list(zip(s, role[u]))[1:] if r == "train"]
    recent = recent_from(learnt, recent_share)

    result = []
    for user, sequence in users.items():
        ends = {"train": [], "eval": [], "test": []}
        for i, r in enumerate(role[user]):
            if r in ("eval", "test"):
                ends[r].append(i)
        last = trained[user] - 1
        if trained[user]:
            if train == "last":
                ends["train"] = [last]
            else:
                ends["train"] = [last - k * stride for k in range(max(1, math.ceil(last / stride)))]
        for split, positions in ends.items():
            for i in positions:
                if i < min_history:
                    continue
                size = trained[user] or i
                history = sequence[max(0, i - length) : i]
                target = sequence[i]
                behaviors = {}
                if "behavior" in target:
                    behaviors = {
                        "history_behavior": [e["behavior"] for e in history],
                        "target_behavior": target["behavior"],
                    }
                result.append(
                    {
                        **behaviors,
                        "split": split,
                        "user_id": user,
                        "history_item_id": [e["item"] for e in history],
                        "history_timestamp": [e["time"] for e in history],
                        "target_item_id": target["item"],
                        "target_timestamp": target["time"],
                        "recent_targets": sum(e["time"] >= recent for e in [*history[1:], target])
                        if split == "train"
                        else 0,
                        "seen_item_id": []
                        if split == "train"
                        else list(dict.fromkeys(e["item"] for e in sequence[:i])),
                        "user_frequency": "head" if size >= user_threshold else "tail",
                        "item_frequency": "new"
                        if not items[target["item"]]
                        else "head"
                        if items[target["item"]] >= item_threshold
                        else "tail",
                        "history_length": length_group(i),
                        "user_status": "existing" if trained[user] else "new",
                        "user_group": user_group(size, groups),
                    }
                )
    return result


def exposures(
    events,
    *,
    steps,
    exposure=None,
    horizon=None,
    censored="drop",
    inconsistent="keep",
    history=0,
    targets="all",
    cuts,
    held_out=(),
):
    """All exposures of a log as a list of dicts of lists, and the counts of what became of them.

    Args:
      events: dicts with user, item, time (ms), behavior or labels (a dict), and features (a dict of lists), in
        the order of the log.
      horizon: in ms.
    """
    users = collections.defaultdict(list)
    for event in events:
        users[event["user"]].append(event)
    for sequence in users.values():
        sequence.sort(key=lambda e: e["time"])
    role = {
        u: roles(
            [e["time"] for e in s],
            u in held_out,
            ("time",),
            targets,
            cuts,
            [exposure is None or e["behavior"] == exposure for e in s],
        )
        for u, s in users.items()
    }
    trained = {u: role[u].count("train") for u in users}
    items = collections.Counter(
        e["item"] for u, s in users.items() for e, r in zip(s, role[u]) if r == "train"
    )
    item_threshold = head_threshold(list(items.values()))
    user_threshold = head_threshold([n for n in trained.values() if n])
    groups = thirds([n for n in trained.values() if n])
    end = max(e["time"] for e in events)
    known_until = {"train": min(cuts[0], end + 1), "eval": min(cuts[1], end + 1), "test": end + 1}

    result = []
    counts = {"exposures": 0, "censored": 0, "inconsistent": 0}
    for user, sequence in users.items():
        for i, event in enumerate(sequence):
            split, time = role[user][i], event["time"]
            if split is None or (exposure is not None and event["behavior"] != exposure):
                continue
            counts["exposures"] += 1
            if exposure is None:
                labels = dict(event["labels"])
            else:
                labels = {}
                for step in steps:
                    labels[step] = 0
                    for later in sequence[i + 1 :]:
                        if (
                            later["behavior"] == step
                            and later["item"] == event["item"]
                            and later["time"] <= time + horizon
                            and later["time"] < known_until[split]
                        ):
                            labels[step] = 1
                if time + horizon >= known_until[split]:
                    counts["censored"] += 1
                    if censored == "drop":
                        continue
                    labels = {step: 1 if label == 1 else -1 for step, label in labels.items()}
            broken = [
                earlier
                for n, earlier in enumerate(steps)
                if labels[earlier] == 0 and any(labels[later] == 1 for later in steps[n + 1 :])
            ]
            if broken:
                counts["inconsistent"] += 1
                if inconsistent == "drop":
                    continue
                if inconsistent == "fill":
                    labels.update(dict.fromkeys(broken, 1))
            before = [e for e in sequence if e["time"] < time]
            size = trained[user] or len(before)
            found = {
                "split": split,
                "user_id": [user],
                "item_id": [event["item"]],
                "timestamp": [time],
                **event.get("features", {}),
                **{f"label_{step}": [labels[step]] for step in steps},
                "user_frequency": ["head" if size >= user_threshold else "tail"],
                "item_frequency": [
                    "new"
                    if not items[event["item"]]
                    else "head"
                    if items[event["item"]] >= item_threshold
                    else "tail"
                ],
                "history_length": [length_group(len(before)) if before else "0"],
                "user_status": ["existing" if trained[user] else "new"],
                "user_group": [user_group(size, groups)],
            }
            if history:
                last = before[-history:]
                found["history_item_id"] = [e["item"] for e in last]
                found["history_timestamp"] = [e["time"] for e in last]
                if "behavior" in event:
                    found["history_behavior"] = [e["behavior"] for e in last]
            result.append(found)
    return result, counts
