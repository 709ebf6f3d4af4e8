"""What to tell of a training whose numbers are no numbers any more."""

from __future__ import annotations

from collections.abc import Sequence

from instancefcn.training.optimization import OptimizationConfig


def diverged(what: str, iteration: int, names: Sequence[str], last_good: str, config: OptimizationConfig) -> ValueError:
    """The error that ends such a run.

    Args:
        what: became infinite or NaN, as the start of a sentence.
        iteration: in which.
        names: files of the batch; none where they are not known.
        last_good: a sentence on what is safe.
    """
    images = f", in a batch of {', '.join(names)}" if names else ""
    tries = [f"a lower optimization.learning_rate than {config.learning_rate:g} in the recipe"]
    tries += ["--precision fp32"] if config.precision != "fp32" else []
    tries += [] if config.clip_norm else ["optimization.clip_norm = 10"]
    return ValueError(
        f"{what} in iteration {iteration}{images}. {last_good}. Look at the labels of the images with `instancefcn "
        f"validate`; then try {', or '.join(tries)}, in another --out"
    )
