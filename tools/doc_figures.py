"""Draw the pictures of docs/images with the shipped checkpoint, of photographs that scikit-image brings along.

python tools/doc_figures.py

All of them are free: astronaut and hubble_deep_field (NASA, public domain), coins (Brooklyn Museum, no known
restrictions), coffee (Rachel Michetti, CC0), horse (Andreas Preuss, CC0).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import skimage.data
from jaxtyping import UInt8
from PIL import Image

from instancefcn import Proposer
from instancefcn.data.images import read_image
from instancefcn.evaluation.curves import empty_figure, render
from instancefcn.inference.proposer import as_tensor, assemble_masks
from instancefcn.viz.panels import show
from instancefcn.viz.score_maps import choose_size, choose_windows, draw_sheet, window_side

IMAGES = Path(__file__).parent.parent / "docs" / "images"
PHOTOGRAPHS = Path(skimage.data.__path__[0])
LONGEST_SIDE = 940  # pixels of a picture
MOST_BYTES = 150_000
COINS_WINDOW = 76  # pixels: a size that suits most of the coins
SHOWN = 30  # best windows, and candidates, of the walk
LIMITS = ("astronaut.png", "coffee.png", "coins.png", "horse.png", "hubble_deep_field.jpg")
LIMIT_SIDE = 480

Picture = UInt8[np.ndarray, "h w 3"]


def main() -> None:
    """Draw all of them."""
    proposer = Proposer.from_checkpoint(device="cpu")
    coins = read_image(PHOTOGRAPHS / "coins.png")
    write("score-maps", score_maps(proposer, coins))
    write("walk", walk(proposer, coins))
    for name in LIMITS:
        photograph = read_image(PHOTOGRAPHS / name)
        write(f"objects-{Path(name).stem}", proposer.objects(photograph).draw(photograph), LIMIT_SIDE)


def score_maps(proposer: Proposer, photograph: Picture) -> Picture:
    """The sheet of ``instancefcn figure score-maps``."""
    windows = choose_size(proposer.windows(as_tensor(photograph)), COINS_WINDOW)
    height, width = photograph.shape[:2]
    shown = choose_windows(windows, height, width, proposer.config, 5)
    return picture(render(draw_sheet(photograph, windows, shown), "png"))


def walk(proposer: Proposer, photograph: Picture) -> Picture:
    """What one photograph goes through: a map of objectness, best windows, candidates, objects."""
    height, width = photograph.shape[:2]
    groups = proposer.windows(as_tensor(photograph))
    chosen = choose_size(groups, COINS_WINDOW)
    whole = np.array([0.0, 0, width, height])
    figure = empty_figure(13, 2.9)
    axes = figure.subplots(1, 4)
    objectness = chosen.score_maps.objectness[0].float().sigmoid().cpu().numpy()
    stride = chosen.score_maps.stride / np.array(chosen.image_scale)
    place = np.array([0, 0, *objectness.shape[::-1] * stride])
    show(axes[0], objectness / objectness.max(), place, whole)
    axes[0].set_title(f"objectness of windows of {window_side(chosen):.0f} pixels", loc="left", fontsize=10)

    masks = assemble_masks(groups, proposer.config.threshold_logit)
    show(axes[1], photograph, whole, whole)
    for left, top, right, bottom in masks.window_boxes[np.argsort(-masks.scores)[:SHOWN]]:
        axes[1].plot([left, right, right, left, left], [top, top, bottom, bottom, top], color="#2f9df4", linewidth=0.8)
    axes[1].set_title(f"the best {SHOWN} windows of all sizes", loc="left", fontsize=10)

    show(axes[2], photograph, whole, whole)
    for proposal in proposer(photograph, max_proposals=SHOWN):
        axes[2].contour(proposal.mask(), [0.5], colors=["#ffcc00"], linewidths=0.8)
    axes[2].set_title(f"{SHOWN} candidates: suppressed, voted", loc="left", fontsize=10)

    objects = proposer.objects(photograph)
    show(axes[3], objects.draw(photograph), whole, whole)
    axes[3].set_title(f"{len(objects)} objects", loc="left", fontsize=10)
    return picture(render(figure, "png"))


def picture(data: bytes) -> Picture:
    """The pixels of an image file."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def write(name: str, pixels: Picture, side: int = LONGEST_SIDE) -> None:
    """Write a JPEG of at most ``MOST_BYTES`` into docs/images."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "jpeg", quality=78, optimize=True)
    assert file.tell() <= MOST_BYTES, f"{name}: {file.tell()} bytes"
    (IMAGES / f"{name}.jpg").write_bytes(file.getvalue())
    print(f"{IMAGES / name}.jpg: {file.tell()} bytes")


if __name__ == "__main__":
    main()
