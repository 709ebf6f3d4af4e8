from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instancefcn.evaluation.curves import render
from instancefcn.viz.training import draw_course, highest_validation, read_course, running_mean


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "metrics.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return folder


def losses(iteration: int, mask: float | None, dice: float | None) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "seconds": 3.0 * iteration,
        "loss_mask": mask,
        "loss_dice": dice,
        "learning_rate": 1,
    }


def recall(iteration: int, **of: float | None) -> dict[str, Any]:
    return {"iteration": iteration} | {f"{name}/AR@{n}": value for name, value in of.items() for n in (10, 100, 1000)}


def test_lines_become_points(tmp_path: Path) -> None:
    small = {"iteration": 20, "val/AR@100_small": 3.0, "val/AR@100": 12.0}
    run = write(
        tmp_path, recall(0, val=None), losses(1, 0.5, 0.25), small, "garbage\n", losses(20, 0.25, 0.5), '{"iter'
    )
    course = read_course(run)
    assert (course.iterations, course.seconds) == (20, 60.0)
    assert {name: [x.tolist(), y.tolist()] for name, (x, y) in course.losses.items()} == {
        "all together": [[1, 20], [0.75, 0.75]],
        "mask": [[1, 20], [0.5, 0.25]],
        "dice": [[1, 20], [0.25, 0.5]],
    }
    iterations, values = course.recall["val"]["AR@100"]
    assert (iterations.tolist(), np.isnan(values).tolist(), values[1]) == ([0, 20], [True, False], 12)
    assert list(course.recall["val"]) == ["AR@10", "AR@100", "AR@1000"]  # of all sizes together
    assert read_course(run / "metrics.jsonl").losses.keys() == course.losses.keys()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"metrics\.jsonl: cannot be read: .*; give a folder"):
        read_course(tmp_path)
    write(tmp_path, {"iteration": 1}, [1], "nonsense\n", {"loss_mask": 1.0}, {"iteration": True, "loss_mask": 1.0})
    with pytest.raises(ValueError, match=r"metrics\.jsonl: has neither losses nor validation"):
        read_course(tmp_path)


@pytest.mark.parametrize("key", ["seconds", "loss_mask", "val/AR@100", "learning_rate"])
@pytest.mark.parametrize("number", [10**400, math.inf], ids=["400 digits", "inf"])
def test_a_number_without_end_is_refused_by_its_line(tmp_path: Path, key: str, number: float) -> None:
    run = write(tmp_path, losses(1, 0.5, 0.25), losses(2, 0.5, 0.25) | {key: number})
    with pytest.raises(ValueError, match=rf"jsonl: line 2: {key} is (1000.*|inf), not a finite number: remove"):
        read_course(run)


def test_the_best_is_by_the_mean_over_sources(tmp_path: Path) -> None:
    lines = [recall(0, a=10.0, b=None), recall(5, a=30.0, b=0.0), recall(9, a=20.0, b=14.0), recall(12, a=17.0, b=17.0)]
    assert highest_validation(read_course(write(tmp_path, *lines)).recall) == (9, 17)
    assert highest_validation(read_course(write(tmp_path, recall(0, a=None))).recall) is None


def test_the_best_is_by_f1_where_it_was_measured(tmp_path: Path) -> None:
    lines = [recall(0, a=30.0) | {"a/F1": 50.0}, recall(5, a=10.0) | {"a/F1": 60.0}]
    course = read_course(write(tmp_path, *lines))
    assert highest_validation(course.recall) == (5, 60)
    texts = [text.get_text() for text in draw_course(course, "run").axes[0].get_legend().get_texts()]
    assert texts == ["AR@1000", "AR@100", "AR@10", "F1", "highest: F1 60.0 at 5"]


def test_running_mean_is_the_mean_around_each_value() -> None:
    generator = np.random.default_rng(0)
    for width in (1, 2, 3, 6, 50):
        values = generator.random(20)
        values[generator.random(20) < 0.2] = np.nan
        before, after = width // 2, (width - 1) // 2
        for index, mean in enumerate(running_mean(values, width)):
            around = values[max(0, index - before) : index + after + 1]
            assert mean == pytest.approx(np.nanmean(around) if np.isfinite(around).any() else np.nan, nan_ok=True)
    assert len(running_mean(np.zeros(0), 3)) == 0


def test_a_panel_of_losses_and_one_of_validation(tmp_path: Path) -> None:
    names = {"$a$": 10.0, "_b\n": 20.0}
    course = read_course(write(tmp_path, losses(1, 0.5, 0.25), losses(2, 0.5, None), recall(2, **names)))
    figure = draw_course(course, "$run$")
    loss, validation = figure.axes
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["all together", "mask", "dice"]
    texts = [text.get_text() for text in validation.get_legend().get_texts()]
    assert texts[0] == "AR@1000, $a$"
    assert texts[-1] == "highest: AR@100 15.0 at 2"
    lines = validation.get_lines()
    assert [line.get_linestyle() for line in lines[:6]] == ["-"] * 3 + ["--"] * 3  # sources differ without colours, too
    assert validation.get_ylim()[1] > 20
    again = draw_course(course, "$run$")
    assert render(figure, "svg") == render(again, "svg")
    assert len(draw_course(read_course(write(tmp_path, losses(1, 0.5, 0.25))), "").axes) == 1
    assert len(draw_course(read_course(write(tmp_path, recall(1, a=None))), "").axes) == 1
