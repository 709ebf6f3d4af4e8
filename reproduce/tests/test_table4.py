"""Table 4, dry: classifiers are trained and measured on the proposals of networks that know nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.models import proposal_network
from instancefcn.classifier.config import NamingConfig
from instancefcn.geometry.rle import decode
from instancefcn.inference.proposer import Proposer
from instancefcn.proposals import Proposals
from reproduce import naming as module
from reproduce.experiments import reproduce
from reproduce.image_precision import PRECISION_MEASURES, ImagePrecision
from reproduce.kept import KeptProposals, from_text, labelled_masks, to_text
from reproduce.methods import Claim
from reproduce.naming import NamingResult, naming_config
from reproduce.runner import Runner
from reproduce.settings import Settings
from reproduce.table4 import COLUMNS, PrecisionRow, judge_rows, naming_claims, namings, reproduce_table_4, to_markdown
from reproduce.verdict import judge_precision
from synthetic import SyntheticScenes

pytestmark = pytest.mark.usefixtures("one_thread")

SCENES = SyntheticScenes(3, height=48, width=64, seed=1)


def same(first: Proposals, second: Proposals) -> bool:
    return (
        first.rles == second.rles
        and np.array_equal(first.boxes_xyxy, second.boxes_xyxy)
        and np.array_equal(first.scores, second.scores)
        and (first.height, first.width) == (second.height, second.width)
    )


def test_mini_is_made_once_and_goes_on(mini_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHIPPED_CHECKPOINT", proposal_network(tmp_path / "lite.safetensors"))
    settings = Settings("mini", mini_tree, tmp_path / "out", device="cpu", workers=0, dry=True)
    page = reproduce("table4", Runner(settings))
    text, first = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert "DRY RUN" in text
    assert "| MNC + InstanceFCN, N = 300 | 61.5 | 43.0 |" in text
    assert "| MNC + MNC, trained step by step (in the text) | 60.2 | - |" in text
    assert "fingerprint `" in text
    slugs = [naming.slug for naming in namings("mini")]
    assert [(row["data"], row["slug"]) for row in first["rows"]] == [
        (data, slug) for slug in slugs for data in ("animals", "coco-mini")
    ]
    assert first["not_made_yet"] == []
    assert all(list(seed) == list(COLUMNS) for row in first["rows"] for seed in row["seeds"])
    assert {len(row["seeds"]) for row in first["rows"]} == {1}
    assert len(first["findings"]) == 2 * 4 * len(naming_claims("mini"))

    runs = page.parent / "runs"
    written = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    assert len([path for path in written if path.name == "classifier.safetensors"]) == 2 * 3
    page.unlink()
    (lost,) = runs.glob("names-animals-lite-*/seed0/lite-n300-unvoted.npz")
    lost.unlink()

    def again(*arguments: Any, **more: Any) -> None:
        raise AssertionError("what is there was made again")

    monkeypatch.setattr(module, "train_classifier", again)
    monkeypatch.setattr(Proposer, "__call__", again)
    reproduce("table4", Runner(settings))
    assert json.loads(page.with_suffix(".json").read_text()) == first
    assert lost.exists()
    kept = {path: path.stat().st_mtime_ns for path in written if path.suffix == ".safetensors"}
    assert kept == {path: time for path, time in written.items() if path.suffix == ".safetensors"}

    (plan,) = runs.glob("names-coco-mini-deepmask-*/seed0/run.json")
    plan.write_text(plan.read_text().replace('"epochs": 1', '"epochs": 2'))
    with pytest.raises(ValueError, match=r"run\.json is of another run .* give another --out"):
        reproduce("table4", Runner(settings))


def test_the_papers_classifier_on_voc(paper_tree: Path, tmp_path: Path) -> None:
    settings = Settings("paper", paper_tree, tmp_path / "out", device="cpu", workers=0, dry=True)
    # Without ~DeepMask, whose 81 million parameters would take a minute; `mini` names its proposals above.
    rows = [naming for naming in namings("paper") if naming.method.slug != "deepmask"]
    claims = [Claim("voting", rows[0].slug, "ours-k5-n300-unvoted")]
    page = reproduce_table_4(Runner(settings), rows, claims)
    table = json.loads(page.with_suffix(".json").read_text())
    assert table["dry_run"] is True
    lists = f"{paper_tree}/VOCdevkit/VOC2012/ImageSets/Main"
    assert all(f"of these those that `{lists}/{split}.txt` lists" in page.read_text() for split in ("train", "val"))
    assert table["published"]["MNC + InstanceFCN, N = 300"] == {"mAP^r@0.5": 61.5, "mAP^r@0.7": 43.0}
    assert {row["data"] for row in table["rows"]} == {"VOC 2012, SBD"}
    (run,) = (json.loads(path.read_text()) for path in page.parent.glob("runs/names-voc-2012-sbd-ours-k5-*/*/run.json"))
    classifier = run["recipe"]["classifier"]
    assert (classifier["trunk"], run["recipe"]["learning"]["optimizer"]) == ("vgg16", "sgd")
    assert run["images"]["listed_in"].endswith("ImageSets/Main/train.txt")
    assert (page.parent / "runs/ours-k5-seed0/best.safetensors").exists()


def test_labelled_masks_as_proposals_are_the_instances_to_the_pixel() -> None:
    for labels in map(SCENES.labels, range(3)):
        proposals = labelled_masks(labels)
        assert len(proposals) == len(labels.instances) > 0
        for rle, box, instance in zip(proposals.rles, proposals.boxes_xyxy, labels.instances.rles, strict=True):
            mask, truth = decode(rle), decode(instance)
            assert (mask & truth).sum() == (mask | truth).sum() == mask.sum() > 0
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert set(proposals.scores) == {1.0}


def test_crowds_and_what_is_not_judged_are_no_proposals() -> None:
    labels = SCENES.labels(0)
    known = labels.instances
    marks = [np.arange(len(known)) == index for index in (0, 1)]
    marked = replace(labels, instances=replace(known, crowd=marks[0], ignore=marks[1]))
    assert labelled_masks(marked).rles == known.rles[2:]


def test_proposals_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    proposer = Proposer.from_checkpoint(proposal_network(tmp_path / "network.safetensors"))
    made = proposer(SCENES.image(0), max_proposals=50)
    assert len(made) > 3
    assert same(from_text(to_text(made)), made)
    nothing = Proposals([], np.zeros((0, 4)), np.zeros(0), 48, 64)
    assert same(from_text(to_text(nothing)), nothing)


def test_proposals_are_made_once_for_all_classifiers(tmp_path: Path) -> None:
    proposer = Proposer.from_checkpoint(proposal_network(tmp_path / "network.safetensors"))
    made = KeptProposals(proposer, tmp_path / "kept")(SCENES, 0)
    assert len(made) > 3

    def propose(image: np.ndarray, *, max_proposals: int) -> Proposals:
        raise AssertionError("what is there was made again")

    again = KeptProposals(propose, tmp_path / "kept")
    assert same(again(SCENES, 0), made)
    with pytest.raises(AssertionError):
        again(SCENES, 1)


def found_in(share: float) -> ImagePrecision:
    """Forty images with one instance each, which is found in a share of them."""
    right = np.repeat((np.arange(40) < 40 * share)[:, None], 2, axis=1)
    return ImagePrecision(np.ones((40, 1), dtype=np.int64), np.arange(40), np.zeros(40, dtype=np.int64), right, ~right)


def test_a_claim_holds_where_the_interval_and_every_seed_say_so() -> None:
    claim = Claim("more", "a", "b")

    def verdicts(first: list[float], second: list[float]) -> set[str]:
        found = judge_precision(claim, [found_in(s) for s in first], [found_in(s) for s in second], "scenes")
        assert [finding.measure for finding in found] == list(PRECISION_MEASURES)
        assert all(len(finding.of_seeds) == len(first) for finding in found)
        return {finding.verdict for finding in found}

    assert verdicts([0.9, 0.8], [0.3, 0.2]) == {"held"}
    assert verdicts([0.3], [0.9]) == {"not held"}
    assert verdicts([0.9, 0.3], [0.3, 0.4]) == {"not decidable"}  # the seeds contradict each other
    (first, *_) = judge_precision(claim, [found_in(0.9), found_in(0.8)], [found_in(0.3), found_in(0.3)], "scenes")
    assert first.difference.difference == pytest.approx(sum(first.of_seeds) / 2)


def test_a_page_that_is_not_whole_says_so_and_judges_what_is_there() -> None:
    rows = [
        PrecisionRow("scenes", naming, tuple(NamingResult(found_in(share + seed), 40.0, 60.0) for seed in (0.0, 0.1)))
        for naming, share in zip(namings("mini"), (0.5, 0.3), strict=False)
    ]
    findings = judge_rows(rows, naming_claims("mini"))
    assert {found.claim for found in findings} == {"N = 300 is better than N = 100"}
    text = to_markdown(Settings("mini", Path("data"), Path("out")), rows, findings, ["~DeepMask"])
    assert "DRY RUN" not in text
    assert "**Not made yet: ~DeepMask.**" in text
    # Half of all found without an error: precision is 1 at recalls 0, 0.1 ... 0.5, which are 6 of 11.
    assert (
        f"| {rows[0].naming.label} | 2 | 1.0 | 59.1 ± 4.5 | 59.1 ± 4.5 | 55.0 ± 5.0 | 55.0 ± 5.0 | 40.0 ± 0.0 |" in text
    )


@pytest.mark.parametrize("scale", ["paper", "mini"])
def test_rows_differ_in_what_they_say(scale: Any) -> None:
    rows = {naming.slug: naming for naming in namings(scale)}
    assert len(rows) == len(namings(scale)) == len({naming.label for naming in rows.values()})
    claims = naming_claims(scale)
    assert {slug for claim in claims for slug in (claim.first, claim.second)} <= set(rows)
    assert (claims[0].first, claims[0].second) == ("ours-k5-n300", "deepmask-n300")
    main = namings(scale)[0]
    ceiling = rows[f"{main.method.slug}-labelled-masks-unvoted-unsuppressed"]
    assert naming_config(NamingConfig(), main) == NamingConfig()
    assert naming_config(NamingConfig(), ceiling) == NamingConfig(nms_threshold=1.0, vote_threshold=0.0)
