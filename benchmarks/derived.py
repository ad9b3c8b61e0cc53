"""Logs that are made of others."""

import filecmp
import functools
import os
from collections.abc import Callable

import pandas as pd

_DAY_MS = 86_400_000
# 2017-10-02, UTC.
_GLOBO_FROM = 1_506_902_400_000
# The columns of the census, in their order (census-income.names of the UCI repository).
_CENSUS = (
    "age class_of_worker industry_code occupation_code education wage_per_hour enrolled marital_status "
    "industry occupation race hispanic_origin sex union_member unemployment_reason employment "
    "capital_gains capital_losses dividends tax_filer previous_region previous_state household_detail "
    "household weight migration_msa migration_region migration_within_region same_house_a_year_ago "
    "previous_in_sunbelt employer_size parents father_born mother_born born citizenship self_employed "
    "veterans_questionnaire veterans_benefits weeks_worked year income"
).split()


def _ratings_as_behaviors(data: str, folder: str) -> str:
    """MovieLens-1M of the users with all ratings: 1 and 2 are a dislike, 3 is neutral, 4 and 5 are a like."""
    log = pd.read_csv(os.path.join(data, "ml-1m", "sequences.csv.gz"))
    complete = log["rating"].notna().groupby(log["user_id"]).transform("all")
    log = log[complete]
    log["behavior"] = pd.cut(log["rating"], [0, 2, 3, 5], labels=["dislike", "neutral", "like"])
    return _write(log[["user_id", "item_id", "position", "behavior"]], folder, "ml-1m-behaviors.csv")


def _census(data: str, folder: str) -> str:
    """A row of the census as an exposure, a second after the one before; two tasks, which are no chain.

    `income` is above 50,000 dollars a year, `never_married` a value of the marital status. Neither column
    is kept beside its label, nor is the weight of the row in the sample, which is no attribute.
    """
    path = os.path.join(data, "census-income", "census-income.test.gz")
    log = pd.read_csv(path, header=None, names=_CENSUS, skipinitialspace=True, keep_default_na=False)
    log["income"] = (log["income"] == "50000+.").astype(int)
    log["never_married"] = (log.pop("marital_status") == "Never married").astype(int)
    log["person"] = range(len(log))
    log["form"] = "census"
    return _write(log.drop(columns="weight"), folder, "census.csv")


def _three_days_of_globo(data: str, folder: str) -> str:
    """The clicks of Globo.com from 2017-10-02 to 2017-10-04 of a fifth of the users, by a hash of their id."""
    path = os.path.join(data, "globo", "clicks.parquet")
    columns = ["user_id", "click_article_id", "click_timestamp", "click_referrer_type"]
    log = pd.read_parquet(path, columns=columns)
    days = log["click_timestamp"].between(_GLOBO_FROM, _GLOBO_FROM + 3 * _DAY_MS, inclusive="left")
    chosen = log["user_id"] * 2654435761 % 2**32 % 5 == 0
    return _write(log[days & chosen], folder, "globo-3-days.csv")


def _returns_of_online_retail(data: str, folder: str) -> str:
    """Online Retail with a behaviour: `return` where the quantity is negative, else `buy`."""
    log = pd.read_parquet(os.path.join(data, "online-retail", "transactions.parquet"))
    log["behavior"] = (log["Quantity"] < 0).map({True: "return", False: "buy"})
    return _write(log, folder, "online-retail-returns.csv")


def _tmall_without_clicks(data: str, folder: str) -> str:
    """Tmall without its clicks: each of them has a buy of the same user and item, mostly on its day, and tells of it."""
    log = pd.read_csv(os.path.join(data, "ijcai15", "events.csv.gz"))
    return _write(log[log["behavior"] != "click"], folder, "ijcai15-no-clicks.csv")


def _shuffled_days_of_tmall(data: str, folder: str) -> str:
    """Tmall without its clicks, the events of a user's day in an order by chance.

    Times are days, and the file has the favourites of a user's day before the carts and those before the buys, each by
    ascending item: an order that no user made, and that tells which item is next.
    """
    log = pd.read_csv(os.path.join(data, "ijcai15", "events.csv.gz"))
    log = log[log["behavior"] != "click"]
    log = log.sample(frac=1, random_state=0).sort_values(["user_id", "timestamp"], kind="stable")
    return _write(log, folder, "ijcai15-shuffled-days.csv")


def _behaviors_of_pairs(data: str, folder: str) -> str:
    """Retailrocket with the behaviour of an event looked up by user and item, as the code that CASM's authors published
    does: it is the last one that the user ever had with the item, so that a view tells of a buy that comes later.

    Buys stay buys, that the same are asked for; whatever else is of a pair with a buy at its end is `bought`.
    """
    log = pd.read_csv(os.path.join(data, "retailrocket", "events.csv.gz"))
    last = (
        log.sort_values("timestamp", kind="stable")
        .groupby(["user_id", "item_id"])["behavior"]
        .transform("last")
    )
    buys = log["behavior"] == "buy"
    log["behavior"] = log["behavior"].where(buys, last.where(last != "buy", "bought"))
    return _write(log, folder, "retailrocket-pairs.csv")


def _buys(name: str, data: str, folder: str) -> str:
    """The buys alone of a log in a folder of that name."""
    log = pd.read_csv(os.path.join(data, name, "events.csv.gz"))
    return _write(log[log["behavior"] == "buy"], folder, f"{name}-buys.csv")


def _write(log: pd.DataFrame, folder: str, name: str) -> str:
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    partial = f"{path}.{os.getpid()}.tmp"
    log.to_csv(partial, index=False)
    if os.path.exists(path) and filecmp.cmp(partial, path, shallow=False):
        # A file of another time is another log to the pipeline, which would cut its windows again.
        os.remove(partial)
    else:
        os.replace(partial, path)
    return path


# What makes the log, from the folders of the data and of what is made, by the name that studies use.
LOGS: dict[str, Callable[[str, str], str]] = {
    "derived:ml-1m-behaviors": _ratings_as_behaviors,
    "derived:census": _census,
    "derived:globo-3-days": _three_days_of_globo,
    "derived:online-retail-returns": _returns_of_online_retail,
    "derived:ijcai15-no-clicks": _tmall_without_clicks,
    "derived:ijcai15-shuffled-days": _shuffled_days_of_tmall,
    "derived:retailrocket-pairs": _behaviors_of_pairs,
    "derived:retailrocket-buys": functools.partial(_buys, "retailrocket"),
    "derived:ijcai15-buys": functools.partial(_buys, "ijcai15"),
}
