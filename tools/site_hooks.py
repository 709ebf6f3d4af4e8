"""What `make docs` adds to MkDocs: pages may link to files outside docs/, as they do on a code host.

A file outside docs/ that the navigation lists or some page links to is in the site under project/, at its place in the
checkout: Markdown as a page, everything else as it is. Links are turned to match. A link that leads nowhere stays, and
MkDocs warns of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = "project/"
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each file outside docs/ that is listed or linked to, and those that these link to."""
    waiting = [*files.src_uris, *listed(config.nav)]
    while waiting:
        place = waiting.pop()
        source = ROOT / source_of(place)
        if place.startswith(OUTSIDE) and place not in files.src_uris and source.is_file():
            files.append(File.generated(config, place, content=source.read_bytes()))
        if place.endswith(".md") and source.is_file():
            links = LINK.findall(FENCE.sub("", source.read_text(encoding="utf-8")))
            others = {place_of(target, place) for _, target, _ in links}
            waiting += sorted(other for other in others if other and other not in files.src_uris)
    return files


def listed(entry: Any) -> list[str]:
    """The pages of the navigation, or of a part of it."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in listed(part)]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page to where their files are in the site."""
    here = posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        other = place_of(match[2], page.file.src_uri)
        return f"{match[1]}{posixpath.relpath(other, here)}{match[3]}" if other else match[0]

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):  # code is left as it is
        parts += [LINK.sub(turned, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(turned, markdown[end:])])


def place_of(target: str, place: str) -> str | None:
    """Where in the site the target of a link of the page at ``place`` lies; None if it is no file of the checkout."""
    if re.match(r"[a-z]+:", target):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source_of(place)), target))
    if path.startswith("..") or not (ROOT / path).is_file():
        return None
    return path.removeprefix("docs/") if path.startswith("docs/") else OUTSIDE + path


def source_of(place: str) -> str:
    """The file of a page, relative to the checkout."""
    return place.removeprefix(OUTSIDE) if place.startswith(OUTSIDE) else f"docs/{place}"
