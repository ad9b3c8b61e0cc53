"""`--quick`, and the sizes that it stands for.

Every benchmark has `--quick`, which ends within a minute. What it measures is small; `--size` makes it smaller yet,
where it is only to be seen that a benchmark runs to its last line:

    python -m benchmarks.windowing --quick --size events=2000
"""

import argparse
from typing import Any

Number = int | float


def add(parser: argparse.ArgumentParser, text: str, **sizes: Number) -> None:
    """Adds both options; the parsed `quick` is a dictionary of the sizes, or None without `--quick`.

    Args:
      parser: of a benchmark.
      text: the help of `--quick`.
      sizes: of `--quick`, by name; those that are given are numbers of the same type.
    """

    class Quick(argparse.Action):
        """Has the sizes in place of a flag."""

        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
            namespace.quick = {**sizes, **(namespace.size or {})}

    class Size(argparse.Action):
        """Changes one of the sizes."""

        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
            name, _, number = values.partition("=")
            if name not in sizes:
                parser.error(f"--size takes {', '.join(sizes)}; found {name}")
            try:
                given = {**(namespace.size or {}), name: type(sizes[name])(number)}
            except ValueError:
                parser.error(f"--size {name} takes a number, as in {name}={sizes[name]}; found {number!r}")
            namespace.size = given
            if namespace.quick is not None:
                namespace.quick = {**sizes, **given}

    defaults = ", ".join(f"{name}={number}" for name, number in sizes.items())
    parser.add_argument("--quick", action=Quick, nargs=0, help=text)
    parser.add_argument(
        "--size", action=Size, metavar="NAME=NUMBER", help=f"with --quick: another size than of {defaults}"
    )
