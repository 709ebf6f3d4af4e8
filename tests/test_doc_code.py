"""Code in the documents runs, in the order of its page, in a folder with small images and labels.

A block that can't run here (it trains, or needs real data) says so at its fence, as in
```sh title="not run by the tests: it trains"
Blocks of `console` are transcripts of what was run on real data. Of all of them every command and option is one that
there is.
"""

from __future__ import annotations

import inspect
import json
import re
import runpy
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import skimage.data
from PIL import Image
from typer.models import ArgumentInfo
from typer.testing import CliRunner

from instancefcn import Proposer, source_to_coco
from instancefcn.apps.cli import app
from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT
from instancefcn.inference.config import InferenceConfig
from synthetic import SyntheticScenes

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
FENCE = re.compile(r"^```(\w+)( title=\"[^\"]*\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = ' title="not run by the tests: '
COMMAND = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?instancefcn (.*)$", re.MULTILINE)
SHELL = ("sh", "bash")
SCRIPTS = sorted((ROOT / "tools").glob("*.sh"))
SIDE = 96  # pixels of the images


class Block(NamedTuple):
    """Code of a page."""

    language: str
    title: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def to_run(page: Path) -> list[Block]:
    """Python and shell, without what says that it is not run."""
    if page.name in ("commands.md", "reference.md"):  # made from the code: examples with names of files that nobody has
        return []
    return [block for block in blocks_of(page) if block.language in ("python", *SHELL) and not block.title]


def script(path: Path) -> Block:
    """A shell script as a block that calls ``instancefcn`` by its name."""
    text = path.read_text(encoding="utf-8")
    return Block("sh", "", re.sub(r'^(\w+=\S+ )?"\$python" -m instancefcn ', "instancefcn ", text, flags=re.MULTILINE))


def commands_of(block: Block) -> list[list[str]]:
    """The arguments of each call of ``instancefcn``; a shell's comments and redirections are left out."""
    lines = block.code.replace("\\\n", " ")
    return [shlex.split(found.partition(" > ")[0], comments=True) for found in COMMAND.findall(lines)]


def test_every_fence_has_a_language_and_no_title_but_one() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = blocks_of(page)
        assert len(re.findall(r"^```\S", text, re.MULTILINE)) == len(blocks), f"{page}: a fence that is not understood"
        assert all(not block.title or block.title.startswith(NOT_RUN) for block in blocks), page


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: photographs, labels in a few forms, a checkpoint, results."""
    folder = tmp_path_factory.mktemp("prepared")
    coins = Image.fromarray(skimage.data.coins()).convert("RGB")
    scenes = SyntheticScenes(1, SIDE, SIDE)
    for name in ("photos", "val2017", "images", "labelled"):
        (folder / name).mkdir()
    for name in ("photo.jpg", "photos/coins.png"):
        coins.crop((0, 40, SIDE, 40 + SIDE)).save(folder / name)
    for sample in scenes:
        for name in ("val2017", "images"):
            Image.fromarray(sample.image).save(folder / name / sample.file_name)
    table = source_to_coco(scenes)
    for name in ("instances_val2017.json", "val.json", "labels.json"):
        (folder / name).write_text(json.dumps(table), encoding="utf-8")
    results = [
        {key: annotation[key] for key in ("image_id", "segmentation", "bbox")} | {"category_id": 1, "score": 0.5}
        for annotation in table["annotations"]
    ]
    (folder / "out").mkdir()
    (folder / "out" / "proposals.json").write_text(json.dumps(results), encoding="utf-8")
    run(
        [
            "convert",
            "--data",
            f"coco:{folder}/labels.json,{folder}/images",
            "--to",
            "labelme",
            "--out",
            f"{folder}/labelled",
        ]
    )
    for path in (folder / "images").iterdir():
        shutil.copy(path, folder / "photos")
    (folder / "runs" / "mine").mkdir(parents=True)
    shutil.copy(SHIPPED_CHECKPOINT, folder / "runs" / "mine" / "best.safetensors")
    return folder


def run(arguments: list[str]) -> None:
    """Call the command in this process."""
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"instancefcn {shlex.join(arguments)}: {done.output}"


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run_in_the_order_of_their_page(
    page: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "folder"))
    monkeypatch.setattr(InferenceConfig, "sides_of", lambda *_: (float(SIDE),))  # 25 times less to do
    scenes = SyntheticScenes(1, SIDE, SIDE)
    names: dict[str, Any] = {"images": {1: scenes.image(0)}, "coco": source_to_coco(scenes)}
    names["proposer"] = Proposer.from_checkpoint(device="cpu") if page.name == "api.md" else None
    for block in to_run(page):
        if block.language == "python":
            exec(compile(block.code, page.name, "exec"), names)
            continue
        lines = [line for line in block.code.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
        commands = commands_of(block)
        assert len(lines) == len(commands), f"{page}: lines that are no call of instancefcn: {lines}"
        for arguments in commands:
            run(arguments)


def test_every_command_and_option_of_the_documents_is_there() -> None:
    known = options_of_commands()
    checked = 0
    for page in [*PAGES, *SCRIPTS]:
        for block in [script(page)] if page in SCRIPTS else blocks_of(page):
            for arguments in commands_of(block) if block.language in (*SHELL, "console") else ():
                if arguments[0].startswith("--") or not set(arguments).isdisjoint({"COMMAND", "..."}):
                    continue
                name = " ".join(arguments[: 2 if arguments[0] == "figure" else 1])
                assert name in known, f"{page}: instancefcn {name}"
                options = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
                assert options <= known[name] | {"--help"}, f"{page}: instancefcn {name}: {options - known[name]}"
                checked += 1
    assert checked > 60


def options_of_commands() -> dict[str, set[str]]:
    """The options of each command, by its name."""
    found = [("", command) for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        found += [(f"{group.name} ", command) for command in group.typer_instance.registered_commands]
    known: dict[str, set[str]] = {}
    for group, command in found:
        assert command.callback is not None
        names: set[str] = set()
        for parameter in inspect.signature(command.callback, eval_str=True).parameters.values():
            _, info = get_args(parameter.annotation)
            if isinstance(info, ArgumentInfo):
                continue
            first = info.default if isinstance(info.default, str) else None
            own = [*filter(None, [first]), *(info.param_decls or ())] or [f"--{parameter.name.replace('_', '-')}"]
            names |= {*own, *(name.replace("--", "--no-", 1) for name in own)}
        known[group + (command.name or command.callback.__name__.replace("_", "-"))] = names
    return known


def test_the_notebook_runs_and_shows_what_it_shows_today() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "run_notebook.py"))
    notebook = json.loads((ROOT / "docs" / "notebooks" / "counts.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    made = tool["run"](notebook)
    kinds = [[output["output_type"] for output in cell["outputs"]] for cell in cells]
    assert kinds == [[output["output_type"] for output in outputs] for outputs in made]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    for cell, outputs in zip(cells, made, strict=True):
        texts = ["".join(output["data"].get("text/plain", "")) for output in cell["outputs"]]
        assert texts == ["".join(output["data"].get("text/plain", "")) for output in outputs]
