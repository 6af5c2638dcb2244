"""Whether an engine runs what was asked for; a silent change of precision or provider is never accepted."""

from edgetl.machine import Machine
from edgetl.types import EngineFacts, Options, Precision

MIN_INT8_SHARE = 0.5
"""An int8 variant may keep sensitive layers in fp32, but at least this part of its compute layers is int8."""


EXECUTED: dict[Precision, set[str]] = {"int8": {"int8", "fp16", "fp32"}, "w8": {"fp32"}}
"""What the compute layers of a variant may run in, where that is not just what it is called."""


KERNELS: dict[tuple[str, Precision], set[str]] = {
    ("onnxruntime", "fp16"): {"fp16"},
    ("onnxruntime", "bf16"): set(),
    ("openvino", "fp16"): {"fp16", "avx512-fp16"},
    ("openvino", "bf16"): {"bf16", "avx512-bf16", "amx-bf16"},
}
"""Which processor features an engine's kernels for a half precision need; any one of them. Without, it would run in
another precision. Seen in the facts of ONNX Runtime 1.31 and OpenVINO 2026.4; graphics processors have all."""


def lacking_kernels(engine: str, precision: Precision, options: Options, machine: Machine) -> str | None:
    """Why a processor cannot run `precision` on that engine, or None.

    A graph that is run as written, without optimisation, is run for its numbers, whatever they are computed in.
    """
    on_processor = options.get("provider", "cpu") == "cpu" and str(options.get("device", "CPU")) == "CPU"
    needed = KERNELS.get((engine, precision))
    as_written = options.get("optimization") == "none"
    if as_written or not on_processor or needed is None or needed & set(machine.features):
        return None
    what = f"a processor with `{'` or `'.join(sorted(needed))}`" if needed else "another device than a processor"
    return f"{engine} needs {what} for {precision}"


def precision_problem(declared: Precision, facts: EngineFacts) -> str | None:
    """What is wrong with the executed precision, or None when it is as declared."""
    allowed = EXECUTED.get(declared, {declared})
    strange = {name: count for name, count in facts.layers.items() if name not in allowed}
    if strange or not facts.layers:
        found = ", ".join(f"{count} layers in {name}" for name, count in sorted(strange.items())) or "no compute layer"
        return f"declared {declared}, but {facts.engine} runs {found}"
    share = facts.layers.get("int8", 0) / sum(facts.layers.values())
    if declared == "int8" and share < MIN_INT8_SHARE:
        return f"declared int8, but {facts.engine} runs only {share:.0%} of the compute layers in int8"
    return None


def provider_problem(facts: EngineFacts) -> str | None:
    """What is wrong with the provider that did the work, or None. OpenVINO's AUTO and MULTI may choose freely."""
    asked = facts.asked.split(":")[0]
    if asked in ("", "AUTO", "MULTI", "HETERO"):
        return None
    if all(provider.startswith(asked) for provider in facts.provider.split(",")):
        return None
    return f"asked for {facts.asked}, but {facts.provider} did the work"
