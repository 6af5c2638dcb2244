"""Copies a bundle with one regression in it, hashes and recorded answers and all: the graph reads blue for red.

    pip install "edgetl[onnxruntime]" onnx
    python examples/ci/plant.py BUNDLE OUT [VARIANT]

A pipeline that lets this copy pass would let an exporter's mistake pass.
"""

import sys
from pathlib import Path

import onnx

from edgetl.bundle import open_bundle
from edgetl.errors import ConfigError, EdgetlError
from edgetl.export.planted.edits import swap_red_and_blue
from edgetl.export.planted.planting import copy_variant, rehash, renew_answers


def plant(bundle: Path, out: Path, variant: str = "onnxruntime-fp32") -> None:
    """Writes `out`, a bundle of that one ONNX variant with swapped channels. Raises EdgetlError."""
    opened = open_bundle(bundle)
    record = opened.variant(variant)
    if out.exists():
        raise ConfigError(f"`{out}` exists already", hint="name a new folder")
    if not record.files[0].endswith(".onnx"):
        raise ConfigError(f"`{variant}` is no ONNX graph", hint="name a variant of ONNX Runtime")
    out.mkdir(parents=True)
    copy_variant(opened, record, out)
    graph = out / record.files[0]
    model = onnx.load(graph)
    swap_red_and_blue(model)
    onnx.save(model, graph)
    rehash(out)
    renew_answers(out, variant)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        plant(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
    except EdgetlError as error:
        sys.exit(f"error: {error}")
