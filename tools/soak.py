"""Kill a long piece of work at random moments, go on with it, and compare the end with one that nothing disturbed.

python tools/soak.py [--part train|propose] [--seed 0]

Each part is a file of its own, ``soak_PART.py``, with a function ``soak(folder, seed)`` that returns lines to print and
raises ``AssertionError`` where work was lost. SIGKILL can't be caught, so nothing is tidied up behind it.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from pathlib import Path


def parts() -> list[str]:
    """The parts that there are."""
    return sorted(path.stem.removeprefix("soak_") for path in Path(__file__).parent.glob("soak_*.py"))


def main() -> None:
    """Carry out the parts that were asked for; the first that loses work ends it with a traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=parts(), action="append", help="may be given again; all where none is given")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    arguments = parser.parse_args()
    for part in arguments.part or parts():
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"soak-{part}-") as folder:
            lines = importlib.import_module(f"soak_{part}").soak(Path(folder), arguments.seed)
        print("\n".join([*lines, f"{part}: {time.monotonic() - started:.0f} s, seed {arguments.seed}"]), flush=True)


if __name__ == "__main__":
    main()
