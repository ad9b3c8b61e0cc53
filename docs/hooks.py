"""What the site takes from outside of this folder, and how links between the two lead."""

import pathlib
import posixpath
import re
from typing import Any

from mkdocs.structure import files as files_lib

_ROOT = pathlib.Path(__file__).parent.parent
# Files of the repository that are pages of the site, by their path.
_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: files_lib.Files, config: Any) -> files_lib.Files:
    """Adds the pages that live elsewhere."""
    for source, page in _PAGES.items():
        text = (_ROOT / source).read_text(encoding="utf-8")
        files.append(files_lib.File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: files_lib.Files) -> str:
    """Leads links to where a file is in the site; one to a file that is not in it becomes its text."""
    sources = {name: source for source, name in _PAGES.items()}
    folder = posixpath.dirname(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        place = _PAGES.get(path) or path.removeprefix("docs/")
        if files.get_file_from_path(place) is None:
            if not (_ROOT / path).exists():
                raise ValueError(f"{page.file.src_uri}: a link to {target}, which is not there")
            return text
        return f"[{text}]({posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return _LINK.sub(link, markdown)
