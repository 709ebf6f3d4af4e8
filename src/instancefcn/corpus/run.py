"""A run over a corpus: what it was asked for, which blocks are left, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instancefcn.corpus.blocks import Block
from instancefcn.corpus.places import Place
from instancefcn.corpus.tables import BlockTables
from instancefcn.data.corpus import MANIFEST
from instancefcn.journal import differing

_LARGEST = 1 << 24  # bytes of a manifest


@dataclass
class Outcome:
    """What came of the blocks of this run."""

    blocks: int = 0
    done: int = 0  # images
    failed: int = 0
    found: int = 0  # results

    def add(self, said: Mapping[str, Any]) -> None:
        """Count what a worker says of a block (``Worker.do``)."""
        if said["reason"]:  # it is not done
            return
        self.blocks += 1
        self.done += said["done"]
        self.failed += said["failed"]
        self.found += said["found"]


def begin(tables: BlockTables, settings: Mapping[str, Any], blocks: Sequence[Block]) -> list[Block]:
    """The blocks that are left to do; a new run is written down first.

    Args:
        settings: all that the results follow from, as JSON. The folder may hold blocks of the same alone.

    Raises:
        ValueError: the folder holds blocks of another run; says what differs.
        OSError: it can't be written to.
    """
    place = tables.out / MANIFEST
    then = _read(place)
    done = tables.done()
    if then is None:
        if done:
            raise ValueError(
                f"{tables.out}: holds {len(done)} blocks, and no {MANIFEST} that says of which run: give another --out"
            )
        tables.make_folders()
        with place.whole() as file:
            file.write((json.dumps({"settings": settings, "blocks": len(blocks)}, indent=1) + "\n").encode())
    elif others := differing(then, settings):
        raise ValueError(
            f"{tables.out}: the run there was asked for other things: {'; '.join(others)}. Repeat the command as it "
            "was, or give another --out"
        )
    tables.remove_temporary()
    return [block for block in blocks if block.number not in done]


def left_after(tables: BlockTables, blocks: Iterable[Block]) -> int:
    """How many of the blocks are not done, and nothing of them that is half written is there any more."""
    tables.remove_temporary()
    done = tables.done()
    return sum(block.number not in done for block in blocks)


def _read(place: Place) -> dict[str, Any] | None:
    try:
        return dict(json.loads(place.read(_LARGEST))["settings"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{place}: damaged, so nobody knows of which run the blocks are: give another --out"
        ) from error
