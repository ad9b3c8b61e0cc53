"""`footfall models` and `experiments`: what there is to choose from."""

import argparse
import json
from typing import Any

from pipeline.cli import arguments


def add(commands: arguments.Commands) -> None:
    """Adds `models` and `experiments`."""
    for name, function, summary in (
        ("models", _models, "list the models"),
        ("experiments", _experiments, "list the experiments that come with Footfall"),
    ):
        arguments.command(commands, name, function, summary).add_argument(
            "--json", action="store_true", help="print JSON"
        )


def _models(options: argparse.Namespace) -> int:
    from trainer import registry

    entries = [
        {
            "name": name,
            "summary": entry.summary,
            "paper": entry.paper,
            "window_kinds": entry.window_kinds,
            "objective": entry.objective,
            "settings": {key: field.default for key, field in entry.model_fields.items() if key != "name"},
        }
        for name, entry in registry.MODELS.items()
    ]
    return _list(entries, options.json)


def _experiments(options: argparse.Namespace) -> int:
    from pipeline import config

    entries = []
    for name in config.shipped_names():
        path = config.find(name)
        with open(path, encoding="utf-8") as stream:
            summary = stream.readline().lstrip("# ").strip()
        entries.append(
            {"name": name, "summary": summary, "model": config.load(path).model.name, "path": path}
        )
    return _list(entries, options.json)


def _list(entries: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        print(json.dumps(entries, ensure_ascii=False))
        return 0
    width = max(len(entry["name"]) for entry in entries)
    for entry in entries:
        print(f"{entry['name']:<{width}}  {entry['summary']}")
    return 0
