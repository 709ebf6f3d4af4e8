"""How long threads look for work before they sleep, so that a busy machine is not kept busier."""

from __future__ import annotations

import os

# What tells OpenMP how to wait: by its standard, by GNU's library, by LLVM's and Intel's.
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
LOOKS = 10_000  # some microseconds: a quiet machine loses nothing by it (docs/results/speed.md)


def let_threads_sleep() -> bool:
    """Let OpenMP's threads sleep soon while they wait; return whether that was set, and not by the user otherwise.

    By its own rule GNU's library, which torch brings on Linux, has them look again and again, hundreds of times in a
    call. Where another process has a core, they burn the time slice that the one they wait for needs, and a call can
    take ten times as long. It is read once, when torch is imported, so the command line sets it before, and the
    library does not. Other libraries of OpenMP do not read it.

    Example:
        >>> import os
        >>> os.environ["OMP_WAIT_POLICY"] = "active"
        >>> let_threads_sleep()
        False
    """
    if any(name in os.environ for name in VARIABLES):
        return False
    os.environ["GOMP_SPINCOUNT"] = str(LOOKS)
    return True
