"""The plans a device keeps of a bundle, by its manifest: laid beside it for a job, and kept again after it."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edgetl.devices.remote.protocol import MAX_PLAN_BYTES, MAX_PLANS, PLAN_NAME
from edgetl.files import sha256_of, write_bytes


class _Plan(msgspec.Struct):
    """What makes a file a plan, and not the progress of a tune; `when` decides between two of one name."""

    variant: str
    when: str = ""


def bring_plans(kept: Path, bundle: Path, theirs: Mapping[str, bytes]) -> dict[str, str]:
    """Puts this machine's plans beside the bundle, and home's where they are newer; name → digest."""
    place = bundle / "plans"
    shutil.rmtree(place, ignore_errors=True)
    if kept.is_dir():
        shutil.copytree(kept, place)
    for name, content in list(theirs.items())[:MAX_PLANS]:
        if not re.fullmatch(PLAN_NAME, name):
            continue
        mine = _when((place / name).read_bytes()) if (place / name).is_file() else None
        if mine is None or (_when(content) or "") > mine:
            place.mkdir(mode=0o700, exist_ok=True)
            write_bytes(place / name, content)
    return {path.name: sha256_of(path) for path in place.glob("*.json")}


def keep_plans(kept: Path, bundle: Path, job: Path, known: Mapping[str, str]) -> tuple[str, ...]:
    """Keeps what lies beside the bundle for the next job; copies of what this one wrote are in the folder `job`."""
    found = [path for path in sorted((bundle / "plans").glob("*.json")) if _ordinary(path)]
    if found:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in {path.name for path in kept.glob("*")} - {path.name for path in found}:
        (kept / stale).unlink()
    (job / "plans").mkdir(mode=0o700)
    wrote = []
    for path in found:
        content = path.read_bytes()
        write_bytes(kept / path.name, content)
        if known.get(path.name) != sha256_of(path) and _when(content) is not None:
            write_bytes(job / "plans" / path.name, content)
            wrote.append(path.name)
    return tuple(wrote[:MAX_PLANS])


def _ordinary(path: Path) -> bool:
    return re.fullmatch(PLAN_NAME, path.name) is not None and path.stat().st_size <= MAX_PLAN_BYTES


def _when(content: bytes) -> str | None:
    """When the plan was made; None for what is none."""
    try:
        return msgspec.json.decode(content, type=_Plan).when
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
