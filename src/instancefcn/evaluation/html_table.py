"""Tables of the report as HTML."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from html import escape


def html_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str | float | None]],
    *,
    caption: str = "",
    emphasised: Container[int] = (),
) -> str:
    """HTML table; the first column heads the rows. ``caption`` is HTML, the rest is text."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    body = ""
    for index, (name, *cells) in enumerate(rows):
        kind = ' class="own"' if index in emphasised else ""
        values = "".join(f"<td>{_cell(cell)}</td>" for cell in cells)
        body += f'<tr{kind}><th scope="row">{escape(str(name))}</th>{values}</tr>'
    about = f"<caption>{caption}</caption>" if caption else ""
    return f"<table>{about}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: str | float | None) -> str:
    if isinstance(value, str):
        return escape(value)
    return "–" if value is None or math.isnan(value) else f"{value:.1f}"
