"""What a run asks for: none is not the same as not given."""

from __future__ import annotations

import pytest

from instancefcn.inference.request import Request


@pytest.mark.parametrize(
    ("objects", "given", "most"),
    [(False, None, 100), (False, 0, 0), (False, 7, 7), (True, None, None), (True, 0, 0), (True, 7, 7)],
)
def test_how_many_results_an_image_has_at_most(objects: bool, given: int | None, most: int | None) -> None:
    assert Request(objects, max_proposals=given).most == most
