"""`build.json`: how a device builds the engine of a typed ONNX file. It travels in the bundle beside the model."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edgetl.errors import ArtefactError
from edgetl.files import read_json
from edgetl.types import Precision

SCHEMA = "1.0"
FILE = "build.json"

Positive = Annotated[int, msgspec.Meta(ge=1)]


class BatchProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Batch sizes the engine takes, and the one its kernels are chosen for."""

    min: Positive = 1
    opt: Positive = 1
    max: Positive = 32


class LengthProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The same of how long a text is, in tokens."""

    min: Positive = 1
    opt: Positive = 32
    max: Positive


class BuildRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what is built, save the graph and the device.

    `precision`: what the graph is typed as. `opset`: of the graph. `compute`: the names of its convolutions and matrix
    products, by which the built layers are told. `length`: of a model that reads texts. `workspace_bytes`: the scratch
    memory a layer may take at most.
    `version_compatible`: later TensorRT versions run the engine too; `hardware_compatibility` `ampere+`: so do other
    GPUs since Ampere; both cost speed. `tf32`: whether fp32 may be rounded to 10 bits of mantissa. `timing_cache`:
    kernel timings are kept, so that a second build is quicker.
    """

    schema: str = SCHEMA
    precision: Precision
    opset: Positive
    compute: tuple[str, ...]
    batch: BatchProfile = BatchProfile()
    length: LengthProfile | None = None
    workspace_bytes: Positive = 2**30
    version_compatible: bool = False
    hardware_compatibility: Literal["none", "ampere+"] = "none"
    tf32: bool = False
    timing_cache: bool = True


def read_recipe(path: Path) -> BuildRecipe:
    """Reads and checks `build.json`. Raises ArtefactError when it is missing, damaged or contradicts itself."""
    recipe = read_json(path, BuildRecipe, major=1)
    for name, profile in {"batch": recipe.batch, "length": recipe.length}.items():
        if profile and not profile.min <= profile.opt <= profile.max:
            raise ArtefactError(
                f"`{path}`: the {name} profile `{profile.min}/{profile.opt}/{profile.max}` is not ascending",
                hint="it is written min, opt, max; export the bundle again",
            )
    return recipe
