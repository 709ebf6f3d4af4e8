"""Several visitors at once: nothing is mixed up, and what is kept stays bounded."""

from __future__ import annotations

import pytest

from instancefcn.web.models import Models
from instancefcn.web.visit import Visits
from tools.page_load import Load, draw_pictures
from web.conftest import Site

pytest.importorskip("uvicorn")


def test_visitors_at_once(models: Models) -> None:
    site = Site(models)
    pictures = draw_pictures(3)
    kept = site.server.visits = Visits(most_bytes=4 * len(pictures[0]))
    try:
        load = Load(site.port, pictures)
        load.run(uploads=12, clients=4)
    finally:
        site.close()
    assert load.mixed() == []
    assert len(load.seconds) == 12
    assert {len(said) for said in load.answers.values()} == {1}
    assert len(set(map(bytes, (said for answers in load.answers.values() for said in answers)))) == 3
    there = [one for visit in kept._visits.values() for one in visit.photographs.values()]
    assert 0 < sum(one.bytes() for one in there) <= kept.most_bytes
