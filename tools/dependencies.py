"""Every package that an installation brings in, with its version and licence, from what is installed here.

    python tools/dependencies.py                 # what `pip install instancefcn` brings
    python tools/dependencies.py --extra train   # and with an extra; may be given again
    python tools/dependencies.py --check         # exit 1 where a licence is none of those that SECURITY.md allows

Where a network is at hand, `pip-audit` looks the same packages up among the known vulnerabilities.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

# Parts of SPDX expressions and of older licence fields. Each lets a program be used, changed and sold.
ALLOWED = (
    *(
        "apache",
        "bsd",
        "freebsd",
        "mit",
        "isc",
        "psf",
        "python software",
        "hpnd",
        "zlib",
        "cc0",
        "unlicense",
    ),
    *("mpl", "mozilla", "lgpl", "lesser general", "0bsd", "bsl-1.0", "boost", "cnri", "libpng", "unicode"),
)
NVIDIA = re.compile(r"^(nvidia|cuda|triton)")  # NVIDIA's terms; on Linux torch brings them in, with or without a GPU


def required(name: str, extras: Iterable[str] = ()) -> dict[str, Distribution | None]:
    """The packages that one needs, itself included, by name; None where it is not installed here."""
    found: dict[str, Distribution | None] = {}
    waiting = [(name, frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if (key, extras) in seen:
            continue
        seen.add((key, extras))
        try:
            found[key] = distribution(name)
        except PackageNotFoundError:
            found[key] = None
            continue
        for text in found[key].requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                waiting.append((needed.name, frozenset(needed.extras)))
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """What a package says of its licence, on one line: an SPDX expression, a classifier, or the field's first line."""
    metadata = package.metadata
    named = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if line.startswith("License")]
    field = (metadata.get("License") or "").strip().partition("\n")[0]
    return metadata.get("License-Expression") or ", ".join(named) or field or "not stated"


def allowed(text: str) -> bool:
    """Whether every part of a licence, as `licence` gives it, is one of ``ALLOWED``."""
    parts = re.split(r"\s+(?:AND|OR|WITH)\s+|,\s*|\(|\)", text)
    return all(any(word in part.lower() for word in (*ALLOWED, "llvm-exception")) for part in parts if part.strip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", action="append", default=[], help="of pyproject.toml; may be given again")
    parser.add_argument("--check", action="store_true", help="exit 1 where a licence is not allowed or not stated")
    arguments = parser.parse_args()
    refused: list[str] = []
    for name, package in required("instancefcn", arguments.extra).items():
        if package is None:
            print(f"{name:32} {'-':14} not installed here")
            continue
        text = licence(package)
        print(f"{name:32} {package.version:14} {text[:90]}")
        if not allowed(text) and not NVIDIA.match(name):
            refused.append(name)
    if refused:
        print(f"to be looked at: {', '.join(refused)}", file=sys.stderr)
    sys.exit(bool(refused) and arguments.check)


if __name__ == "__main__":
    main()
