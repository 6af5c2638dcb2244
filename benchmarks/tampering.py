"""A signed bundle, damaged in every file in turn: how many of the damages are refused, and by what that opens it?

python -m benchmarks.tampering BUNDLE [SCRATCH]
"""

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edgetl.bundle import open_bundle
from edgetl.devices.catalogue import host_profile
from edgetl.devices.check import check
from edgetl.errors import ArtefactError, EdgetlError
from edgetl.runtime import load
from edgetl.runtime.serve.app import build
from edgetl.runtime.serve.config import ServeConfig
from edgetl.signature import SIGNATURE, sign

DAMAGES = ("flip", "truncate", "append", "delete", "link")


def main(bundle: Path, scratch: Path) -> None:
    folder = Path(shutil.copytree(bundle, scratch / bundle.resolve().name))
    key, allowed = scratch / "key", scratch / "allowed"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
    allowed.write_text(f"release@example.org {key.with_suffix('.pub').read_text()}")
    sign(folder, key)
    manifest = open_bundle(folder, allowed_signers=allowed).manifest
    files = ["manifest.json", SIGNATURE, *(record.path for record in manifest.files)]

    refused: Counter[str] = Counter()
    for path in files:
        for damage in DAMAGES:
            refused["verify"] += damaged(folder / path, damage, scratch, lambda: verify(folder, allowed))
    print(
        f"verify refused {refused['verify']} of {len(files) * len(DAMAGES)} damages of {len(files)} files", flush=True
    )

    variants = [each for each in manifest.variants if each.status != "failed"]
    loads = [(each.id, path) for each in variants for path in ("manifest.json", SIGNATURE, *each.files)]
    for variant, path in loads:
        for damage in DAMAGES:
            refused["load"] += damaged(folder / path, damage, scratch, lambda v=variant: opened(folder, allowed, v))
    print(f"load refused {refused['load']} of {len(loads) * len(DAMAGES)} damages of what it opens", flush=True)

    read = [name for name in files if not name.endswith("labels.txt")]
    for path in read:
        refused["check"] += damaged(folder / path, "flip", scratch, lambda: judged(folder, allowed))
    print(f"check refused {refused['check']} of the {len(read)} files it reads with a flipped bit", flush=True)

    signed = ["manifest.json", SIGNATURE]
    for path in signed:
        for damage in DAMAGES:
            refused["serve"] += damaged(folder / path, damage, scratch, lambda: served(folder, allowed))
    print(
        f"serve refused {refused['serve']} of {len(signed) * len(DAMAGES)} damages before it opened a port", flush=True
    )
    verify(folder, allowed)
    print("the bundle as it was: accepted by all four", opened(folder, allowed, None), served(folder, allowed) or "")


def damaged(path: Path, damage: str, scratch: Path, use: Callable[[], object]) -> bool:
    """Whether `use` refuses the bundle while `path` is damaged; anything but a clear refusal ends the program."""
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "flip":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "truncate":
        path.write_bytes(content[:-1])
    elif damage == "append":
        path.write_bytes(content + b"\0")
    else:
        path.unlink()
    if damage == "link":
        (scratch / "outside").write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        path.symlink_to(scratch / "outside")
    try:
        use()
    except EdgetlError as error:
        if not isinstance(error, ArtefactError):
            sys.exit(f"{damage} of {path} ended in {error!r}")
        return True
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    print(f"not refused: {damage} of {path}", flush=True)
    return False


def verify(folder: Path, allowed: Path) -> None:
    open_bundle(folder, allowed_signers=allowed).verify()


def opened(folder: Path, allowed: Path, variant: str | None) -> str:
    with load(folder, variant=variant, require_signature=allowed) as session:
        return session.variant.id


def judged(folder: Path, allowed: Path) -> None:
    check(open_bundle(folder, allowed_signers=allowed), host_profile(), latency=None)


def served(folder: Path, allowed: Path) -> None:
    build([folder], ServeConfig(), require_signature=allowed)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(sys.argv[1]), Path(temporary))
