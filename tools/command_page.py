"""Write docs/commands.md from the commands themselves: what each does, examples, arguments and options.

python tools/command_page.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.models import ArgumentInfo, CommandInfo

from instancefcn.apps.cli import app
from instancefcn.apps.options import FORM_HELP, RESULT_HELP, SPEC_HELP

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
START, END = "<!-- commands: made by tools/command_page.py -->", "<!-- end of commands -->"
MARKUP = re.compile(r"\[(?:bold|dim|/)\]")  # rich's


def page_with_commands(page: str) -> str:
    """The page with what stands between its two marks made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    commands = [section("instancefcn", command) for command in app.registered_commands]
    for group in app.registered_groups:
        below, name = group.typer_instance, f"instancefcn {group.name}"
        assert below is not None
        assert below.registered_callback is not None
        commands.append(f"## {name}\n\n{paragraphs_of(below.registered_callback.callback)[0]}")
        commands += [section(name, command, 3) for command in below.registered_commands]
    specs = f"## Labels that are read: SPEC\n\n{help_table(SPEC_HELP)}"
    forms = f"## What is written: FORM\n\n{help_table(FORM_HELP)}\n\n{help_table(RESULT_HELP)}"
    return before + "\n\n".join([START, *commands, specs, forms, END]) + after


def section(group: str, command: CommandInfo, level: int = 2) -> str:
    """Markdown of a command: what it does, examples, and its options."""
    function = command.callback
    assert function is not None
    signature = inspect.signature(function, eval_str=True)
    rows = [row_of(parameter) for parameter in signature.parameters.values()]
    table = "\n".join(["| option | default | |", "|---|---|---|", *rows])
    name = command.name or function.__name__.replace("_", "-")
    return "\n\n".join([f"{'#' * level} {group} {name}", *map(paragraph, paragraphs_of(function)), table])


def paragraphs_of(function: Any) -> list[str]:
    """The paragraphs of a docstring."""
    return [part for part in inspect.cleandoc(function.__doc__ or "").split("\n\n") if part.strip()]


def paragraph(text: str) -> str:
    """Markdown of one paragraph of a command's help: an example with what it does, a list of files, or prose."""
    if re.match(r"\[bold\](instancefcn|torchrun)", text):
        command, _, words = text.partition("[dim]")
        return f"```sh\n{plain(command)}\n```" + (f"\n\n{prose(words)}" if words else "")
    if re.match(r"\[bold\].*?\[/\].*?  +", text):
        pairs = [re.split(r"  +", line, maxsplit=1) for line in re.split(r"\n(?=\[bold\])", text)]
        return "\n".join(f"- `{plain(names).replace(', ', '`, `')}`: {prose(words)}" for names, words in pairs)
    return prose(text)


def help_table(text: str) -> str:
    """Markdown of the forms that a help text lists, after its first line; what is no form stands below."""
    title, *lines = text.split("\n\n")
    pairs = [re.match(r"\[bold\](.*?)\[/\](\S*) *(.*)", line) for line in lines]
    rows = [f"| `{plain(pair[1] + pair[2])}` | {prose(without_brackets(pair[3]))} |" for pair in pairs if pair]
    rest = [prose(line) for line, pair in zip(lines, pairs, strict=True) if not pair]
    return "\n\n".join([prose(title), "\n".join(["| | |", "|---|---|", *rows]), *rest])


def without_brackets(text: str) -> str:
    """A text that stands in brackets as a whole, without them."""
    return text[1:-1] if text.startswith("(") and text.find(")") == len(text) - 1 else text


def row_of(parameter: inspect.Parameter) -> str:
    """A row of the table of a command's options."""
    kind, info = get_args(parameter.annotation)
    needed = parameter.default is inspect.Parameter.empty
    value = "" if kind is bool else info.metavar or kind_of(kind)
    if not isinstance(info, ArgumentInfo):
        first = info.default if isinstance(info.default, str) else None  # where Annotated has the first name
        names = [*filter(None, [first]), *(info.param_decls or ())] or [f"--{parameter.name.replace('_', '-')}"]
        if kind is bool and parameter.default is True and len(names) == 1:
            names.append(names[0].replace("--", "--no-", 1))
        value = ", ".join(f"{name} {value}".strip() for name in names)
    default = "" if parameter.default in (None, "") or kind is bool else f"`{parameter.default}`"
    shown = escaped(info.show_default) if isinstance(info.show_default, str) else default
    return f"| `{value.replace('|', chr(92) + '|')}` | {'needed' if needed else shown} | {prose(info.help or '')} |"


def kind_of(annotation: Any) -> str:
    """What a value must be, in a word."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    if get_origin(annotation) is Literal:
        return "|".join(map(str, kinds))
    if kinds:  # a list of them, or one or none
        return kind_of(kinds[0])
    return {int: "N", float: "X", Path: "PATH"}.get(annotation, "TEXT")


def plain(text: str) -> str:
    """Text without rich's markup, its lines joined."""
    return re.sub(r"\s+", " ", MARKUP.sub("", text)).strip().replace("\\[", "[")


def prose(text: str) -> str:
    """Markdown of a sentence: what is bold is code; signs that Markdown or a table would take are escaped."""
    text = re.sub(r"\[bold\](.*?)\[/\]", r"`\1`", text)
    text = plain(text)
    return "".join(part if index % 2 else escaped(part) for index, part in enumerate(re.split(r"(`[^`]*`)", text)))


def escaped(text: str) -> str:
    """Text in which no sign is markup."""
    return re.sub(r"([|*_<])", r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(page_with_commands(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
