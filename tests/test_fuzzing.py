"""Spoilt files: a few of every kind, and all that ever broke something."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzzing import TARGETS, attempt, spoil
from instancefcn.data.open import open_source

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.parent.name != "__pycache__")


@pytest.fixture(scope="module", params=list(TARGETS))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A target, and a folder that is ready for it."""
    folder = tmp_path_factory.mktemp(request.param)
    TARGETS[request.param].prepare(folder)
    return request.param, folder


def test_sound_files_are_taken(place: tuple[str, Path]) -> None:
    target = TARGETS[place[0]]
    assert all(attempt(target, data, place[1]) for data in target.seeds())


@given(seed=st.integers(0, 10**9))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_spoilt_files_are_taken_or_refused(place: tuple[str, Path], seed: int) -> None:
    target, rng = TARGETS[place[0]], random.Random(seed)
    attempt(target, spoil(rng.choice(target.seeds()), target.is_json, rng), place[1])


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_something(path: Path, tmp_path: Path) -> None:
    target = TARGETS[path.parent.name]
    target.prepare(tmp_path)
    attempt(target, path.read_bytes(), tmp_path)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("coco", "coco:{0}/t.json,{0}/images"),
        ("labelme", "labelme:{0},{0}/images"),
        ("geojson", "geojson:{0}"),
        ("labelstudio", "labelstudio:{0}/t.json,{0}/images"),
        ("labels", "labels:{0}"),
    ],
)
def test_sound_files_have_instances(name: str, spec: str, tmp_path: Path) -> None:
    """Else spoiling them would show nothing."""
    target = TARGETS[name]
    target.prepare(tmp_path)
    target.read(target.seeds()[0], tmp_path)
    source = open_source(spec.format(tmp_path))
    assert len(source.labels(0).instances) >= 2
