"""The command line, run in this process, with a proposer that needs no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from instancefcn.apps.cli import app
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.inference.proposer import Proposer
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    """Run ``instancefcn`` with arguments of any type; only exits are expected to end it."""

    def run(*arguments: Any) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


RULE = ObjectRule(0.5, max_iou=0.6, max_filled=1.0, scores=(0.0, 1.0), chances=(0.0, 0.5))  # a chance is half the score


class FakeProposer(Proposer):
    """Proposes the whole image, its upper half and its upper left quarter, as far as they have pixels."""

    def __init__(self) -> None:
        self.precision = "fp32"

    def __call__(self, image: Any, max_proposals: int = 100, min_score: float = 0.0) -> Proposals:
        assert image.dtype == np.uint8
        height, width, _ = image.shape
        masks, scores = [], []
        for rows, columns, score in ((height, width, 0.9), (height // 2, width, 0.6), (height // 2, width // 2, 0.3)):
            if score >= min_score and rows * columns and len(masks) < max_proposals:
                mask = np.zeros((height, width), dtype=bool)
                mask[:rows, :columns] = True
                masks.append(encode(mask))
                scores.append(score)
        return Proposals(masks, tight_boxes(masks), np.array(scores), height, width, rule=RULE)

    def objects(self, image: np.ndarray, threshold: float | None = None, *, exclusive: bool = False) -> Proposals:
        return self(image, max_proposals=3, min_score=0).objects(threshold, exclusive=exclusive)


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a fake in the proposer's place; what it was asked for is filled in."""
    asked: dict[str, Any] = {}

    def from_checkpoint(path: Any = None, **options: Any) -> FakeProposer:
        asked.update(path=path, **options)
        proposer = FakeProposer()
        if options.get("precision") in ("auto", "bf16"):
            proposer.precision = "bf16"
        return proposer

    monkeypatch.setattr(Proposer, "from_checkpoint", from_checkpoint)
    return asked
