from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from instancefcn.geometry.windows import window_boxes
from instancefcn.structures import WindowSize
from instancefcn.training.assignment import (
    IGNORED,
    NEGATIVE,
    POSITIVE,
    SCALE_NEGATIVE,
    AssignmentConfig,
    Grid,
    assign,
    is_covered,
    is_tiny,
)

NAMES = {POSITIVE: "positive", NEGATIVE: "negative", IGNORED: "ignored"}
NONE = torch.zeros(0, dtype=torch.bool)


def config_of(rule: str, **keys: float) -> AssignmentConfig:
    """A rule with DeepMask's ratio of object to window: 96 px in 168."""
    deepmask = {"center_tolerance": 16 / 224, "center_negative": 32 / 224, "scale_tolerance": 2**0.25}
    return AssignmentConfig(rule=rule, object_to_window=128 / 224, **(deepmask | keys))  # pyright: ignore[reportArgumentType]


def boxes(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([20, 21]))
def test_deepmask_rule_equals_the_loop(seed: int, m: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(3, 2, generator=generator) * 200
    gt = torch.cat([corner, corner + 40 + torch.rand(3, 2, generator=generator) * 120], dim=1)
    config = config_of("deepmask")
    padding = torch.rand(220, 250, generator=generator) < 0.3  # and beyond it, up to 240 x 256
    kept = torch.ones(3, dtype=torch.bool)
    (assignment,) = assign(gt, ~kept, [Grid(WindowSize(8, m), 30, 32)], config, padding=padding)
    for y in range(0, 30, 3):
        for x in range(0, 32, 3):
            window = window_boxes(torch.tensor([[y, x]]), 8, m)[0].tolist()
            labels = [
                oracles.window_label(
                    box,
                    window,
                    config.object_to_window,
                    (config.center_tolerance, config.scale_tolerance),
                    (config.center_negative, SCALE_NEGATIVE),
                    padding,
                )
                for box in gt.tolist()
            ]
            expected = next((label for label in ("positive", "ignored") if label in labels), "negative")
            assert NAMES[int(assignment.labels[y, x])] == expected


def test_the_papers_window_in_pixels() -> None:
    # Window 168 px, object 96 px: positive within 12 px, negative from 24 px on.
    (assignment,) = assign(
        boxes([100, 100, 196, 150]), torch.tensor([False]), [Grid(WindowSize(8, 21), 40, 40)], config_of("deepmask")
    )
    rows, columns = (assignment.labels == POSITIVE).nonzero().unbind(1)
    centers_y, centers_x = (rows + 0.5) * 8, (columns + 0.5) * 8
    assert (centers_y - 125).abs().max() <= 12
    assert (centers_x - 148).abs().max() <= 12
    assert len(rows) == 9
    assert (assignment.gt_index[assignment.labels == POSITIVE] == 0).all()


@pytest.mark.parametrize("rule", ["gapless", "nearest_scale"])
@pytest.mark.parametrize("longer", [6.0, 24.0, 50.0, 97.0, 160.0, 320.0, 450.0])
def test_no_gaps(rule: str, longer: float) -> None:
    # The windows of 84, 120, ... px have steps of sqrt(2), which 2 ** (1/4) bridges; 480 is the largest.
    sides = [84.0, 120.0, 168.0, 240.0, 336.0, 480.0]
    config = config_of(rule, scale_tolerance=1.2)
    assert is_covered(boxes([0, 0, longer, 10]), sides, config).all()


def test_deepmask_has_gaps_and_gapless_stops_at_the_window() -> None:
    sides = [168.0, 252.0]  # steps of 1.5, the paper's
    gap = boxes([0, 0, 117, 60])  # 96 * 2 ** 0.25 = 114 < 117 < 121 = 144 / 2 ** 0.25
    assert not is_covered(gap, sides, config_of("deepmask")).any()
    assert is_covered(gap, sides, config_of("gapless", scale_tolerance=1.5**0.5)).all()
    assert not is_covered(boxes([0, 0, 253, 60]), sides, config_of("gapless")).any()


def test_nearest_scale_takes_one_size() -> None:
    grids = [Grid(WindowSize(8, 21), 40, 40), Grid(WindowSize(8, 30), 40, 40)]
    assignments = assign(boxes([100, 100, 210, 150]), torch.tensor([False]), grids, config_of("nearest_scale"))
    assert [bool((a.labels == POSITIVE).any()) for a in assignments] == [True, False]


def test_an_instance_may_be_left_to_another_scale() -> None:
    box, grid = boxes([100, 100, 220, 150]), [Grid(WindowSize(8, 21), 40, 40)]
    config = config_of("nearest_scale")
    (alone,) = assign(box, torch.tensor([False]), grid, config)
    (beside,) = assign(box, torch.tensor([False]), grid, config, other_sides=[210.0])
    assert (alone.labels == POSITIVE).any()
    assert not (beside.labels == POSITIVE).any()


def test_ignored_instances_are_neither() -> None:
    (assignment,) = assign(
        boxes([80, 80, 176, 176]), torch.tensor([True]), [Grid(WindowSize(8, 21), 40, 40)], config_of("gapless")
    )
    assert not (assignment.labels == POSITIVE).any()
    assert (assignment.labels[10:22, 10:22] == IGNORED).all()
    assert (assignment.labels[:9] == NEGATIVE).all()


def test_partial_labels_say_nothing_of_the_background() -> None:
    (assignment,) = assign(
        boxes([100, 100, 196, 150]),
        torch.tensor([False]),
        [Grid(WindowSize(8, 21), 60, 60)],
        config_of("gapless"),
        partial=True,
    )
    assert (assignment.labels == POSITIVE).sum() == 9
    assert (assignment.labels[40:] == IGNORED).all()
    assert (assignment.labels == NEGATIVE).any()  # beside the instance


def test_windows_centred_on_padding_are_neither_positive_nor_negative() -> None:
    # An image of 124 x 148 pixels in a frame of 160 x 160; an instance whose centre is 2 pixels from its border.
    padding = torch.ones(124, 160, dtype=torch.bool)
    padding[:, :148] = False
    box, config = boxes([98, 80, 194, 120]), config_of("gapless")
    for partial in (False, True):
        (assignment,) = assign(
            box, torch.tensor([False]), [Grid(WindowSize(8, 21), 20, 20)], config, partial, padding=padding
        )
        # Row 15 is centred on pixel 124, the first that is none; column 18 on 148.
        assert (assignment.labels[15:] == IGNORED).all()
        assert (assignment.labels[:, 18:] == IGNORED).all()  # though the instance is but 2 pixels away
        assert (assignment.gt_index[:, 18:] == -1).all()
        assert (assignment.labels[11:14, 17] == POSITIVE).all()
        assert (assignment.gt_index[11:14, 17] == 0).all()
        if not partial:
            assert (assignment.labels[:8, :18] == NEGATIVE).all()
            assert (assignment.labels[14, :13] == NEGATIVE).all()


def test_a_centre_may_not_be_positive_and_negative_at_once() -> None:
    with pytest.raises(ValueError, match=r"center_negative at most, not 0\.3 above 0\.2: .* raise"):
        config_of("gapless", center_tolerance=0.3, center_negative=0.2)


def test_every_positive_window_has_its_instance() -> None:
    # Centres lie 0, 8, ... px from the instance's, in a window of 160 px: some at 0.1 exactly.
    config = config_of("gapless", center_tolerance=0.1, center_negative=0.1)
    (assignment,) = assign(boxes([80, 104, 176, 152]), torch.tensor([False]), [Grid(WindowSize(8, 20), 40, 40)], config)
    assert (assignment.labels == POSITIVE).any()
    assert (assignment.gt_index[assignment.labels == POSITIVE] == 0).all()


def test_a_wide_tolerance_of_scale_is_what_coverage_says() -> None:
    box = boxes([140, 140, 172, 160])  # 32 px, a third of the 96 that windows of 168 px are made for
    for tolerance in (1.5, 2.9, 3.1):
        config = config_of("deepmask", scale_tolerance=tolerance)
        (assignment,) = assign(box, torch.tensor([False]), [Grid(WindowSize(8, 21), 40, 40)], config)
        assert bool((assignment.labels == POSITIVE).any()) == bool(is_covered(box, [168.0], config)) == (tolerance > 3)


def test_no_instances() -> None:
    (assignment,) = assign(boxes(), NONE, [Grid(WindowSize(8, 21), 4, 5)], config_of("gapless"))
    assert (assignment.labels == NEGATIVE).all()
    assert (assignment.gt_index == -1).all()
    assert is_covered(boxes(), [168.0], config_of("gapless")).shape == (0,)


def test_tiny_instances() -> None:
    areas = torch.tensor([99.0, 400.0, 400.0])
    gt = boxes([0, 0, 20, 20], [0, 0, 100, 4], [0, 0, 20, 20])
    assert is_tiny(areas, gt).tolist() == [True, True, False]
