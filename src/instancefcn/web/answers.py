"""Requests read with care, and answers in words or JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from instancefcn.web.folder import ReviewFolder
from instancefcn.web.visit import Photograph

MOST_ASKED = 1_000_000  # bytes of a request in JSON


class Refused(Exception):  # noqa: N818 - it is an answer
    """What a visitor asks for can't be had; becomes an answer with a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def json_of(request: Request) -> Any:
    """The body of a request as JSON.

    Raises:
        Refused: it is none, or too large.
    """
    try:
        return json.loads(await body_of(request, MOST_ASKED, "the request"))
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"This is no JSON: {error}") from error


async def body_of(request: Request, most: int, name: str) -> bytes:
    """The body of a request, which is read to its bound and no farther.

    Args:
        most: bytes.
        name: of what it should be, for the sentence.

    Raises:
        Refused: it is larger.
    """
    stated = request.headers.get("content-length", "0")
    content = bytearray()
    too_large = Refused(413, f"{name}: more than {most / 1e6:.0f} MB: make it smaller")
    if not stated.isdecimal() or int(stated) > most:
        raise too_large
    async for piece in request.stream():
        content += piece
        if len(content) > most:
            raise too_large
    return bytes(content)


def photograph_json(photograph: Photograph) -> dict[str, Any]:
    """What the page needs to show a photograph."""
    return {
        "key": photograph.key,
        "name": as_text(photograph.name),
        "width": photograph.width,
        "height": photograph.height,
        "place": photograph.place,
        "version": "-".join(map(str, photograph.version)),
    }


def folder_json(folder: ReviewFolder) -> dict[str, Any]:
    """What the page needs to know of the folder."""
    return {
        "name": folder.folder.name,
        "labels": None if folder.labels is None else str(folder.labels),
        "form": folder.form,
        "category": folder.category[1],
    }


def as_text(name: str) -> str:
    """A name that an answer can hold: bytes of a file's name that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()


def number_of(request: Request, key: str) -> int:
    """A whole number of the address; 0 where there is none."""
    text = request.query_params.get(key, "0")
    if not text.isdecimal() or len(text) > 9:
        raise Refused(400, f"{key} must be a whole number")
    return int(text)
