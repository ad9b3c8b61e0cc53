#!/usr/bin/env python
"""Writes the table of licences in docs/supply-chain.md anew, from what the packages say of themselves.

Run it in an environment that `make env` has made, after the locks have changed. Packages that only the other lock has are
looked for in the folders that are given (`uv pip install --no-deps --target FOLDER NAME`), then in the table of before.
"""

import importlib.metadata
import pathlib
import re
import sys
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "supply-chain.md"
LOCKS = ("py310-tfx116", "py311-tfx121", "build")
_BEGIN, _END = "<!-- licences: made by requirements/licences.py -->\n", "<!-- end of licences -->"
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)
_LONGEST = 60


def locked(lock: str) -> dict[str, list[str]]:
    """The versions of each package of a lock; several where they differ by version of Python."""
    found: dict[str, list[str]] = {}
    for name, version in _PIN.findall((ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")):
        found.setdefault(_plain(name), []).append(version)
    return found


def table(text: str) -> dict[str, tuple[str, ...]]:
    """The rows of the table in a page, by package: its versions by lock, and its licence."""
    inside = text.partition(_BEGIN)[2].partition(_END)[0]
    cells = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in inside.splitlines()[2:]]
    return {name: tuple(rest) for name, *rest in cells}


def rows(licence_of: dict[str, str]) -> list[tuple[str, ...]]:
    """What the table has to say of the locks as they are."""
    locks = [locked(lock) for lock in LOCKS]
    every = sorted({name for lock in locks for name in lock})
    return [
        (
            name,
            *(", ".join(sorted(set(lock.get(name, ())))) or "-" for lock in locks),
            licence_of.get(name, ""),
        )
        for name in every
    ]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(package: importlib.metadata.Distribution) -> str:
    """In one line: the SPDX expression, else the classifiers, else the first line of the licence's text or file."""
    metadata = package.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return expression
    classified = [
        line.rsplit(" :: ", 1)[-1]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License ::") and not line.endswith("OSI Approved")
    ]
    if classified:
        return ", ".join(sorted(set(classified)))
    text = metadata.get("License") or ""
    for file in () if text else metadata.get_all("License-File") or ():
        text = text or package.read_text(f"licenses/{file}") or package.read_text(file) or ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:_LONGEST].replace("|", "/") if lines else ""


def _installed(folders: Iterable[str]) -> dict[str, str]:
    """The licence of each package in this environment and in folders."""
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions(path=[*sys.path, *folders]):
        name: str | None = package.metadata.get("Name")
        licence = _licence(package) if name else ""
        if licence:
            found.setdefault(_plain(name), licence)
    return found


def main(folders: list[str]) -> int:
    """Writes the page; 1 where a package has no licence that could be found."""
    text = PAGE.read_text(encoding="utf-8")
    licence_of = {name: cells[-1] for name, cells in table(text).items()}
    licence_of.update(_installed(folders))
    found = rows(licence_of)
    lines = [
        "| package | Python 3.10 | Python 3.11 and later | installing | licence |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(row)} |" for row in found]
    before, _, rest = text.partition(_BEGIN)
    PAGE.write_text(
        before + _BEGIN + "\n".join(lines) + "\n" + _END + rest.partition(_END)[2], encoding="utf-8"
    )
    unknown = [name for name, *_, licence in found if not licence]
    print(f"{len(found)} packages" + (f"; no licence found of {', '.join(unknown)}" if unknown else ""))
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
