"""A model repository for NVIDIA Triton Inference Server from one variant of a bundle."""

import re
import shutil
from pathlib import Path
from typing import Literal

import msgspec

from edgetl.bundle import Bundle
from edgetl.errors import ConfigError
from edgetl.files import write_bytes
from edgetl.manifest import Manifest, VariantRecord
from edgetl.staging import staged_directory
from edgetl.types import TensorSpec

TYPES = {"uint8": "TYPE_UINT8", "int64": "TYPE_INT64", "float32": "TYPE_FP32"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LABELLED = "probabilities"
"""The output whose positions Triton's classification extension calls by `labels.txt`."""

MAX_BATCH = {"cpu": 8, "cuda": 32}
"""The most samples Triton puts together, texts only of one length; ONNX Runtime on a CPU gains nothing from more."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """How Triton is to run a variant. `max_batch` 0: clients send batches of any size, Triton makes none.

    `why`: what the configuration says of the precision. `accelerators`: options of a GPU accelerator by its name.
    """

    backend: str
    why: str
    kind: Literal["KIND_CPU", "KIND_GPU"] = "KIND_CPU"
    max_batch: int = 0
    parameters: dict[str, str] = {}
    accelerators: dict[str, dict[str, str]] = {}


def write_repository(
    bundle: Bundle,
    variant: str,
    out: Path,
    *,
    name: str | None = None,
    overwrite: bool = False,
    fast: bool = False,
) -> Path:
    """Writes `out`/NAME (config.pbtxt, labels.txt, version 1 of the model), whole or not at all; returns the folder.

    Beside them lies what a client needs to prepare samples, such as `tokenizer.json`. `name` is the bundle's and the
    variant's unless given; other models in `out` stay. `fast`: what is not quantised may run in what the engine
    chooses, where Triton has no option for the precision the variant declares. Raises ConfigError for a name Triton
    cannot have, for a folder that is there unless `overwrite`, and for a variant Triton cannot run as declared;
    ArtefactError for one that is not in the bundle, or whose files were changed.
    """
    record = bundle.variant(variant)
    name = name or f"{bundle.path.resolve().name}-{variant}"
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"`{name}` cannot be the name of a model in Triton", hint="use letters, digits, `-`, `_` and `.`"
        )
    serving = SERVINGS[record.engine](record, fast)
    files = [bundle.file(relative) for relative in record.files]
    with staged_directory(out / name, overwrite=overwrite) as folder:
        (folder / "1").mkdir()
        for file in files:
            shutil.copyfile(file, folder / "1" / file.name)
        for name_of in ("labels.txt", *bundle.manifest.task.files):
            shutil.copyfile(bundle.file(name_of), folder / name_of)
        write_bytes(folder / "config.pbtxt", _config(name, record, serving, bundle.manifest, files[0].name).encode())
    return out / name


def _onnxruntime(variant: VariantRecord, fast: bool) -> Serving:
    """The precision is typed in the graph; only TF32 would change it behind its back, so a GPU is denied that."""
    provider = str(variant.options.get("provider", "cpu"))
    threads = variant.options.get("threads", 0)
    gpu = provider == "cuda"
    return Serving(
        backend="onnxruntime",
        why="The precision is typed in the graph.",
        kind="KIND_GPU" if gpu else "KIND_CPU",
        max_batch=MAX_BATCH[provider],
        parameters={"intra_op_thread_count": str(threads)} if threads else {},
        accelerators={"cuda": {"use_tf32": "0"}} if gpu else {},
    )


def _openvino(variant: VariantRecord, fast: bool) -> Serving:
    """Triton's backend knows one precision option, HINT_BF16: without it OpenVINO itself chooses, bf16 where it can.

    A mark in the IR would be no way out: `precise` keeps convolutions in fp32, but is lost where layers are fused.
    With `max_batch_size` the backend makes the batch static and pads; without, any batch is run as it comes.
    https://github.com/triton-inference-server/openvino_backend
    """
    options = variant.options
    device, precision = str(options.get("device", "CPU")), str(options.get("inference_precision", "fp32"))
    if device != "CPU" or (precision not in ("bf16", "fast") and not fast):
        raise ConfigError(
            f"`{variant.id}` declares {precision} on `{device}`, which Triton's OpenVINO backend cannot be told",
            hint="choose a bf16 variant or one for ONNX Runtime, or accept the precision OpenVINO chooses with `fast`",
        )
    parameters = {"PERFORMANCE_HINT": str(options.get("hint", "latency")).upper()}
    for option, key in (("threads", "INFERENCE_NUM_THREADS"), ("streams", "NUM_STREAMS")):
        if options.get(option):
            parameters[key] = str(options[option])
    told = precision == "bf16"
    if told:
        parameters["HINT_BF16"] = "YES"
    why = f"What is not quantised runs in {'bf16' if told else 'what OpenVINO chooses for the processor'}."
    return Serving(backend="openvino", why=why, parameters=parameters)


def _tensorrt(variant: VariantRecord, fast: bool) -> Serving:
    """Triton's TensorRT backend reads a finished plan, which only the GPU that will run it can build.

    ONNX Runtime's TensorRT accelerator would build at load, but from one `precision_mode` for the whole graph, not
    from the types in it.
    """
    raise ConfigError(
        f"`{variant.id}` becomes a plan on the GPU that runs it, and no other machine can write one for Triton",
        hint="choose an ONNX Runtime variant, or build the plan on the server from the variant's model and build.json",
    )


SERVINGS = {"onnxruntime": _onnxruntime, "openvino": _openvino, "tensorrt": _tensorrt}


def first_servable(bundle: Bundle) -> str:
    """The bundle's first variant that did not fail and that Triton runs as declared. Raises ConfigError."""
    reasons = []
    for record in bundle.manifest.variants:
        try:
            if record.status != "failed":
                SERVINGS[record.engine](record, False)
                return record.id
            reasons.append(f"`{record.id}` failed its check")
        except ConfigError as error:
            reasons.append(error.message)
    raise ConfigError(
        f"no variant of `{bundle.path}` is for Triton: {'; '.join(reasons)}", hint="export one for ONNX Runtime too"
    )


def _config(name: str, variant: VariantRecord, serving: Serving, manifest: Manifest, file: str) -> str:
    """`config.pbtxt`, a ModelConfig in protobuf's text format."""
    lines = [
        f"# Variant {variant.id} of a bundle by edgetl; verdict: {variant.verdict}.",
        f"# {serving.why}",
        f'name: "{name}"',
        f'backend: "{serving.backend}"',
        f'default_model_filename: "{file}"',
        f"max_batch_size: {serving.max_batch}",
    ]
    batched = serving.max_batch > 0
    lines += [_tensor("input", spec, batched=batched) for spec in manifest.inputs]
    lines += [_tensor("output", spec, batched=batched) for spec in manifest.outputs]
    lines.append(f"instance_group {{ count: 1 kind: {serving.kind} }}")
    if batched:
        lines.append("dynamic_batching { }")
    lines += [
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
        for key, value in serving.parameters.items()
    ]
    for accelerator, options in serving.accelerators.items():
        given = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in options.items())
        accelerators = f'gpu_execution_accelerator {{ name: "{accelerator}" {given} }}'
        lines.append(f"optimization {{ execution_accelerators {{ {accelerators} }} }}")
    return "\n".join(lines) + "\n"


def _tensor(field: str, spec: TensorSpec, *, batched: bool) -> str:
    axes = [-1 if isinstance(axis, str) else axis for axis in spec.shape]
    dims = ", ".join(str(axis) for axis in (axes[1:] if batched else axes))
    labels = ' label_filename: "labels.txt"' if spec.name == LABELLED else ""
    return f'{field} {{ name: "{spec.name}" data_type: {TYPES[spec.dtype]} dims: [ {dims} ]{labels} }}'
