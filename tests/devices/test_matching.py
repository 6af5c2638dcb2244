"""Which device a machine is: by its parts, not by its size, and the profile that says most about it wins."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core.computers import core_ultra_laptop, gpu_server, jetson_orin_nano, raspberry_pi_5, seen

from edgetl.accelerators import IntelDevice, NvidiaGpu
from edgetl.devices.catalogue import load_profile
from edgetl.devices.matching import closest, differences, remarks
from edgetl.devices.profile import EngineChoice, Hardware, Profile
from edgetl.machine import Machine

PLAIN = Machine(
    system="Linux", arch="x86_64", cpu="Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz", features=("avx2",), cores=8,
    memory_bytes=16 * 10**9, board="", gpus=(), host_cores=8, host_memory_bytes=16 * 10**9,
)  # fmt: skip


def profile(name: str = "made-up", **hardware: object) -> Profile:
    made = msgspec.convert(hardware, Hardware)
    return Profile(name=name, title=name, hardware=made, engines=(EngineChoice(name="onnxruntime"),))


def machine(**change: object) -> Machine:
    return msgspec.structs.replace(PLAIN, **change)


def gpu(name: str, memory_bytes: int | None = None) -> Machine:
    return machine(gpus=(name,), nvidia=(NvidiaGpu(name=name, memory_bytes=memory_bytes),))


@pytest.mark.parametrize(
    ("hardware", "told"),
    [
        ({}, []),
        ({"system": "Linux", "arch": "x86_64", "features": ("avx2",)}, []),
        ({"system": "Darwin"}, ["system is `Linux`, the device has `Darwin`"]),
        ({"arch": "aarch64"}, ["architecture is `x86_64`, the device has `aarch64`"]),
        ({"board": "Raspberry Pi 5"}, ["board is `unknown`, the device has `Raspberry Pi 5`"]),
        ({"cpu": "Core(TM) i7-9750H"}, []),
        ({"cpu": "core i7-9750H"}, []),
        ({"cpu": "Core(TM) i7"}, []),
        ({"cpu": "i7-975"}, ["processor is `Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz`, the device has `i7-975`"]),
        ({"features": ("avx2", "amx-int8", "avx-vnni")}, ["processor lacks `amx-int8`, `avx-vnni`"]),
        ({"accelerator": "cuda"}, ["no NVIDIA GPU is here"]),
        ({"accelerator": "cuda", "gpu": "L4"}, ["no GPU `L4` is here"]),
        ({"accelerator": "intel-gpu"}, ["no Intel GPU is here"]),
        ({"accelerator": "intel-npu"}, ["no Intel NPU is here"]),
        ({"cores": 64, "memory_gb": 512}, []),
    ],
)
def test_what_makes_another_device(hardware: dict[str, Any], told: list[str]) -> None:
    assert differences(profile(**hardware), PLAIN) == told


@pytest.mark.parametrize(
    ("wanted", "reported"),
    [
        ("L4", "NVIDIA L4"),
        ("T4", "Tesla T4"),
        ("A10", "NVIDIA A10"),
        ("A10G", "NVIDIA A10G"),
        ("H100", "NVIDIA H100 80GB HBM3"),
        ("H100", "NVIDIA H100 PCIe"),
        ("A100", "NVIDIA A100-SXM4-40GB"),
        ("A100", "NVIDIA A100-PCIE-40GB"),
        ("H200", "NVIDIA H200"),
        ("RTX 4060", "NVIDIA GeForce RTX 4060"),
        ("rtx 4060 ti", "NVIDIA GeForce RTX 4060 Ti"),
        ("GeForce", "NVIDIA GeForce RTX 4060"),
        ("NVIDIA L4-24Q", "NVIDIA L4-24Q"),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", "NVIDIA GeForce RTX 4060 Laptop GPU"),
    ],
)
def test_a_gpu_is_known_by_its_name(wanted: str, reported: str) -> None:
    assert differences(profile(accelerator="cuda", gpu=wanted), gpu(reported)) == []


@pytest.mark.parametrize(
    ("wanted", "reported"),
    [
        ("L4", "NVIDIA L40S"),
        ("L4", "NVIDIA L40"),
        ("L4", "NVIDIA L4-24Q"),
        ("T4", "GRID T4-8Q"),
        ("T4", "NVIDIA T400 4GB"),
        ("T4", "NVIDIA T4G"),
        ("A10", "NVIDIA A10G"),
        ("A10", "NVIDIA A100-SXM4-40GB"),
        ("H200", "NVIDIA GH200 480GB"),
        ("RTX 4060", "NVIDIA GeForce RTX 4060 Ti"),
        ("RTX 4060", "NVIDIA GeForce RTX 4060 Laptop GPU"),
        ("RTX 4070", "NVIDIA GeForce RTX 4070 SUPER"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090 D"),
    ],
)
def test_a_gpu_with_a_similar_name_is_another(wanted: str, reported: str) -> None:
    told = differences(profile(accelerator="cuda", gpu=wanted), gpu(reported))
    assert told == [f"GPU is `{reported}`, the device has `{wanted}`"]


def test_intel_accelerators_count_when_they_can_be_used() -> None:
    here = IntelDevice(name="Intel Arc Graphics (Meteor Lake)", pci_id="8086:7d55", driver="xe", usable=True)
    hidden = msgspec.structs.replace(here, usable=False)
    wanted = profile(accelerator="intel-gpu")
    assert differences(wanted, machine(intel_gpus=(here,))) == []
    assert differences(profile(accelerator="intel-gpu", gpu="Arc"), machine(intel_gpus=(here,))) == []
    (told,) = differences(wanted, machine(intel_gpus=(hidden,)))
    assert "/dev/dri" in told and "container" in told
    assert differences(profile(accelerator="intel-npu"), machine(intel_npus=(here,))) == []
    assert differences(wanted, machine(intel_npus=(here,))) == ["no Intel GPU is here"]
    assert differences(profile(accelerator="cuda"), machine(intel_gpus=(here,))) == ["no NVIDIA GPU is here"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"cores": 2}, ["2 of 8 cores may be used by this process, the device has 6"]),
        ({"cores": 2, "container": "docker"}, ["2 of 8 cores may be used in this docker container, the device has 6"]),
        ({"cores": 4, "host_cores": 4, "container": "docker"}, ["4 cores, the device has 6"]),
        ({"cores": 4, "host_cores": 0}, ["4 cores, the device has 6"]),
        (
            {"memory_bytes": 2 * 10**9, "container": "podman"},
            ["2.0 of 16.0 GB of memory may be used in this podman container, the device has 8"],
        ),
        ({"memory_bytes": 4 * 10**9, "host_memory_bytes": 4 * 10**9}, ["4.0 GB of memory, the device has 8"]),
    ],
)
def test_a_smaller_machine_is_remarked_and_is_the_device_all_the_same(change: dict[str, int], told: list[str]) -> None:
    wanted = profile(cores=6, memory_gb=8)
    assert remarks(wanted, machine(**change)) == told
    assert differences(wanted, machine(**change)) == []


@pytest.mark.parametrize(
    ("sold_gb", "kilobytes", "smaller"),
    [
        (8, 8256448, False),  # Raspberry Pi 5
        (8, 7802880, False),  # Jetson Orin Nano
        (4, 3884360, False),  # Raspberry Pi 4 with memory for its GPU
        (1, 929128, False),  # Raspberry Pi, 1 GB
        (8, 6 * 2**20, True),
        (16, 12 * 2**20, True),
        (16, 8 * 2**20, True),
    ],
)
def test_what_firmware_and_kernel_keep_makes_no_smaller_machine(sold_gb: int, kilobytes: int, smaller: bool) -> None:
    assert bool(remarks(profile(memory_gb=sold_gb), machine(memory_bytes=kilobytes * 1024))) is smaller


def test_memory_that_is_not_known_is_not_remarked() -> None:
    wanted = profile(accelerator="cuda", memory_gb=8, gpu_memory_gb=24)
    assert remarks(wanted, machine(memory_bytes=0, gpus=("NVIDIA L4",), nvidia=(NvidiaGpu(name="NVIDIA L4"),))) == []


def test_a_gpu_with_less_memory_is_remarked() -> None:
    wanted = profile(accelerator="cuda", gpu="A100", gpu_memory_gb=80)
    here = gpu("NVIDIA A100-SXM4-40GB", 40960 * 2**20)
    assert remarks(wanted, here) == ["42.9 GB of GPU memory, the device has 80"]
    assert remarks(wanted, gpu("NVIDIA A100-SXM4-80GB", 81920 * 2**20)) == []


ANY, AVX2 = profile("any"), profile("avx2", system="Linux", arch="x86_64", features=("avx2",))
VNNI = profile("vnni", system="Linux", arch="x86_64", features=("avx2", "avx512-vnni"))
AMX = profile("amx", system="Linux", arch="x86_64", features=("avx2", "avx512-vnni", "amx-int8", "amx-bf16"))
CUDA, L4 = profile("cuda", accelerator="cuda"), profile("l4", accelerator="cuda", gpu="L4")
BOARD = profile("board", board="Some Board")
PROCESSOR = profile("processor", cpu="i7-9750H")
ALL = (ANY, AVX2, VNNI, AMX, CUDA, L4, BOARD, PROCESSOR)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"cpu": "x"}, "avx2"),
        ({"cpu": "x", "features": ("avx2", "avx512-vnni")}, "vnni"),
        ({"cpu": "x", "features": ("avx2", "avx512-vnni", "amx-int8", "amx-bf16")}, "amx"),
        ({"cpu": "x", "features": ("avx2", "avx512-vnni", "amx-int8")}, "vnni"),
        ({}, "processor"),
        ({"gpus": ("NVIDIA L4",)}, "l4"),
        ({"gpus": ("NVIDIA L4",), "features": ("avx2", "avx512-vnni", "amx-int8", "amx-bf16")}, "l4"),
        ({"gpus": ("NVIDIA L40S",), "cpu": "x"}, "cuda"),
        ({"gpus": ("NVIDIA T4", "NVIDIA L4"), "board": "Some Board Rev 2"}, "board"),
        ({"arch": "riscv64", "cpu": "x"}, "any"),
    ],
)
def test_the_profile_that_says_most_is_the_closest(change: dict[str, object], name: str) -> None:
    for candidates in (ALL, ALL[::-1]):
        found, different = closest(machine(**change), candidates)
        assert (found.name, different) == (name, [])


def test_without_a_profile_that_fits_the_fewest_differences_count() -> None:
    found, different = closest(machine(arch="riscv64", cpu="x", features=()), (CUDA, VNNI, AMX, AVX2, BOARD))
    assert found.name == "board" and len(different) == 1
    found, different = closest(machine(system="Darwin", cpu="x"), (CUDA, AVX2, L4))
    assert (found.name, different) == ("avx2", ["system is `Darwin`, the device has `Linux`"])


def test_of_two_alike_the_size_and_then_the_name_decides() -> None:
    large, small, other = (
        profile(name, cpu="i7-9750H", cores=cores) for name, cores in (("a", 64), ("b", 8), ("c", 4))
    )
    assert closest(PLAIN, (large, other, small))[0].name == "b"


def test_the_shipped_profiles_find_their_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETL_DEVICES", str(tmp_path / "none"))
    board = seen(raspberry_pi_5(tmp_path / "pi"), "aarch64")
    jetson = seen(jetson_orin_nano(tmp_path / "jetson"), "aarch64")
    assert closest(board)[0].name == "raspberry-pi-5" and closest(board)[1] == []
    assert closest(jetson)[0].name == "jetson-orin-nano" and closest(jetson)[1] == []
    assert closest(PLAIN)[0].name == "x86-64-cpu"
    assert any("Raspberry Pi 5" in told for told in differences(load_profile("raspberry-pi-5"), jetson))
    server = seen(gpu_server(tmp_path / "server", "NVIDIA L40S"))
    assert any("cuda" in str(engine.options) for engine in closest(server)[0].engines)
    laptop = seen(core_ultra_laptop(tmp_path / "laptop"))
    assert closest(laptop)[0].hardware.arch == "x86_64" and closest(laptop)[1] == []
