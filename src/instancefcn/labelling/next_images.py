"""Which images of a pool to label next, by one of four criteria."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8

from instancefcn.data.resizing import network_input, resized_size
from instancefcn.evaluation.average_recall import ious_one_to_one
from instancefcn.geometry.rle import Rle, decode, encode, ious
from instancefcn.inference.proposer import Proposer, as_tensor
from instancefcn.proposals import Proposals

Criterion = Literal["uncertain", "flip", "variety", "random"]
Read = Callable[[], UInt8[np.ndarray, "h w 3"]]  # the pixels of one image

LOWEST_CHANCE = 0.05  # of an object that counts as uncertain
NO_RULE_THRESHOLD = 0.3  # on the score of an object, where the checkpoint has no rule


@dataclass(frozen=True)
class Choice:
    """An image to label, and the number that it was chosen by."""

    index: int  # in the pool
    value: float  # the higher, the sooner; NaN for random


def choose_next(
    by: Criterion,
    pool: Sequence[Read],
    count: int,
    *,
    proposer: Proposer | None = None,
    labelled: Sequence[Read] = (),
    seed: int = 0,
    track: Callable[[Sequence[Read]], Iterable[Read]] = iter,
    failed: Callable[[int, Exception], None] = lambda index, error: None,
) -> list[Choice]:
    """Choose images of a pool to label, the most useful first.

    Args:
        by: "uncertain": most objects that may be none (``uncertainty``); "flip": objects that differ most from those of
            the mirrored image (``flip_disagreement``); "variety": images unlike the labelled ones and each other
            (``farthest_first``); "random": by chance.
        pool: a function for each image that reads it.
        count: at most so many.
        proposer: of the network in use; not needed for "random".
        labelled: images that have labels already; only "variety" reads them.
        seed: of "random", and of the order of equals.
        track: told of every image that is read, for a progress bar.
        failed: called with the index of an image of the pool that can't be read, and why; it is left out.

    Raises:
        ValueError: a labelled image can't be read.

    Example:
        >>> [choice.index for choice in choose_next("random", [np.zeros] * 5, 2)]
        [2, 4]
    """
    order = np.random.default_rng(seed).permutation(len(pool))
    if by == "random":
        return [Choice(int(index), float("nan")) for index in order[:count]]
    assert proposer is not None, f"{by} needs a network"
    found: dict[int, np.ndarray] = {}
    measure = {"uncertain": uncertainty, "flip": flip_disagreement, "variety": pooled_features}[by]
    for index, read in zip(order.tolist(), track([pool[index] for index in order]), strict=True):
        try:
            found[index] = np.asarray(measure(proposer, read()))
        except (ValueError, OSError) as error:
            failed(index, error)
    indices = list(found)
    if by == "variety" and found:
        known = [pooled_features(proposer, read()) for read in labelled]
        features = np.array(list(found.values())).reshape(len(found), -1)
        return [Choice(indices[i], value) for i, value in farthest_first(features, np.array(known), count)]
    values = {index: float(value) for index, value in found.items()}
    return [Choice(index, values[index]) for index in sorted(indices, key=lambda index: -values[index])[:count]]


def uncertainty(proposer: Proposer, image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Sum over the objects of an image of p (1 - p), p being the chance that each is one: highest near 0.5.

    It is the variance of the number of right objects, if they are independent, so images of many doubtful objects come
    first. Without a checkpoint's calibration p is the candidate's score.
    """
    chances = proposer.objects(image, LOWEST_CHANCE).scores
    return float((chances * (1 - chances)).sum())


def flip_disagreement(proposer: Proposer, image: UInt8[np.ndarray, "h w 3"]) -> float:
    """1 minus how well the objects of an image agree with those of its mirror image; from 0 to 1.

    Objects are matched one to one, highest IoU first; agreement is the sum of their IoUs over the mean number of
    objects. Two images without objects agree.
    """
    found, mirrored = (find_objects(proposer, pixels) for pixels in (image, np.ascontiguousarray(image[:, ::-1])))
    return 1 - agreement(ious(found.rles, [mirror(rle) for rle in mirrored.rles]))


def agreement(overlap: Float[np.ndarray, "n m"]) -> float:
    """Sum of the IoUs of one-to-one matches, highest first, over the mean of both numbers; 1 where both are 0.

    Example:
        >>> agreement(np.array([[0.9, 0.8], [0.7, 0.0]]))
        0.45
    """
    both = sum(overlap.shape)
    return float(2 * ious_one_to_one(overlap).sum() / both) if both else 1.0


def mirror(rle: Rle) -> Rle:
    """The mask with left and right exchanged."""
    return encode(decode(rle)[:, ::-1])


@torch.inference_mode()
def pooled_features(proposer: Proposer, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "c"]:
    """Mean over the image of the trunk's coarsest map, scaled to length 1."""
    pixels, config = as_tensor(image), proposer.config
    height, width = pixels.shape[-2:]
    size = resized_size(height, width, config.sides_of(height, width)[0], config.longest_side)
    images = network_input(pixels, size, proposer.network.size_multiple, proposer.device)
    features = proposer.network.backbone(images)[-1]
    stride = proposer.network.backbone.strides[-1]
    rows, columns = (-(-side // stride) for side in size)  # the padding beyond is no image
    mean = features[0, :, :rows, :columns].float().mean((1, 2)).cpu().numpy()
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def farthest_first(
    features: Float[np.ndarray, "n c"], known: Float[np.ndarray, "k *c"], count: int
) -> list[tuple[int, float]]:
    """Greedy k-center (Gonzalez 1985; for active learning Sener and Savarese, ICLR 2018).

    One after the other the point farthest from the nearest that is known or chosen. Without known points the first is
    the one nearest to the mean.

    Returns:
        Index and distance of each choice; of a first one without known points the distance is infinite.

    Example:
        >>> farthest_first(np.array([[0.0], [1.0], [5.0]]), np.array([[0.0]]), 2)
        [(2, 5.0), (1, 1.0)]
    """
    if not len(features):
        return []
    distances = np.full(len(features), np.inf)
    for point in known:
        distances = np.minimum(distances, np.linalg.norm(features - point, axis=1))
    chosen: list[tuple[int, float]] = []
    while len(chosen) < min(count, len(features)):
        if np.isinf(distances).all():
            index = int(np.linalg.norm(features - features.mean(0), axis=1).argmin())
        else:
            index = int(np.argmax(distances))
        chosen.append((index, float(distances[index])))
        distances = np.minimum(distances, np.linalg.norm(features - features[index], axis=1))
        distances[[index for index, _ in chosen]] = -1  # never twice, also among equals
    return chosen


def find_objects(proposer: Proposer, image: UInt8[np.ndarray, "h w 3"]) -> Proposals:
    """The objects of an image, also by a checkpoint without a rule: then those that score ``NO_RULE_THRESHOLD``."""
    return proposer.objects(image, None if proposer.rule is not None else NO_RULE_THRESHOLD)
