"""Make pictures of many small things of a kind, as grains on a tray or cells under a microscope, with their labels.

    python tools/scatter_scenes.py runs/scenes --count 600 \
        --things coco:../shared/data/coco-extra/annotations/instances_train.json,../shared/data/coco-extra/train

Photographs of scenes have few things of one kind. Each picture here has one to three kinds, strewn over a ground, each
thing turned, resized and coloured a little differently. A kind is either a thing cut out of a labelled photograph, or
drawn: an outline that swells and shrinks, or has corners, filled with a shaded colour. (Cut-outs on other grounds:
Dwibedi et al., ICCV 2017; drawn ones: domain randomisation, Tobin et al., IROS 2017.) The same seed makes the same
pictures.

``OUT/images`` gets JPEG files, ``OUT/masks`` a 16-bit label map for each: ``instancefcn train --data labels:OUT``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from instancefcn.data.open import open_source
from instancefcn.data.source import Source
from instancefcn.geometry.rle import decode

HEIGHT, WIDTH = 480, 640
COUNTS, SIDES = (5, 160), (14, 130)  # of the things of a picture; pixels of their longer side
MAX_COVERED = 0.55  # of the picture
MIN_CUT = 40  # pixels of the longer side of a thing that is cut out
TRIES = 12  # places that are tried for a thing

Rgb = Float[np.ndarray, "h w 3"]  # 0..255
Cut = tuple[Rgb, Bool[np.ndarray, "h w"]]  # a thing's pixels, and which of them it covers
Draw = Callable[[np.random.Generator, int], Cut]  # a thing of a kind, so many pixels long
Outline = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]  # of x and y; below 1 it is inside


@dataclass(frozen=True)
class Kind:
    """Things that look alike."""

    draw: Draw
    side: float  # pixels of the longer side, about
    spread: float  # of the sides: standard deviation of their logarithm
    shade: float  # of the colours: standard deviation of a factor


@dataclass(frozen=True)
class Order:
    """Where the things of a picture may lie."""

    overlap: float  # share of a thing that each of the others may cover
    gap: int  # pixels between two
    centre: Float[np.ndarray, "2"]  # row and column of a heap
    radius: float  # of the heap, in pixels; more than the picture has where they lie anywhere
    areas: dict[int, int] = field(default_factory=dict)  # of what lies there, by label

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Order:
        """A random one."""
        overlap, gap = float(rng.choice([0.0, 0.05, 0.2])), int(rng.choice([0, 0, 1, 4]))
        return cls(overlap, gap, rng.uniform((0, 0), (HEIGHT, WIDTH)), rng.choice([0.3, 0.6, 9.0, 9.0]) * WIDTH)

    def find_place(
        self, rng: np.random.Generator, labels: Int[np.ndarray, "height width"], covers: Bool[np.ndarray, "h w"]
    ) -> tuple[slice, slice] | None:
        """Rows and columns for a thing; None if none of some tries suits."""
        height, width = covers.shape
        if height >= HEIGHT or width >= WIDTH:
            return None
        wide = covers if not self.gap else ndimage.binary_dilation(np.pad(covers, self.gap), iterations=self.gap)
        for _ in range(TRIES):
            top, left = (int(rng.integers(0, end)) for end in (HEIGHT - height, WIDTH - width))
            if np.hypot(top + height / 2 - self.centre[0], left + width / 2 - self.centre[1]) > self.radius:
                continue
            above, before = min(top, self.gap), min(left, self.gap)  # of the gap, inside the picture
            around = labels[top - above : top + height + self.gap, left - before : left + width + self.gap]
            part = wide[self.gap - above :, self.gap - before :][: around.shape[0], : around.shape[1]]
            counts = np.bincount(np.extract(part, around))  # of each label
            if all(counts[label] <= self.overlap * self.areas[label] for label in self.areas if label < len(counts)):
                return slice(top, top + height), slice(left, left + width)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--things", metavar="SPEC", nargs="+", required=True, help="labelled photographs to cut from")
    options = parser.parse_args()
    sources = [open_source(spec) for spec in options.things]
    for folder in ("images", "masks"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(options.count), desc="pictures"):
        picture, labels = make_scene(np.random.default_rng([options.seed, number]), sources)
        Image.fromarray(picture).save(options.out / "images" / f"{number:05}.jpg", quality=92)
        Image.fromarray(labels.astype(np.uint16)).save(options.out / "masks" / f"{number:05}.png")


def make_scene(
    rng: np.random.Generator, sources: Sequence[Source]
) -> tuple[np.ndarray, Int[np.ndarray, "height width"]]:
    """A picture, RGB, and its label map: 0 is the ground."""
    canvas = ground(rng, sources)
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
    side = log_uniform(rng, *SIDES)
    kinds = [make_kind(rng, sources, canvas, side * rng.uniform(0.7, 1.4)) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    order = Order.drawn(rng)
    shadow = rng.uniform(0.4, 0.9) if rng.random() < 0.3 else 1.0
    for number in range(1, 1 + round(log_uniform(rng, *COUNTS))):
        kind = kinds[int(rng.integers(len(kinds)))]
        length = int(np.clip(kind.side * np.exp(rng.normal(0, kind.spread)), 10, 240))
        pixels, covers = turned(rng, *kind.draw(rng, length))
        pixels = pixels * (1 + rng.normal(0, kind.shade, 3) * 0.4 + rng.normal(0, kind.shade))
        if (labels > 0).mean() > MAX_COVERED:
            break
        place = order.find_place(rng, labels, covers)
        if place is None:
            continue
        rows, columns = place
        if shadow < 1:
            cast_shadow(canvas, labels == 0, covers, rows, columns, shadow, max(1.0, length / 12))
        soft = ndimage.gaussian_filter(covers.astype(float), rng.uniform(0.4, 0.8)).clip(0, 1)[..., None]
        view = canvas[rows, columns]
        canvas[rows, columns] = view + soft * (pixels - view)
        labels[rows, columns][covers] = number
        order.areas[number] = int(covers.sum())
    return finished(rng, canvas), labels


def make_kind(rng: np.random.Generator, sources: Sequence[Source], canvas: Rgb, side: float) -> Kind:
    """A kind of things: half of them are cut out of photographs, half are drawn."""
    spread, shade = rng.choice([0.04, 0.12, 0.3]), rng.choice([0.02, 0.08, 0.15])
    cut = cut_out(rng, sources) if rng.random() < 0.5 else None
    if cut is None:
        return Kind(drawn(rng, canvas.mean((0, 1))), side, spread, shade)

    def draw(rng: np.random.Generator, length: int) -> Cut:
        picture, mask = to_images(*cut)
        scale = length / max(picture.size)
        width, height = (max(4, round(scale * side)) for side in picture.size)
        return from_images(
            picture.resize((width, height), Image.Resampling.LANCZOS),
            mask.resize((width, height), Image.Resampling.BILINEAR),
        )

    return Kind(draw, side, spread, shade)


def cut_out(rng: np.random.Generator, sources: Sequence[Source]) -> Cut | None:
    """A thing of a photograph, large and in one piece; None if the photograph has none."""
    source = sources[int(rng.integers(len(sources)))]
    sample = source[int(rng.integers(len(source)))]
    height, width = sample.image.shape[:2]
    for index in rng.permutation(len(sample.instances)).tolist():
        left, top, right, bottom = sample.instances.boxes_xyxy[index].round().astype(int).tolist()
        sides = right - left, bottom - top
        whole = left > 0 and top > 0 and right < width and bottom < height
        if not whole or max(sides) < MIN_CUT or min(sides) < 16 or not sample.instances.judged[index]:
            continue
        covers = decode(sample.instances.rles[index])[top:bottom, left:right]
        parts = int(np.max(ndimage.label(covers)[0]))  # pyright: ignore[reportIndexIssue]
        if parts == 1 and covers.mean() > 0.35:
            return sample.image[top:bottom, left:right].astype(float), covers
    return None


def drawn(rng: np.random.Generator, ground_colour: Float[np.ndarray, "3"]) -> Draw:
    """A kind with a shaded colour that differs from the ground's, by little or by much."""
    colour = (ground_colour + rng.normal(0, 1, 3) * rng.choice([12, 40, 90])).clip(0, 255)
    while np.abs(colour - ground_colour).max() < 14:
        colour = (ground_colour + rng.normal(0, 60, 3)).clip(0, 255)
    outline = cornered(rng) if rng.random() < 0.4 else smooth(rng)
    stretch = 1 + rng.exponential(0.5)
    dome, edge = rng.normal(0, 0.25), rng.normal(0, 0.25) * (rng.random() < 0.5)
    ridge = rng.normal(0, 0.2) * (rng.random() < 0.3)  # one half is lighter than the other
    grain, coarse = rng.choice([0, 6, 20]), rng.uniform(0.05, 0.3)

    def draw(rng: np.random.Generator, length: int) -> Cut:
        side = int(1.5 * length)  # the outline swells beyond its length
        x = (np.arange(side) / (side - 1) * 2 - 1)[None] * 1.5
        y = x.T * max(1.0, stretch * np.exp(rng.normal(0, 0.1)))
        inside = outline(rng, x, y)
        light = 1 + dome * (1 - inside**2).clip(-1, 1) + edge * np.exp(-(((inside - 1) / 0.15) ** 2))
        light = light + rng.normal(0, 0.1) * x + ridge * np.sign(y)
        texture = ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), coarse * length / 4)
        pixels = colour * light[..., None] + (grain * texture / (texture.std() + 1e-6))[..., None]
        return cut_to_box(pixels, inside < 1)

    return draw


def smooth(rng: np.random.Generator) -> Outline:
    """A circle that swells and shrinks, each thing in its own way."""
    bumps = rng.exponential([0.06, 0.04, 0.02])  # of the second, third and fourth harmonic

    def outline(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        angle = np.arctan2(y, x)
        radius = np.ones_like(angle)
        for turn, size in zip((2, 3, 4), bumps, strict=True):
            radius += size * rng.normal(0, 1) * np.cos(turn * angle + rng.uniform(0, 2 * np.pi))
        return np.hypot(x, y) / radius.clip(0.4, None)

    return outline


def cornered(rng: np.random.Generator) -> Outline:
    """A rectangle, often without one of its corners, or another regular polygon."""
    corners = int(rng.choice([4, 4, 4, 3, 5, 6, 8]))
    notch = rng.uniform(-0.3, 0.7, 2) if corners == 4 and rng.random() < 0.4 else None

    def outline(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if corners != 4:
            step = np.pi / corners
            return np.hypot(x, y) * np.cos((np.arctan2(y, x) + step) % (2 * step) - step) / np.cos(step)
        rectangle = np.maximum(np.abs(x), np.abs(y))
        return rectangle if notch is None else np.maximum(rectangle, 1 + np.minimum(x - notch[0], y - notch[1]))

    return outline


def ground(rng: np.random.Generator, sources: Sequence[Source]) -> Rgb:
    """A plain colour with clouds and grain; or a photograph out of focus, or the texture of a piece of one."""
    kind = rng.choice(["plain", "plain", "blurred", "texture"])
    if kind != "plain":
        source = sources[int(rng.integers(len(sources)))]
        image = source[int(rng.integers(len(source)))].image
        if kind == "texture":  # a small piece, enlarged
            top, left = (int(rng.integers(0, max(1, side - side // 9))) for side in image.shape[:2])
            image = image[top : top + image.shape[0] // 9, left : left + image.shape[1] // 9]
        large = np.asarray(Image.fromarray(image).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=float)
        blur = rng.uniform(8, 40) if kind == "blurred" else rng.uniform(3, 9)
        return ndimage.gaussian_filter(large, (blur, blur, 0))
    clouds = ndimage.gaussian_filter(rng.normal(0, 1, (HEIGHT, WIDTH)), log_uniform(rng, 2, 80))
    clouds = clouds / clouds.std() * rng.choice([0, 4, 12])
    return (rng.uniform(0, 255, 3) * rng.choice([0.3, 1, 1]))[None, None] + clouds[..., None]


def cast_shadow(
    canvas: Rgb,
    free: Bool[np.ndarray, "height width"],
    covers: Bool[np.ndarray, "h w"],
    rows: slice,
    columns: slice,
    strength: float,
    blur: float,
) -> None:
    """Darken the ground beside a thing, down and to the right, as its shadow does; in place."""
    reach = int(2 * blur) + 1
    top, left = rows.start, columns.start
    bottom, right = min(HEIGHT, rows.stop + reach), min(WIDTH, columns.stop + reach)
    dark = np.zeros((bottom - top, right - left))
    step = int(blur)
    part = covers[: bottom - top - step, : right - left - step]
    dark[step : step + part.shape[0], step : step + part.shape[1]] = part
    factor = 1 - (1 - strength) * ndimage.gaussian_filter(dark, blur)
    view = canvas[top:bottom, left:right]
    view *= np.where(free[top:bottom, left:right], factor, 1.0)[..., None]


def turned(rng: np.random.Generator, pixels: Rgb, covers: Bool[np.ndarray, "h w"]) -> Cut:
    """A thing turned by any angle, mirrored or not, and cut to its box."""
    angle = rng.uniform(0, 360)
    if rng.random() < 0.5:
        pixels, covers = pixels[:, ::-1], covers[:, ::-1]
    picture, mask = to_images(pixels, covers)
    seen, shown = from_images(
        picture.rotate(angle, Image.Resampling.BICUBIC, expand=True),
        mask.rotate(angle, Image.Resampling.BILINEAR, expand=True),
    )
    return cut_to_box(seen, shown) if shown.any() else (pixels, covers)


def to_images(pixels: Rgb, covers: Bool[np.ndarray, "h w"]) -> tuple[Image.Image, Image.Image]:
    """A thing as PIL's images: RGB, and grey with 255 where it covers."""
    mask = Image.fromarray(np.ascontiguousarray(covers)).convert("L")
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), mask


def from_images(picture: Image.Image, mask: Image.Image) -> Cut:
    """A thing from what ``to_images`` gives; it covers what is more than half covered."""
    return np.asarray(picture, dtype=float), np.asarray(mask) > 127


def cut_to_box(pixels: Rgb, covers: Bool[np.ndarray, "h w"]) -> Cut:
    """Without the rows and columns that a thing does not reach."""
    rows, columns = (np.flatnonzero(covers.any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return pixels[box], covers[box]


def finished(rng: np.random.Generator, canvas: Rgb) -> np.ndarray:
    """What a camera makes of it: focus, light, grain; some are grey, few are inverted."""
    blur = rng.uniform(0, 1.2)
    seen = ndimage.gaussian_filter(canvas, (blur, blur, 0))
    if rng.random() < 0.3:
        seen = np.repeat(seen.mean(-1, keepdims=True), 3, axis=-1)
    across, down = np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT)
    light = 1 + rng.normal(0, 0.1) * across[None, :, None] + rng.normal(0, 0.1) * down[:, None, None]
    seen = seen * light + rng.normal(0, rng.choice([0.5, 3, 8]), seen.shape)
    if rng.random() < 0.1:
        seen = 255 - seen
    return seen.clip(0, 255).astype(np.uint8)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two, as likely to double as to halve."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


if __name__ == "__main__":
    main()
