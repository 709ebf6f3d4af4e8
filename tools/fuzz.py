"""Try spoilt files by the hundred thousand: each must be read, or refused by our own error that names the file.

    python tools/fuzz.py                                  # 1,000,000 inputs over all targets
    python tools/fuzz.py coco labelme --inputs 20000      # of these two, each
    python tools/fuzz.py image --inputs 20000 --atheris   # guided by coverage; needs `pip install atheris`

An input fails by any other error, by taking over 5 seconds, by 1 GB more memory, or by ending the process. Failing
inputs are kept in --out, one file for each place in the code; a mended one goes into tests/corpus/TARGET, which the
tests read.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from hashlib import sha256
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
if "--atheris" in sys.argv:  # it counts branches in what is imported from here on; numba could not compile that
    import atheris

    COMPILED = [
        ".".join(path.with_suffix("").parts[-3:])
        for path in ROOT.glob("src/*/*/*.py")
        if "@compiled" in path.read_text()
    ]
    with atheris.instrument_imports(include=["instancefcn"], exclude=COMPILED):
        import fuzzing  # noqa: F401

from fuzzing import TARGETS, Target, attempt, spoil  # noqa: E402 (found by the line above)

SECONDS, MEMORY = 5, 1_000_000_000  # that one input may take
# Inputs of a whole run, by how long one takes.
SHARES = {"rle": 300_000, "checkpoint": 10_000, "state": 20_000, "recipe": 60_000}
TOTAL = 1_000_000


def inputs_of(name: str) -> int:
    """A target's part of the million."""
    others = [other for other in TARGETS if other not in SHARES]
    return SHARES.get(name, -(-(TOTAL - sum(SHARES.values())) // len(others)))


def try_inputs(name: str, first: int, count: int, seed: int, out: Path) -> None:
    """Try inputs, in this process, and print the counts as JSON; ``out/current`` is the one that is tried."""
    target, folder = TARGETS[name], new_folder()
    target.prepare(folder)
    seeds = target.seeds()
    signal.signal(signal.SIGALRM, took_too_long)
    limit_memory()
    counts: Counter[str] = Counter()
    longest = 0.0
    for index in range(first, first + count):
        rng = random.Random(f"{name} {seed} {index}")
        data = spoil(rng.choice(seeds), target.is_json, rng)
        (out / "current").write_bytes(data)
        (out / "index").write_text(str(index))
        started = time.perf_counter()
        counts[outcome(target, data, folder, out)] += 1
        longest = max(longest, time.perf_counter() - started)
    print(json.dumps({"counts": counts, "longest": round(longest, 3)}))


def outcome(target: Target, data: bytes, folder: Path, out: Path) -> str:
    """What became of one input: "taken", "refused", or the last place in the package where it failed."""
    signal.alarm(SECONDS)
    try:
        return "taken" if attempt(target, data, folder) else "refused"
    except Exception as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "instancefcn" in frame.filename]
        place = f"{Path(ours[-1].filename).stem}-{ours[-1].lineno}" if ours else "elsewhere"
        keep(out, f"{type(error).__name__}-{place}", data)
        return f"{type(error).__name__} at {place}"
    finally:
        signal.alarm(0)


def took_too_long(number: int, frame: FrameType | None) -> None:
    """End an input; what is stuck in C ends by the second alarm, with the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    raise TimeoutError(f"over {SECONDS} s")


def limit_memory() -> None:
    """Let what takes MEMORY more than this process has fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def keep(out: Path, stem: str, data: bytes) -> None:
    """Keep the first failing input of a place."""
    path = out / f"{stem}.input"
    if not path.exists():
        path.write_bytes(data)


def new_folder() -> Path:
    """An empty folder, in memory where there is such a place."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))


def run_target(name: str, count: int, seed: int, out: Path) -> Counter[str]:
    """Try a target's inputs in processes of their own, a new one after each that ended by an input."""
    out.mkdir(parents=True, exist_ok=True)
    total: Counter[str] = Counter()
    first, longest, started = 0, 0.0, time.monotonic()
    while first < count:
        batch = min(count - first, 20_000)
        arguments = ["--only", name, "--first", str(first), "--inputs", str(batch), "--seed", str(seed)]
        command = [sys.executable, "-W", "ignore", __file__, *arguments, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            found = json.loads(done.stdout.splitlines()[-1])
            total.update(found["counts"])
            longest = max(longest, found["longest"])
            first += batch
        else:
            index = int((out / "index").read_text()) if (out / "index").exists() else first
            data = (out / "current").read_bytes() if (out / "current").exists() else b""
            keep(out, f"ended-{sha256(data).hexdigest()[:8]}", data)
            total[f"ended the process ({done.returncode}): {done.stderr.strip()[-120:]}"] += 1
            total["not counted, before such an end"] += index - first
            first = index + 1
    for leftover in ("current", "index"):
        (out / leftover).unlink(missing_ok=True)
    taken, refused = total.pop("taken", 0), total.pop("refused", 0)
    print(
        f"{name}: {count:,} inputs, {taken:,} taken, {refused:,} refused, {total.total():,} other; "
        f"longest {longest:.2f} s; {time.monotonic() - started:.0f} s",
        flush=True,
    )
    for failed, times in total.most_common():
        print(f"    {times:,} x {failed}", flush=True)
    return total


def run_atheris(name: str, count: int, seed: int, out: Path) -> None:
    """Guide the inputs of one target by coverage; does not return."""
    target, folder = TARGETS[name], new_folder()
    target.prepare(folder)
    (out / "seeds").mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(target.seeds()):
        (out / "seeds" / str(index)).write_bytes(data)

    def mutate(data: bytes, longest: int, number: int) -> bytes:
        rng = random.Random(number)
        return spoil(data, target.is_json, rng)[:longest] if rng.random() < 0.5 else atheris.Mutate(data, longest)

    limits = [
        f"-runs={count}",
        f"-seed={seed + 1}",
        f"-timeout={SECONDS}",
        "-rss_limit_mb=2500",
        "-malloc_limit_mb=1000",
    ]
    arguments = [sys.argv[0], *limits, f"-artifact_prefix={out}/", "-max_len=100000", str(out / "seeds")]
    atheris.Setup(arguments, lambda data: attempt(target, data, folder), custom_mutator=mutate)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--inputs", type=int, help="of each target (default: its part of 1,000,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="guide the inputs of one target by coverage")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="failing inputs (default: %(default)s)")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # with --first: a part of a target, in this process
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    faulthandler.enable()
    if unknown := sorted(set(arguments.targets) - set(TARGETS)):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if arguments.only:
        try_inputs(arguments.only, arguments.first, arguments.inputs, arguments.seed, arguments.out)
        return
    names = arguments.targets or list(TARGETS)
    if arguments.atheris:
        if len(names) != 1:
            parser.error("give one target with --atheris")
        run_atheris(names[0], arguments.inputs or inputs_of(names[0]), arguments.seed, arguments.out / names[0])
    counts = [arguments.inputs or inputs_of(name) for name in names]
    failed = [run_target(n, count, arguments.seed, arguments.out / n) for n, count in zip(names, counts, strict=True)]
    print(f"{sum(counts):,} inputs, {sum(map(Counter.total, failed)):,} failed")
    sys.exit(any(failed))


if __name__ == "__main__":
    main()
