from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reproduce.speed import Speed, Timed, device_name, load_speed, save_speed


def test_each_call_is_timed_once() -> None:
    def propose(image: np.ndarray, image_id: int) -> list[dict[str, Any]]:
        time.sleep(image_id / 100)
        return [{"image_id": image_id}]

    timed, image = Timed(propose), np.zeros((1, 1, 3), dtype=np.uint8)
    assert [timed(image, image_id) for image_id in (1, 5)] == [[{"image_id": 1}], [{"image_id": 5}]]
    first, second = timed.take()
    assert first >= 0.01
    assert second >= 0.05
    assert timed.take() == []


def test_seconds_are_kept_with_their_device(tmp_path: Path) -> None:
    speed = Speed(device_name(torch.device("cpu")), (9.0, 0.25, 0.5))
    assert speed.median() == 0.5
    assert f"threads: {torch.get_num_threads()}" in speed.device
    save_speed(speed, tmp_path / "seconds.json")
    assert load_speed(tmp_path / "seconds.json") == speed
    assert load_speed(tmp_path / "none.json") is None
