"""Fills templates of pages in: what comes from outside cannot act on the page."""

import os
import posixpath
from collections.abc import Mapping
from typing import Any

import jinja2
import markupsafe

from pipeline.reporting import words
from schemas import figures
from schemas import text as text_lib

# Of one text in a page, in characters; the experiment and the command are shown whole.
_LONGEST = 2000


def render(template: str, run_dir: str, facts: Mapping[str, Any]) -> str:
    """Fills a template of the pipeline's folder in.

    Args:
      template: its file.
      run_dir: of a run; paths in it are shown without it.
      facts: what the template shows; numbers may be missing or not finite.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # Artifacts of an older version may lack a key: its value reads as a dash, the rest stays.
        undefined=jinja2.ChainableUndefined,
        finalize=_shown,
    )
    environment.filters.update(
        count=words.count,
        metric=figures.metric,
        value=words.value,
        signed=words.signed,
        seconds=words.seconds,
        percent=words.percent,
        moment=words.moment,
    )
    environment.filters["basename"] = lambda path: posixpath.basename(str(path).rstrip("/")) or str(path)
    environment.filters["whole"] = lambda value: markupsafe.escape(text_lib.visible(str(value), keep="\n\t"))
    environment.filters["below"] = lambda uri: words.below(run_dir, uri)
    return environment.get_template(template).render(**facts)


def _shown(value: Any) -> Any:
    """A text from outside without characters that act on the page, and not without end; markup is Footfall's."""
    if not isinstance(value, str) or isinstance(value, markupsafe.Markup):
        return value
    return text_lib.clipped(text_lib.visible(value, keep="\n\t"), _LONGEST)
