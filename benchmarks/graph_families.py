"""Every family of backbones as ONNX: how its answers agree with torch's, as the Markdown table of docs/graph.md.

python -m benchmarks.graph_families [--real IMAGE_FOLDER] [--images 64] [MEMBER …]

64 images of uniform noise and 64 real ones, the first of the folder (`imagenet-sample` of EDGETL_REAL_DATA unless
given), at a small input side; random weights with norms and logits scaled to what they see (tests/export/families.py),
because an untrained network gives every image the same probabilities. `torch's own Δp` is what torch FP32 differs
from torch FP64: random networks amplify rounding, and a difference of that size says nothing of the graph.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from benchmarks.common import real_data
from tests.export.families import MEMBERS, Member, as_if_trained, compare, task_of

from edgetl.tasks.images import SUFFIXES, prepare
from edgetl.types import Pixels

TOLERANCE = 1e-4


def images(member: Member, photos: list[Path]) -> dict[str, Pixels]:
    shape = (len(photos), member.side, member.side, 3)
    spec = task_of(member).input
    return {
        "random": np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        "real": np.stack([prepare(photo, spec) for photo in photos]),
    }


def row(member: Member, photos: list[Path], folder: Path) -> str:
    shown = images(member, photos)
    path = folder / f"{member.name}.onnx"
    start = f"| {member.family} | {member.name} | {member.side} |"
    try:
        found = compare(
            member,
            as_if_trained(member, np.concatenate([pixels[: len(photos) // 2] for pixels in shown.values()])),
            shown,
            path,
        )
    except Exception as error:  # noqa: BLE001 - the reason is what the table is for
        return f"{start} | | | | | | | | {type(error).__name__}: {str(error).splitlines()[0]} |"
    finally:
        path.unlink(missing_ok=True)
    random, real = found.probabilities["random"], found.probabilities["real"]
    rounding = max(found.rounding.values())
    worst = max(random, real)
    verdict = "OK" if worst <= TOLERANCE else "rounding" if worst <= 2 * rounding else "**differs**"
    return (
        f"{start} {found.opset} | {found.nodes} | {found.size_mb:.1f} | {random:.0e} | {real:.0e} |"
        f" {rounding:.0e} | {found.sure['real']:.2f} | {found.logits:.0e} | {verdict} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("members", nargs="*", help="only these")
    given = parser.parse_args()
    folder = given.real or real_data() / "data" / "imagenet-sample"
    photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[: given.images]
    columns = ("family", "member", "side", "opset", "nodes", "MB", "Δp, random", "Δp, real", "torch's own Δp",
               "mean top p", "Δlogit, rel.", "")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    with tempfile.TemporaryDirectory() as scratch:
        for member in MEMBERS:
            if not given.members or member.name in given.members:
                print(row(member, photos, Path(scratch)), flush=True)


if __name__ == "__main__":
    main()
