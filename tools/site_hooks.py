"""What `make docs` adds to MkDocs: pages may link to files outside docs/, as they do on a code host.

A file outside docs/ that the navigation lists or some page links to is in the site under project/, at its place in the
checkout: Markdown as a page, everything else as it is. Links are turned to match. A link that leads nowhere stays, and
MkDocs warns of it. Graphs in Mermaid's language, which a code host draws, are drawn here: Mermaid's own program would
have to come from another host.
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
WIDTH, ROW, BOX, HIGH = 1100, 78, 8.4, 26  # of a graph, in pixels: its width, between rows, of a letter, of a box
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
        graph = fence[0].startswith("```mermaid\ngraph TD\n")
        parts += [LINK.sub(turned, markdown[end : fence.start()]), drawn(fence[0]) if graph else fence[0]]
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


def drawn(fence: str) -> str:
    """SVG of a graph of lines ``a --> b & c``: each name in the row below all that point at it."""
    lines = [line.split("-->") for line in fence.splitlines() if "-->" in line]
    arrows = [(left.strip(), name.strip()) for left, right in lines for name in right.split("&")]
    names = dict.fromkeys(name for arrow in arrows for name in arrow)
    level = dict.fromkeys(names, 0)
    for _ in names:  # the longest way to each name
        for start, end in arrows:
            level[end] = max(level[end], level[start] + 1)
    rows = [[name for name in names if level[name] == row] for row in range(max(level.values()) + 1)]
    x: dict[str, float] = {}
    for row in rows:  # in the order of those above that point at them
        above = {name: [x[start] for start, end in arrows if end == name] for name in row}
        row.sort(key=lambda name: sum(above[name]) / max(len(above[name]), 1))
        x |= {name: WIDTH * (index + 0.5) / len(row) for index, name in enumerate(row)}
    y = {name: ROW * level[name] + HIGH for name in names}
    paths = [
        f'<path d="M{x[a]:.0f} {y[a] + HIGH / 2:.0f} C{x[a]:.0f} {y[b] - ROW / 2:.0f} {x[b]:.0f} {y[b] - ROW / 2:.0f} '
        f'{x[b]:.0f} {y[b] - HIGH / 2 - 5:.0f}" marker-end="url(#arrow)"/>'
        for a, b in arrows
    ]
    wide = {name: BOX * len(name) + 12 for name in names}
    boxes = [
        f'<rect x="{x[name] - wide[name] / 2:.0f}" y="{y[name] - HIGH / 2:.0f}" width="{wide[name]:.0f}" '
        f'height="{HIGH}" rx="4"/><text x="{x[name]:.0f}" y="{y[name] + 5:.0f}">{name}</text>'
        for name in names
    ]
    style = 'style="width:100%;font:14px monospace" fill="none" stroke="currentColor"'
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 6 6" refX="3" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L6 3L0 6z" fill="currentColor" stroke="none"/></marker></defs>'
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {ROW * len(rows)}" role="img" {style}>{arrow}<g opacity="0.55">{"".join(paths)}</g>'
        f'<g fill="var(--md-code-bg-color)">{"".join(boxes)}</g></svg>'
    ).replace("<text ", '<text text-anchor="middle" fill="currentColor" stroke="none" ')
