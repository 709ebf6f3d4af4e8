"""What the page says of a candidate is what the proposer does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from instancefcn.geometry.rle import decode, ious
from instancefcn.inference.pasting import paste
from instancefcn.inference.proposer import MIN_SCORE, Proposer, as_tensor, assemble_masks
from instancefcn.inference.suppression import suppress
from instancefcn.inference.voting import vote
from instancefcn.model.assembling import cells
from instancefcn.web.explanation import explain, rank_of
from instancefcn.web.found import LOWEST_CHANCE, Found
from instancefcn.web.passes import NOBODY, Pass
from instancefcn.web.walk import Walk
from web.conftest import discs

SIDES = {
    "whole": {},
    "twice": {"shorter_sides": (120.0, 240.0)},  # windows of one size in the image, from levels of two passes
    "tiles": {"shorter_sides": (160.0, 240.0), "longest_side": 256.0, "tiles": True},
}


@pytest.fixture(scope="module", params=list(SIDES))
def either(proposer: Proposer, request: pytest.FixtureRequest) -> Proposer:
    """One that looks at the photograph as a whole, once or at two sides, and one that also looks at larger tiles."""
    config = replace(proposer.config, **SIDES[request.param])
    return Proposer(proposer.network, config, device="cpu", rule=proposer.rule)


@pytest.fixture(scope="module")
def walk(either: Proposer) -> Walk:
    return Walk(either, discs())


@pytest.fixture(scope="module")
def last(walk: Walk) -> Pass:
    """The last pass, which is that over the last tile where there are any."""
    return walk.look(walk.passes - 1)


@pytest.fixture(scope="module")
def found(either: Proposer) -> Found:
    return Found.of(either, discs())


@pytest.fixture(scope="module")
def plain(proposer: Proposer) -> Found:
    return Found.of(proposer, discs())


def test_the_walk_ends_at_the_proposers_candidates(walk: Walk, found: Found, either: Proposer) -> None:
    assert walk.candidates == either(discs(), max_proposals=3500, min_score=MIN_SCORE)
    assert len(walk.candidates) > 10
    assert len(walk.candidates) > len(found.candidates) > 0  # those that are unlikely are left out there
    assert walk.candidates[: len(found.candidates)] == found.candidates
    assert walk.passes == 1 + len(list(either.parts(as_tensor(discs()))))


def test_a_candidate_comes_from_its_window(walk: Walk) -> None:
    assert len(set(walk.origins[:, 0].tolist())) > walk.passes // 2  # a tile may have none
    for rank in range(0, len(walk.candidates), 11):
        number, window = walk.origins[rank].tolist()
        of_pass = walk.look(number)
        (rle,) = paste(
            vote(of_pass.masks, np.array([window]), walk.height, walk.width, of_pass.config), walk.height, walk.width
        )
        assert rle == walk.candidates.rles[rank]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("threshold", [None, 0.03, 0.1, 0.2, 0.5, 0.9])
def test_objects_at_a_threshold_are_the_first_of_all(
    plain: Found, proposer: Proposer, threshold: float | None, exclusive: bool
) -> None:
    expected = proposer.objects(discs(), threshold, exclusive=exclusive)
    every = plain.objects(exclusive)
    count = plain.usual(exclusive) if threshold is None else int((every.scores >= threshold).sum())
    assert every[:count] == expected
    assert plain.lowest == LOWEST_CHANCE


def test_a_checkpoint_without_a_rule(proposer: Proposer) -> None:
    bare = Proposer(proposer.network, proposer.config, device="cpu")
    found = Found.of(bare, discs())
    assert found.objects(False)[: found.usual(False)] == bare.objects(discs(), 0.3)


def test_the_suppressor_of_each_window(last: Pass) -> None:
    survivors, _ = suppress(last.masks, last.height, last.width, last.config)
    assert set(np.flatnonzero(last.suppressor == NOBODY)) == set(survivors)
    lost = np.flatnonzero(last.suppressor != NOBODY)
    assert len(lost) > 100
    for window in lost[::50]:
        by = last.suppressor[window]
        assert by in survivors
        overlap = last.box_ious(int(window))
        assert overlap[by] > last.config.nms_threshold
        rivals = [one for one in survivors if overlap[one] > last.config.nms_threshold]
        assert last.masks.scores[by] == last.masks.scores[rivals].max() >= last.masks.scores[window]


def test_a_window_is_found_among_its_score_maps(last: Pass) -> None:
    for window in last.survivors[::29].tolist():
        group, (row, column) = last.place_of(window)
        maps = group.score_maps
        assert maps.quality is not None
        objectness, quality = (one[0, row, column].sigmoid().item() for one in (maps.objectness, maps.quality))
        score = objectness * quality**last.config.quality_power * last.masks.stability[window]
        assert score == pytest.approx(last.masks.scores[window], rel=1e-5)
        (place,) = ((group.positions_yx[:, 0] == row) & (group.positions_yx[:, 1] == column)).nonzero()[0].tolist()
        one = assemble_masks([group], last.masks.threshold_logit, last.config.blend_tiles)
        np.testing.assert_array_equal(one.logits(place), last.masks.logits(window))
        np.testing.assert_array_equal(one.window_boxes[place], last.masks.window_boxes[window])


def test_voters_are_those_that_the_average_takes(last: Pass) -> None:
    window = int(last.survivors[0])
    voters = last.voters(window)
    assert len(voters) > 1
    alone = last.masks[voters]
    (place,) = np.flatnonzero(voters == window)
    np.testing.assert_allclose(
        vote(alone, np.array([place]), last.height, last.width, last.config).logits(0),
        vote(last.masks, np.array([window]), last.height, last.width, last.config).logits(0),
        atol=1e-4,
    )


def test_fates_by_the_definition(walk: Walk) -> None:
    rles, rule = walk.candidates.rles, walk.rule
    overlap = ious(rles, rles)
    assert {fate for fate, _ in walk.fates} >= {"object", "duplicate"}
    for rank, (fate, by) in enumerate(walk.fates):
        better = [one for one in walk.objects if one < rank]
        repeats = [one for one in better if overlap[rank, one] > rule.max_iou]
        assert (fate == "duplicate") == (bool(repeats) and rank not in walk.objects)
        assert set(by) <= (set(repeats) if fate == "duplicate" else set(better))
        assert bool(by) == (fate != "object")


def test_candidates_at_a_pixel(walk: Walk) -> None:
    masks = walk.candidates.masks()
    for x, y in ((40, 40), (0, 0), (159, 119), (110, 50)):
        assert walk.at(x, y).tolist() == np.flatnonzero(masks[:, y, x]).tolist()


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_candidate_of_an_object(walk: Walk, found: Found, exclusive: bool) -> None:
    chosen = found.objects(exclusive)
    for number, one in enumerate(chosen, start=1):
        rank = rank_of(walk, found, exclusive, number)
        before = decode(walk.candidates.rles[rank])
        assert (before & one.mask()).sum() > 0.8 * one.area
        assert walk.rule.chance(walk.scores[[rank]])[0] == one.score


def test_objects_that_vouch_for_each_other_count_more(proposer: Proposer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instancefcn.objects.MANY_ALIKE", 2)
    monkeypatch.setattr("instancefcn.objects.LIKE_SIZE", 100.0)
    assert proposer.rule is not None
    plain = Walk(proposer, discs())
    second = float(plain.candidates.scores[plain.objects[1]])
    rule = replace(proposer.rule, threshold=second, alike=0.5)
    vouched = Proposer(proposer.network, proposer.config, device="cpu", rule=rule)
    walk, found = Walk(vouched, discs()), Found.of(vouched, discs())
    first, second = walk.candidates.scores[walk.objects[:2]]
    easing = 0.5 * (first + second) / 2 / second
    np.testing.assert_allclose(walk.scores, np.minimum(walk.candidates.scores / easing, 1.0))
    usual = vouched.objects(discs())
    assert found.objects(False)[: found.usual(False)] == usual
    assert len(usual) > 2
    for number in (1, len(usual)):
        told = explain(walk, found, exclusive=False, number=number)["result"]
        assert (told["fate"], told["chance"]) == ("object", usual.scores[number - 1])
        assert told["counted"] == pytest.approx(min(told["score"] / easing, 1.0))


def test_an_explanation_at_a_disc(walk: Walk, found: Found) -> None:
    told = explain(walk, found, exclusive=False, pixel=(40, 40))
    json.dumps(told, allow_nan=False)
    assert told["here"][0]["rank"] == walk.at(40, 40)[0]
    rank, window = told["rank"], told["window"]
    assert [told["pass"], told["passes"]] == [walk.origins[rank, 0], walk.passes]
    of_pass, place = walk.look(told["pass"]), walk.origins[rank, 1]
    assert window["box"] == of_pass.masks.window_boxes[place].tolist()
    sides = np.bincount(cells(window["side"], window["k"]).numpy())  # cells of each tile
    widths = np.diff(window["tiles_x"]) / (window["box"][2] - window["box"][0]) * window["side"]
    np.testing.assert_allclose(widths, sides, atol=1e-9)
    assert told["result"]["fate"] in ("object", "unlikely")
    assert told["result"]["score"] == walk.candidates.scores[rank]
    assert told["suppression"]["suppressed"] == (of_pass.suppressor == place).sum()
    assert explain(walk, found, exclusive=False, rank=rank)["rank"] == rank
    number = told["result"]["number"]
    assert explain(walk, found, exclusive=False, number=number)["rank"] == rank


def test_maps_lie_where_their_tile_does(walk: Walk, found: Found) -> None:
    for rank in walk.objects[:4].tolist():
        window = explain(walk, found, exclusive=False, rank=rank)["window"]
        left, top, right, bottom = window["looked_at"]
        assert left <= window["box"][2]
        assert window["box"][0] <= right
        assert top <= window["box"][3]
        assert window["box"][1] <= bottom
        assert window["extent"][0] >= right - left - 1e-6
        assert window["extent"][1] >= bottom - top - 1e-6


def test_an_explanation_where_nothing_is(walk: Walk, found: Found) -> None:
    for x, y in np.ndindex(160, 120):
        if not len(walk.at(x, y)):
            break
    else:
        pytest.fail("every pixel is covered")
    told = explain(walk, found, exclusive=False, pixel=(x, y))
    assert told["rank"] is None
    assert told["result"] is None
    assert told["here"] == []
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    "asked", [{"rank": -1}, {"rank": 10**6}, {"number": 0}, {"pixel": (160, 0)}, {"pixel": (0, -1)}]
)
def test_questions_about_nothing(walk: Walk, found: Found, asked: dict) -> None:
    with pytest.raises(LookupError):
        explain(walk, found, exclusive=False, **asked)
