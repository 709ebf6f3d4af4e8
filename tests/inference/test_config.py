from __future__ import annotations

import math
from typing import Any

import pytest

from instancefcn.inference.config import InferenceConfig


def test_threshold_as_a_logit() -> None:
    assert InferenceConfig(mask_threshold=0.2).threshold_logit == pytest.approx(math.log(0.25))


@pytest.mark.parametrize(
    "keys",
    [
        {"mask_threshold": 1.0},
        {"shorter_sides": ()},
        {"shorter_sides": (0.5,)},
        {"image_scales": (0.0, 1.0)},
        {"image_scales": (math.inf,)},
        {"longest_side": 200.0, "tiles": True},
        {"candidates": 0},
        {"nms_candidates": 0},
        {"soft_nms_threshold": 5.0},
        {"nms_threshold": math.nan},
        {"vote_threshold": -0.5},
        {"stability_power": -1.0},
        {"quality_power": math.nan},
    ],
)
def test_values_that_make_no_sense_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(keys))):
        InferenceConfig(**keys)
