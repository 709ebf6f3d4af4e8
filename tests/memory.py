"""How much memory a piece of code takes, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource, sys
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
{setup}
before = peak()
{measured}
print(peak() - before)
"""


def megabytes_for(measured: str, *, setup: str = "") -> float:
    """By how much the peak memory of a fresh process grows while a piece of code runs, after another one has run."""
    program = _PROGRAM.format(setup=setup, measured=measured)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])
