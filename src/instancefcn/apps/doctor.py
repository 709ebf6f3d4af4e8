"""``instancefcn doctor``: whether all that proposing needs is there and works, and what to do where it is not."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from instancefcn.apps.options import AsJson
from instancefcn.apps.printing import echo, print_json

PACKAGE = "instancefcn"
NAMED_EXTRAS = ("train", "eval", "export", "runtime", "heif", "parquet", "web", "ray")
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?\s*>=\s*([\d.]+)(?:\s*;\s*extra == ['\"](\w+)['\"])?")
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")  # as Linux names them
REINSTALL = "pip install --force-reinstall instancefcn"
ANOTHER_COPY = "take another copy of the file; `instancefcn train --resume` writes its own anew"


@dataclass
class Findings:
    """What was looked at, and what is wrong with it."""

    lines: list[str] = field(default_factory=list)
    table: dict[str, Any] = field(default_factory=dict)
    wrong: list[dict[str, str]] = field(default_factory=list)

    def say(self, what: str, text: str) -> None:
        """Add a line."""
        self.lines.append(f"{what:<12} {text}")

    def fault(self, what: str, mend: str) -> None:
        """Add something that is wrong, and how to mend it."""
        self.wrong.append({"what": what, "mend": mend})


def doctor(
    checkpoints: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CHECKPOINT]...", help="What `train` or `train-classifier` wrote, to be looked at besides."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what this machine has, whether checkpoints load, and whether proposing works.

    [bold]instancefcn doctor[/]
    [dim]Versions, cores, devices, the shipped checkpoints, and a timed self-test on a picture made on the spot.[/]

    [bold]instancefcn doctor[/] runs/mine/best.safetensors
    [dim]Also whether your own checkpoint is whole.[/]

    [bold]instancefcn doctor[/] --json > machine.json
    [dim]The same for a program, or to send with a question.[/]

    What is wrong is named with what to do, and the exit code is 1.
    """
    found = Findings()
    look_at_versions(found)
    look_at_machine(found)
    for path in checkpoints or ():
        look_at_checkpoint(found, path)
    look_at_shipped(found)
    if as_json:
        print_json({"ok": not found.wrong, **found.table, "wrong": found.wrong})
    else:
        echo("\n".join(found.lines))
        for fault in found.wrong:
            echo(f"wrong: {fault['what']}\n  mend: {fault['mend']}", err=True)
        echo("" if found.wrong else "all is well")
    if found.wrong:
        raise typer.Exit(1)


def requirements() -> Iterator[tuple[str, str, str | None]]:
    """Name, least version and extra (None: always needed) of each package, in pyproject's order."""
    seen: set[str] = set()
    for text in metadata.requires(PACKAGE) or ():
        matched = REQUIREMENT.fullmatch(text.strip())
        if matched and matched[1] not in seen and (matched[3] is None or matched[3] in NAMED_EXTRAS):
            seen.add(matched[1])
            yield matched[1], matched[2], matched[3]


def look_at_versions(found: Findings) -> None:
    """Versions of Python and of the packages; one that is missing or too old is wrong, an extra may be missing."""
    versions: dict[str, str | None] = {"python": platform.python_version(), "platform": platform.platform()}
    found.table["versions"] = versions
    missing: dict[str, list[str]] = {}
    try:
        versions[PACKAGE] = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        found.fault(f"{PACKAGE} is not installed as a package, so its needs are unknown", "pip install instancefcn")
        return
    for name, least, extra in requirements():
        try:
            versions[name] = version = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
            if extra is None:
                found.fault(f"{name} is not installed", f"pip install '{name}>={least}'")
            else:
                missing.setdefault(extra, []).append(name)
            continue
        if _numbers(version) < _numbers(least):
            found.fault(f"{name} is {version}, and {least} is needed", f"pip install '{name}>={least}'")
    here = ", ".join(f"{name} {version}" for name, version in versions.items() if version and name != "platform")
    found.say("versions", f"{here}; {versions['platform']}")
    for extra, names in missing.items():
        found.say("", f"without {', '.join(names)}: pip install 'instancefcn[{extra}]', if wanted")


def look_at_machine(found: Findings) -> None:
    """Cores, instruction sets and devices."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text(errors="replace").split()) if cpuinfo.exists() else set()
    sets = [name for name in INSTRUCTION_SETS if name in flags]
    cpu: dict[str, Any] = {"cores": os.cpu_count(), "usable": usable, "instruction_sets": sets}
    devices: list[dict[str, Any]] = [{"device": "cpu"}]
    found.table |= {"cpu": cpu, "devices": devices}
    try:
        import torch
    except (ImportError, OSError) as error:
        found.fault(f"torch can't be imported: {error}", "pip install --force-reinstall torch")
        return
    cpu |= {"threads": torch.get_num_threads(), "torch_uses": torch.backends.cpu.get_cpu_capability()}
    found.say(
        "cores",
        f"{usable} of {cpu['cores']}, {cpu['threads']} threads; torch uses {cpu['torch_uses']}"
        + (f" ({' '.join(sets)})" if sets else ""),
    )
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(index)
        devices.append({"device": f"cuda:{index}", "name": about.name, "bytes": about.total_memory})
    if torch.backends.mps.is_available():
        devices.append({"device": "mps"})
    names = [
        f"{one['device']} ({one['name']}, {one['bytes'] / 1e9:.0f} GB)" if "name" in one else one["device"]
        for one in devices
    ]
    built = f"for CUDA {torch.version.cuda}, and sees no GPU" if torch.version.cuda else "without CUDA"
    found.say("devices", ", ".join(names) + (f" (torch is built {built})" if len(devices) == 1 else ""))


def look_at_checkpoint(found: Findings, path: Path, mend: str = ANOTHER_COPY) -> None:
    """Whether a proposal network or a classifier is whole."""
    about: dict[str, Any] = {"path": str(path), "loads": False}
    found.table.setdefault("checkpoints", []).append(about)
    try:
        about |= _loaded(path)
    except (ValueError, OSError, ImportError) as error:
        found.fault(f"{error}", mend)
        return
    about["loads"] = True
    found.say("checkpoint", f"{path}: {about['kind']}, {about['parameters'] / 1e6:.1f} million weights: loads")


def _loaded(path: Path) -> dict[str, Any]:
    from instancefcn.classifier.checkpoint import FORMAT as CLASSIFIER
    from instancefcn.classifier.checkpoint import load_classifier
    from instancefcn.container import format_of
    from instancefcn.inference.checkpoint import load_checkpoint

    named = format_of(path) == CLASSIFIER
    loaded = load_classifier(path) if named else load_checkpoint(path)
    network = loaded.build()
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    return {"kind": "classifier" if named else "proposal network", "parameters": weights}


def look_at_shipped(found: Findings) -> None:
    """Whether the package's checkpoints load, and what the self-test gives on each device that there is."""
    found.table["self_tests"] = []
    if any(one["what"].startswith("torch can't") for one in found.wrong):
        return
    from instancefcn.inference.checkpoint import SHIPPED_CHECKPOINT

    for path in sorted(SHIPPED_CHECKPOINT.parent.glob("*.safetensors")):
        look_at_checkpoint(found, path, REINSTALL)
    if not SHIPPED_CHECKPOINT.exists():
        found.fault(f"{SHIPPED_CHECKPOINT}: not there", REINSTALL)
    if any(fault["mend"] == REINSTALL for fault in found.wrong):
        return
    for one in found.table["devices"]:
        try_device(found, one["device"])


def try_device(found: Findings, device: str) -> None:
    """The self-test on one device."""
    from instancefcn.inference.proposer import Proposer
    from instancefcn.inference.self_test import MIN_IOU, SHAPES, run_self_test

    mend = "propose with --device cpu"
    if device == "cpu":
        mend = f"{REINSTALL}; with an empty folder in NUMBA_CACHE_DIR if it stays"
    about: dict[str, Any] = {"device": device, "passed": False}
    found.table["self_tests"].append(about)
    try:
        done = run_self_test(Proposer.from_checkpoint(device=device))
    except Exception as error:  # whatever a broken library or driver raises is what is looked for
        found.fault(f"proposing on {device} fails: {type(error).__name__}: {error}", mend)
        return
    about |= {
        "passed": done.passed,
        "found": done.found,
        "shapes": len(SHAPES),
        "ious": [round(iou, 3) for iou in done.ious],
        "first_seconds": round(done.first_seconds, 3),
        "seconds": round(done.seconds, 3),
    }
    found.say(
        "self-test",
        f"{device}: {done.found} of {len(SHAPES)} shapes found (IoU of boxes {min(done.ious):.2f} or more); "
        f"{done.first_seconds:.2f} s for the first image, {done.seconds:.2f} s for the next",
    )
    if not done.passed:
        found.fault(
            f"proposing on {device} finds {done.found} of {len(SHAPES)} shapes within an IoU of {MIN_IOU}", mend
        )


def _numbers(version: str) -> list[int]:
    """Numbers of a version up to its first part that is none: 2.9.1+cpu is 2, 9, 1."""
    matched = re.match(r"\d+(?:\.\d+)*", version)
    return [int(part) for part in matched[0].split(".")] if matched else []
