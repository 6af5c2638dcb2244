"""A network that int8 ruins although it is the same function: one hidden channel is far larger than the others."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edgetl.files import sha256_of

FACTOR = 2.0**11
"""A power of two, so that scaling up and down again loses nothing in floating point."""


def ruin(run: Path, norm: str = "stages.1.body.1", readers: tuple[str, ...] = ("stages.1.body.3",)) -> None:
    """Scales one channel behind the batch-norm `norm` of `run`, and takes it back in all layers that read it.

    ReLU passes factors on, so the logits stay; but one scale for the activation leaves the other channels nothing.
    """
    path = run / "weights.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    factors = torch.ones(len(state[f"{norm}.weight"]))
    factors[int(state[f"{norm}.bias"].argmax())] = FACTOR
    for name in ("weight", "bias"):
        state[f"{norm}.{name}"] *= factors
    for reader in readers:
        state[f"{reader}.weight"] /= factors.view(1, -1, 1, 1)
    save_file(state, path, metadata=metadata)
    record = json.loads((run / "run.json").read_text())
    record["files"]["weights.safetensors"] = sha256_of(path)
    (run / "run.json").write_text(json.dumps(record))


def ruin_beyond_equalising(run: Path) -> None:
    """The same where two layers read the channel, so that no factor can be moved between just two."""
    ruin(run, "stem.1", ("stages.0.body.0", "stages.0.shortcut"))
