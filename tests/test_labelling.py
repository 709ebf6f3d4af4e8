"""The simulated labeller of benchmarks/labelling.py, with a tiny network on scenes, and its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oracles
from benchmarks import labelling
from benchmarks.labelling import DOMAINS, Settings, choose_images, count_all_edits, count_edits, run
from benchmarks.labelling_page import draw, read_runs, shares, title, write_page
from instancefcn.data.segmentations import to_instances
from instancefcn.geometry.rle import Rle, decode, encode
from instancefcn.inference.proposer import Proposer
from instancefcn.labelling import next_images
from instancefcn.model.build import build_network
from instancefcn.objects import ObjectRule
from instancefcn.proposals import Proposals
from pictures import rectangle
from tiny import TINY, scenes

TWO = Settings("corn", init="random", images=2, minutes=None, iterations=3)


def row(left: int, right: int) -> Rle:
    """A run of pixels of an image of 1 x 100."""
    return encode(rectangle(0, left, 1, right, (1, 100)))


def test_edits_by_hand() -> None:
    wanted = [row(0, 10), row(20, 30), row(40, 50), row(60, 70), row(80, 90)]
    instances = to_instances([1, 2, 3, 4, 5], wanted, [1] * 5)
    instances = replace(instances, crowd=np.array([False, False, False, False, True]))
    objects = [
        row(0, 8),  # IoU 0.8: accepted
        row(20, 27),  # 0.7: corrected
        row(0, 10),  # an instance that is taken: deleted
        row(40, 44),  # 0.4: deleted, and the instance drawn
        row(85, 90),  # on a crowd: nothing to do
    ]
    found = count_edits(objects, instances)
    assert {name: found[name] for name in ("instances", "accepted", "corrected", "drawn", "deleted")} == {
        "instances": 4,
        "accepted": 1,
        "corrected": 1,
        "drawn": 2,
        "deleted": 2,
    }
    assert (found["right@0.5"], found["wrong@0.5"], found["right@0.75"], found["wrong@0.75"]) == (2, 2, 1, 3)


def test_edits_by_a_slow_twin() -> None:
    generator = np.random.default_rng(0)
    seen: dict[str, int] = {}
    for _ in range(30):
        rles, objects = (
            [row(int(left), int(left) + 12) for left in generator.integers(0, 88, size)]
            for size in generator.integers(0, 12, 2)
        )
        crowd = generator.random(len(rles)) < 0.2
        instances = replace(to_instances(list(range(1, len(rles) + 1)), rles, [1] * len(rles)), crowd=crowd)
        masks = [{int(x) for x in np.nonzero(decode(rle))[1]} for rle in rles]
        wanted, crowds = ([m for m, c in zip(masks, crowd, strict=True) if c == which] for which in (False, True))
        proposed = [{int(x) for x in np.nonzero(decode(rle))[1]} for rle in objects]
        matched = oracles.match_objects(proposed, wanted, crowds, 0.5)
        pairs = [
            len(mask & wanted[index]) / len(mask | wanted[index])
            for mask, index in zip(proposed, matched, strict=True)
            if isinstance(index, int)
        ]
        expected = {
            "accepted": sum(iou >= 0.8 for iou in pairs),
            "corrected": sum(iou < 0.8 for iou in pairs),
            "drawn": len(wanted) - len(pairs),
            "deleted": matched.count("wrong"),
        }
        found = count_edits(objects, instances)
        assert {name: found[name] for name in expected} == expected
        seen = {name: seen.get(name, 0) + number for name, number in expected.items()}
    assert all(seen.values())


def test_everything_is_drawn_before_there_is_a_network() -> None:
    source = scenes(3)
    found = count_all_edits(None, source)
    instances = sum(len(source.labels(index).instances) for index in range(3))
    assert found["drawn"] == found["instances"] == instances > 0
    assert (found["images"], found["accepted"], found["deleted"], found["F1@0.5"]) == (3, 0, 0, 0)


def test_perfect_objects_are_all_accepted() -> None:
    source = scenes(3)
    labels = iter([source.labels(index).instances for index in range(3)])

    def perfect(image: Any) -> Proposals:
        own = next(labels)
        return Proposals(own.rles, own.boxes_xyxy, np.ones(len(own)), 64, 80)

    found = count_all_edits(perfect, source)
    assert found["accepted"] == found["instances"] > 0
    assert (found["corrected"], found["drawn"], found["deleted"]) == (0, 0, 0)
    assert (found["F1@0.5"], found["F1@0.75"]) == (100, 100)


def test_two_rounds_and_going_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = scenes(5), scenes(2, seed=1)
    ruled: list[list[int]] = []

    def rule(proposer: Proposer, sources: Any) -> ObjectRule:  # so little training would find none
        ruled.append([index for _, index in sources[0].chosen])
        return ObjectRule(threshold=0.0)

    monkeypatch.setattr(labelling, "choose_rule", rule)
    options: dict[str, Any] = {"recipe": TINY, "workers": 0, "report": lambda text: None}
    whole = run(TWO, training, validation, tmp_path / "whole", rounds=2, **options)
    assert json.loads((tmp_path / "whole/rounds.json").read_text()) == whole
    assert [found["labelled"] for found in whole["rounds"]] == [0, 2, 4]
    assert [found["iterations"] for found in whole["rounds"]] == [0, 3, 3]
    chosen = [index for found in whole["rounds"] for index in found["chosen"]]
    assert sorted(chosen) == list(range(5))  # each image once; the last round has but one left
    for found in whole["rounds"]:
        instances = sum(len(training.labels(index).instances) for index in found["chosen"])
        edits = found["next"]
        assert edits["accepted"] + edits["corrected"] + edits["drawn"] == edits["instances"] == instances
        assert found["val"]["images"] == 2
    assert ruled == [chosen[:2], chosen[:4]]  # by what is labelled, since there are too few to keep some out
    assert [found["next"]["deleted"] > 0 for found in whole["rounds"]] == [False, True, True]
    assert not list((tmp_path / "whole").glob("*/last.*"))

    trained: list[list[int]] = []
    train = labelling.train

    def watched(recipe: Any, sources: Any, out: Path, **more: Any) -> Path:
        trained.append([index for _, index in sources[0].chosen])
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(recipe, sources, out, **more)

    monkeypatch.setattr(labelling, "train", watched)
    with pytest.raises(KeyboardInterrupt):
        run(TWO, training, validation, tmp_path / "cut", rounds=2, **options)
    run(TWO, training, validation, tmp_path / "cut", rounds=2, **options)
    assert trained == [chosen[:2], chosen[:4], chosen[:4]]  # the first training is not done again

    again = json.loads((tmp_path / "cut/rounds.json").read_text())
    for found in (*whole["rounds"], *again["rounds"]):
        found.pop("seconds")
    assert again["rounds"] == whole["rounds"]
    run(TWO, training, validation, tmp_path / "cut", rounds=9, **options)
    assert [found["labelled"] for found in read_runs(tmp_path)[0]["rounds"]] == [0, 2, 4, 5]  # then all are labelled
    with pytest.raises(ValueError, match="of other settings"):
        run(replace(TWO, seed=1), training, validation, tmp_path / "cut", rounds=2, **options)


def test_choice_depends_on_seed_and_round() -> None:
    ten, source = replace(TWO, images=10), scenes(40)
    first = choose_images(ten, None, source, [0, 1, 2], 0)
    assert len(set(first)) == 10
    assert set(first) <= set(range(3, 40))
    assert first == choose_images(ten, None, source, [0, 1, 2], 0)
    assert first != choose_images(replace(ten, seed=1), None, source, [0, 1, 2], 0)
    assert first != choose_images(ten, None, source, [0, 1, 2], 1)
    assert choose_images(ten, None, source, list(range(38)), 0) == [38, 39]


def test_choice_by_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    source = scenes(6)
    brightness = [float(source.image(index).mean()) for index in range(6)]
    monkeypatch.setattr(next_images, "uncertainty", lambda proposer, image: float(image.mean()))
    network = Proposer(build_network(TINY.network), TINY.inference)
    doubtful = replace(TWO, choose="uncertain")
    left = sorted({0, 1, 3, 5}, key=lambda index: -brightness[index])
    assert choose_images(doubtful, network, source, [2, 4], 1) == sorted(left[:2])
    by_chance = choose_images(TWO, None, source, [2, 4], 1)
    assert choose_images(doubtful, None, source, [2, 4], 1) == by_chance  # before there is one


def counts(instances: int, accepted: int, corrected: int, deleted: int) -> dict[str, Any]:
    drawn = instances - accepted - corrected
    edits = {"accepted": accepted, "corrected": corrected, "drawn": drawn, "deleted": deleted}
    return {"images": 10, "instances": instances, **edits, "F1@0.5": 87.65, "F1@0.75": 43.21}


def test_page(tmp_path: Path) -> None:
    machine = {"cpu": "A & B", "cores": 2, "threads": 1}
    found = {"chosen": [1], "iterations": 70, "seconds": 300.4}
    rounds = [
        found | {"labelled": 0, "next": counts(200, 100, 50, 30), "val": counts(100, 10, 0, 0)},
        found | {"labelled": 10, "next": {}, "val": counts(100, 20, 0, 0)},
    ]
    for domain, init in (("food", "imagenet"), ("food", "shipped"), ("corn", "shipped"), ("nuclei", "shipped")):
        settings = {**vars(Settings(domain, init=init))}
        folder = tmp_path / f"{domain}-{init}"
        folder.mkdir()
        kept = {"settings": settings, "machine": machine, "rounds": rounds if domain != "nuclei" else []}
        (folder / "rounds.json").write_text(json.dumps(kept))
    runs = read_runs(tmp_path)
    assert [(one["settings"]["domain"], one["settings"]["init"]) for one in runs] == [
        ("corn", "shipped"),
        ("food", "shipped"),
        ("food", "imagenet"),
    ]
    write_page(runs, tmp_path / "deep/page.md", "\nWhat is particular.\n")
    page = (tmp_path / "deep/page.md").read_text()
    assert "| 0 | 50.0 | 25.0 | 25.0 | 15.0 | 87.7 | 43.2 | 10.0 | 0.0 | 90.0 | 0.0 |" in page
    assert "| 10 |  |  |  |  | 87.7 | 43.2 | 20.0 | 0.0 | 80.0 | 0.0 |" in page  # no image was left
    assert "python benchmarks/labelling.py --domain food --init imagenet --choose random --seed 0 --round 10" in page
    assert "--rounds 1 --minutes 5.0 --recipe lite" in page
    assert page.index("line is cut.") < page.index("\nWhat is particular.\n") < page.index("## food")
    assert "A & B, 2 cores, 1 threads" in page
    assert (tmp_path / "deep/page.png").read_bytes().startswith(b"\x89PNG")
    assert draw(runs) == draw(runs)
    twice = [runs[0] | {"rounds": [rounds[0], rounds[0]]}]
    assert draw([*runs, *twice]) == draw(twice)  # the others have nothing to compare
    assert shares({}) is None
    other = vars(Settings("corn", choose="uncertain", seed=2))
    assert title(other) == "corn, from shipped weights, uncertain images next, seed 2"
    assert title(runs[1]["settings"]) == "food, from shipped weights"
    assert title(vars(Settings("food", iterations=1000))) == "food, from shipped weights, 1000 iterations"
    assert "## food, from imagenet weights" in page
    with pytest.raises(ValueError, match="no run has a round"):
        write_page([], tmp_path / "none.md")


def test_every_domain_has_a_spec_for_its_splits() -> None:
    for spec in DOMAINS.values():
        assert spec.format(root="data", split="val").count("val") in (1, 2)
