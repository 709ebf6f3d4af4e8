"""The memory of a run over a folder, without the network's."""

from __future__ import annotations

from pathlib import Path

import pytest

from memory import megabytes_for

SETUP = """
import os
import numpy as np
from PIL import Image
from typer.testing import CliRunner
from instancefcn.apps.cli import app
from instancefcn.geometry.rle import encode_in_box, tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.proposals import Proposals

def propose(image, *, max_proposals, min_score):
    rng = np.random.default_rng(int(image.sum()))
    masks = [encode_in_box(rng.random((40, 40)) < 0.5, i, i, *image.shape[:2]) for i in range(100)]  # long codes
    return Proposals(masks, tight_boxes(masks), np.linspace(1, 0, 100), *image.shape[:2])

os.fsync = lambda descriptor: None  # no test cuts the power
propose.precision = "fp32"
Proposer.from_checkpoint = staticmethod(lambda *_, **__: propose)

def run(folder, count):
    for index in range(count):
        Image.fromarray(np.full((150, 200, 3), index % 250, dtype=np.uint8)).save(folder + f"/{{index}}.png")
    done = CliRunner().invoke(app, ["propose", folder, "--out", folder + "/out", {options}])
    assert done.exit_code == 0, done.output

run({few!r}, 20)
"""


EVERYTHING = "'--overlays', '--to', 'coco', '--to', 'jsonl', '--to', 'labels'"


@pytest.mark.parametrize("options", ["", EVERYTHING])
def test_a_folder_takes_no_more_than_a_few_of_its_images(options: str, tmp_path: Path) -> None:
    for name in ("few", "many"):
        (tmp_path / name).mkdir()
    setup = SETUP.format(options=options, few=str(tmp_path / "few"))
    assert megabytes_for(f"run({str(tmp_path / 'many')!r}, 150)", setup=setup) < 8
