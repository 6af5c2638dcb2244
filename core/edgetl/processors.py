"""What /proc/cpuinfo says of the processor: its name, and the features that decide which kernels an engine picks."""

import re

from edgetl.procfs import field

FEATURES = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512-vnni",
    "avx_vnni": "avx-vnni",
    "avx512_bf16": "avx512-bf16",
    "avx512_fp16": "avx512-fp16",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
    "asimd": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
}
"""Kernel flag → the name used here."""

ARM_CORES = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD0E): "Cortex-A76AE",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4A): "Neoverse-E1",
    (0x41, 0xD4B): "Cortex-A78C",
    (0x41, 0xD4C): "Cortex-X1C",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
    (0x61, 0x022): "Icestorm-M1",
    (0x61, 0x023): "Firestorm-M1",
    (0x6D, 0xD49): "Cobalt 100",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}
"""(implementer, part) of Arm's MIDR_EL1 → the core's name.

Sources: the MIDR_EL1 tables in Arm's technical reference manuals; Linux, arch/arm64/include/asm/cputype.h.
"""


def processor_name(cpuinfo: str) -> str:
    """`model name`, or on Arm, whose kernels give none, the names of the kinds of core: `Cortex-A55 + Cortex-A76`.

    A core without a name here is given by its numbers, `0x41/0xd8f`.
    """
    identified = zip(_numbers(cpuinfo, "CPU implementer"), _numbers(cpuinfo, "CPU part"), strict=False)
    cores = [ARM_CORES.get(each, f"{each[0]:#04x}/{each[1]:#05x}") for each in identified]
    return " + ".join(dict.fromkeys(cores)) or field(cpuinfo, "model name")


def processor_features(cpuinfo: str) -> tuple[str, ...]:
    """The names of `FEATURES` whose flag every core has, in its order."""
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    common = set.intersection(*(set(line.split()) for line in set(lines))) if lines else set()
    return tuple(name for flag, name in FEATURES.items() if flag in common)


def _numbers(cpuinfo: str, key: str) -> list[int]:
    return [int(found, 16) for found in re.findall(rf"^{key}\s*:\s*0x([0-9a-fA-F]+)", cpuinfo, re.MULTILINE)]
