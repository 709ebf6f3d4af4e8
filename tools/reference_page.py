"""Write docs/reference.md from the docstrings of the public names: signatures, shapes, units, errors, examples.

python tools/reference_page.py
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

import instancefcn

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
START, END = "<!-- reference: made by tools/reference_page.py -->", "<!-- end of reference -->"
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Examples?):(.*)$", re.MULTILINE)


def page_with_reference(page: str) -> str:
    """The page with what stands between its two marks made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    names = [name for name in sorted(instancefcn.__all__, key=str.lower) if not name.startswith("_")]
    return before + "\n\n".join([START, *(entry(name) for name in names), END]) + after


def entry(name: str) -> str:
    """Markdown of a public class or function."""
    thing = getattr(instancefcn, name)
    source = inspect.getsource(thing)
    node = ast.parse(source).body[0]
    parts = [f"## {name}"]
    if isinstance(node, ast.ClassDef):
        fields = "\n".join(field for part in node.body if (field := field_of(part, source)))
        made = [signature(part, source) for part in node.body if getattr(part, "name", "") == "__init__"]
        body = fields or textwrap.indent("\n".join(made) or "...", "    ")
        base = ", ".join(ast.unparse(one) for one in node.bases if not ast.unparse(one).startswith("_"))
        parts.append(f"```python\nclass {name}{f'({base})' if base else ''}:\n{body}\n```")
        parts.append(words(ast.get_docstring(node) or ""))
        parts += [method(name, part, source) for part in node.body if is_public(part)]
    else:
        assert isinstance(node, ast.FunctionDef)
        parts += [f"```python\n{signature(node, source)}\n```", words(ast.get_docstring(node) or "")]
    return "\n\n".join(filter(None, parts))


def is_public(part: ast.stmt) -> bool:
    """Whether a part of a class is a method or property for users; of overloads it is the one with the docstring."""
    if not isinstance(part, ast.FunctionDef) or ast.get_docstring(part) is None:
        return False
    return not part.name.startswith("_") or part.name in ("__call__", "__getitem__")


def method(owner: str, node: ast.stmt, source: str) -> str:
    """Markdown of one method."""
    assert isinstance(node, ast.FunctionDef)
    name = {"__call__": f"{owner}(...)", "__getitem__": f"{owner}[...]"}.get(node.name, f"{owner}.{node.name}")
    return f"### {name}\n\n```python\n{signature(node, source)}\n```\n\n{words(ast.get_docstring(node) or '')}"


def field_of(part: ast.stmt, source: str) -> str:
    """The lines of a field with its comment, as they stand in the source; empty of what is no public field."""
    if not isinstance(part, ast.AnnAssign) or ast.unparse(part.target).startswith("_"):
        return ""
    return "\n".join(source.splitlines()[part.lineno - 1 : part.end_lineno])


def signature(node: ast.FunctionDef, source: str) -> str:
    """The lines of a function before its docstring, with its decorators, from the left margin."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    last = node.body[0].lineno - 1
    return inspect.cleandoc("\n" + "\n".join(source.splitlines()[first - 1 : last])).removesuffix(":")


def words(docstring: str) -> str:
    """Markdown of a docstring: its sections as lists, its examples as code."""
    pieces = SECTION.split(docstring)
    parts = [prose(pieces[0])]
    for title, beside, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        body, after = section_and_rest(body)
        text = inspect.cleandoc(f"\n{body}").strip()
        if title.startswith("Example"):
            parts.append(f"**Example.** {prose(beside)}".strip())
            parts.append(f"```python\n{text.replace('  # doctest: +SKIP', '')}\n```" if text else "")
        elif title in ("Returns", "Yields"):
            parts.append(f"**{title}.** {prose(f'{beside} {text}')}")
        else:
            items = re.split(r"\n(?=\S)", text)
            rows = [re.match(r"([\w*, .]+): (.*)", item, re.DOTALL) for item in items]
            parts.append(f"**{'Arguments' if title == 'Args' else title}**")
            parts.append("\n".join(f"- `{row[1]}`: {prose(row[2])}" for row in rows if row))
        parts.append(prose(after))
    return "\n\n".join(filter(None, parts))


def section_and_rest(text: str) -> tuple[str, str]:
    """The indented lines that a section has, and what follows it."""
    lines = text.strip("\n").splitlines()
    end = next((index for index, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def prose(text: str) -> str:
    """Markdown of paragraphs: one line each, names as code; doctests among them as code blocks."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.lstrip().startswith(">>>"):
            parts.append(f"```python\n{inspect.cleandoc(paragraph)}\n```")
        else:
            parts.append(re.sub(r"\s+", " ", paragraph.replace("``", "`")).strip())
    return "\n\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page_with_reference(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
