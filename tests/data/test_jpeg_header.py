"""Sizes of plain JPEG files: those that a decoder says, or none."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from instancefcn.data import images
from instancefcn.data.images import inspect_image
from instancefcn.data.jpeg_header import HEAD, plain_jpeg_size, size_in
from pictures import photograph


def jpeg(height: int = 9, width: int = 14, mode: str = "RGB", **options: object) -> bytes:
    written = io.BytesIO()
    Image.fromarray(photograph(height, width)).convert(mode).save(written, format="jpeg", **options)
    return written.getvalue()


def by_decoder(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int] | None:
    with monkeypatch.context() as patch:
        patch.setattr(images, "plain_jpeg_size", lambda _: None)
        try:
            return inspect_image(path)
        except ValueError:
            return None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"comment": b"hello"}, {"icc_profile": bytes(500)}, {"restart_marker_rows": 1}],
)
def test_plain_ones(mode: str, options: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(jpeg(mode=mode, **options))
    assert plain_jpeg_size(tmp_path / "a") == (9, 14)


def test_others_are_left_to_a_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert plain_jpeg_size(path) is None
    exif = Image.Exif()
    exif[274] = 6
    png = io.BytesIO()
    Image.fromarray(photograph(3, 4)).save(png, format="png")
    whole = jpeg()
    for content in (b"", b"\xff", b"\xff\xd8", whole[:-1], whole[:100], whole + b"\0", png.getvalue(), jpeg(exif=exif)):
        path.write_bytes(content)
        assert plain_jpeg_size(path) is None
    path.write_bytes(jpeg(exif=exif))
    assert inspect_image(path) == (14, 9)
    assert size_in(jpeg(comment=bytes(HEAD))[:HEAD]) is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert plain_jpeg_size(tmp_path / "pipe") is None


def test_a_stated_size_that_differs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(jpeg())
    assert inspect_image(tmp_path / "a", (9, 14)) == (9, 14)
    with pytest.raises(ValueError, match="is 14 x 9 pixels, but its annotations are for 9 x 14"):
        inspect_image(tmp_path / "a", (14, 9))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from([jpeg(), jpeg(progressive=True, icc_profile=bytes(40)), jpeg(mode="CMYK"), jpeg(mode="L")]),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=3),
    cut=st.one_of(st.none(), st.tuples(st.integers(0, 700), st.integers(0, 20))),
)
def test_whatever_is_damaged_it_says_what_a_decoder_says(
    content: bytes,
    changes: list[tuple[int, int]],
    cut: tuple[int, int] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damaged = np.frombuffer(content, dtype=np.uint8).copy()
    for place, value in changes:
        damaged[place % (len(damaged) - 2)] = value
    left = damaged.tobytes()
    if cut is not None:
        left = left[: cut[0]] + left[cut[0] + cut[1] :]
    (tmp_path / "a").write_bytes(left)
    found = plain_jpeg_size(tmp_path / "a")
    if found is not None and min(found) > 0:
        assert found == by_decoder(tmp_path / "a", monkeypatch)
