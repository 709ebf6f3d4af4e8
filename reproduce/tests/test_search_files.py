from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reproduce.search_files as module
from instancefcn.evaluation.average_recall import average_recall
from instancefcn.files import read_json
from instancefcn.geometry.rle import encode, tight_boxes
from instancefcn.proposals import Proposals
from reproduce.experiments import reproduce
from reproduce.runner import Runner
from reproduce.search_files import write_masks
from reproduce.settings import Settings
from synthetic import SyntheticScenes

SCENES = SyntheticScenes(3, height=48, width=64, seed=1)


class Search:
    """The whole image is the one mask; breaks off at a call."""

    def __init__(self, breaks_off_at: int = 99) -> None:
        self.calls, self.breaks_off_at = 0, breaks_off_at

    def __call__(self, image: np.ndarray, *, max_proposals: int) -> Proposals:
        if self.calls == self.breaks_off_at:
            raise KeyboardInterrupt
        self.calls += 1
        masks = [encode(np.ones(image.shape[:2], dtype=bool))]
        return Proposals(masks, tight_boxes(masks), np.ones(1), *image.shape[:2])


def test_a_file_of_masks_goes_on_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "selective_search", Search(2))
    with pytest.raises(KeyboardInterrupt):
        write_masks(SCENES, tmp_path)
    assert not (tmp_path / "proposals.json").exists()
    monkeypatch.setattr(module, "selective_search", search := Search())
    write_masks(SCENES, tmp_path)
    results: list[dict[str, Any]] = read_json(tmp_path / "proposals.json")
    assert search.calls == 1  # two images were kept
    assert [result["image_id"] for result in results] == [SCENES.labels(index).image_id for index in range(3)]
    assert average_recall(read_json(tmp_path / "annotations.json"), results)["coco"]["AR@10"] >= 0
    write_masks(SCENES, tmp_path)
    assert search.calls == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotations.json", "proposals.json"]
    write_masks(SyntheticScenes(2, height=48, width=64, seed=2), tmp_path)  # other images: made anew
    assert search.calls == 3


def test_the_command_wants_opencv(mini_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings("mini", mini_tree, tmp_path / "out", dry=True)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "cv2", None)  # as if it were not installed
        with pytest.raises(ValueError, match=r"needs OpenCV .* pip install 'instancefcn\[bench\]'"):
            reproduce("selective-search", Runner(settings))
    pytest.importorskip("cv2.ximgproc", reason="needs OpenCV's contributed modules: instancefcn[bench]")
    folder = reproduce("selective-search", Runner(settings))
    for test in ("coco-mini-val", "voc2007"):
        results = read_json(folder / test / "proposals.json")
        assert len({result["image_id"] for result in results}) == 2  # a dry run
        assert all("segmentation" in result for result in results)
