"""What a computer shows in /proc and /sys is understood: processors, boards, accelerators, and the limits on them."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.core.computers import (
    CGROUP_1,
    CGROUP_2,
    arm,
    computer,
    core_ultra_laptop,
    gpu_server,
    jetson_orin_nano,
    pci,
    raspberry_pi_5,
    seen,
    smi,
    write,
    x86,
)

from edgetl import accelerators
from edgetl.machine import Machine, detect
from edgetl.runtime.plan import same_hardware


def small(root: Path, cores: int = 8) -> Path:
    return computer(root, cpuinfo=x86("Some Processor", cores), cores=cores, memory_kb=16_000_000)


def test_this_machine_is_described() -> None:
    machine = detect()
    assert machine.system and machine.arch and machine.cpu
    assert machine.cores == len(os.sched_getaffinity(0)) or machine.container
    assert 1 <= machine.cores <= machine.host_cores
    assert 2**28 < machine.memory_bytes <= machine.host_memory_bytes
    assert len(machine.gpus) == len(machine.nvidia)


def test_fewer_processors_by_affinity_are_seen() -> None:
    """As `taskset` and a cpuset give them, and again after a change while the process runs."""
    code = """
import os
from edgetl.machine import detect
whole = detect()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
assert detect().cores == 1 and detect().host_cores == whole.host_cores, detect()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_hardware_is_read_once_a_process(tmp_path: Path) -> None:
    """`check` asks for every variant; a program is not asked twice either."""
    gpu_server(tmp_path, "NVIDIA L4")
    smi(tmp_path, f"echo asked >> {tmp_path}/log; echo NVIDIA L4, 23034, 8.9")
    first = seen(tmp_path, details=True)
    (tmp_path / "proc/cpuinfo").unlink()
    assert seen(tmp_path, details=True) == first
    assert (tmp_path / "log").read_text() == "asked\n"


def test_a_raspberry_pi(tmp_path: Path) -> None:
    machine = seen(raspberry_pi_5(tmp_path), "aarch64")
    assert (machine.arch, machine.cpu, machine.board) == ("aarch64", "Cortex-A76", "Raspberry Pi 5 Model B Rev 1.0")
    assert machine.features == ("neon", "dotprod", "fp16")
    assert (machine.cores, machine.memory_bytes) == (4, 8256448 * 1024)
    assert (machine.gpus, machine.l4t, machine.intel_gpus, machine.container) == ((), "", (), "")


@pytest.mark.parametrize("hidden", ["sys/devices/soc0/machine", None])
def test_a_container_hides_the_device_tree_but_not_the_board(tmp_path: Path, hidden: str | None) -> None:
    (raspberry_pi_5(tmp_path) / "proc/device-tree/model").unlink()
    if hidden:
        write(tmp_path, {hidden: "Raspberry Pi 5 Model B Rev 1.1\n"})
    assert seen(tmp_path, "aarch64").board == f"Raspberry Pi 5 Model B Rev 1.{1 if hidden else 0}"


def test_a_jetson(tmp_path: Path) -> None:
    machine = seen(jetson_orin_nano(tmp_path), "aarch64")
    assert (machine.cpu, machine.l4t, machine.cores) == ("Cortex-A78AE", "36.4.3", 6)
    assert "Orin Nano" in machine.board and machine.gpus == ()


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (["0xd08"] * 4, "Cortex-A72"),
        (["0xd05"] * 4 + ["0xd0b"] * 4, "Cortex-A55 + Cortex-A76"),
        (["0xd4f"] * 2, "Neoverse-V2"),
        (["0xd0b", "0xeee"], "Cortex-A76 + 0x41/0xeee"),
    ],
)
def test_arm_cores_have_names(tmp_path: Path, parts: list[str], name: str) -> None:
    computer(tmp_path, cpuinfo=arm(parts, "fp asimd"), cores=len(parts), memory_kb=1)
    assert seen(tmp_path, "aarch64").cpu == name


def test_a_feature_counts_only_when_every_core_has_it(tmp_path: Path) -> None:
    cpuinfo = arm(["0xd05"], "fp asimd asimddp") + arm(["0xd0b"], "fp asimd asimddp i8mm")
    assert seen(computer(tmp_path, cpuinfo=cpuinfo, cores=2, memory_kb=1), "aarch64").features == ("neon", "dotprod")


def test_intel_accelerators(tmp_path: Path) -> None:
    machine = seen(core_ultra_laptop(tmp_path))
    (gpu,), (npu,) = machine.intel_gpus, machine.intel_npus
    assert (gpu.name, gpu.pci_id, gpu.driver, gpu.usable) == (
        "Intel Arc Graphics (Meteor Lake)", "8086:7d55", "i915", True,
    )  # fmt: skip
    assert (npu.name, npu.pci_id, npu.driver, npu.usable) == (
        "Intel NPU (Meteor Lake)", "8086:7d1d", "intel_vpu", True,
    )  # fmt: skip
    assert "avx-vnni" in machine.features and machine.gpus == ()


def test_intel_accelerators_that_a_container_was_not_given(tmp_path: Path) -> None:
    machine = seen(core_ultra_laptop(tmp_path, nodes=False))
    assert [device.usable for device in (*machine.intel_gpus, *machine.intel_npus)] == [False, False]


def test_intel_gpus_come_in_the_order_of_their_numbers_and_unknown_ones_by_number(tmp_path: Path) -> None:
    write(small(tmp_path), pci("sys/class/drm/card10", "0xFFFE", "xe") | pci("sys/class/drm/card2", "0x56a0", "i915"))
    write(tmp_path, pci("sys/class/drm/card3", "0x4680", "vfio-pci"))  # lent to a virtual machine
    names = [gpu.name for gpu in seen(tmp_path).intel_gpus]
    assert names == ["Intel Arc A770 Graphics", "Intel graphics 8086:fffe"]


def test_nvidia_gpus_have_names_without_any_program(tmp_path: Path) -> None:
    gpu_server(tmp_path, "NVIDIA H100 80GB HBM3", "NVIDIA L4")
    machine = seen(smi(tmp_path, f"touch {tmp_path}/asked"))
    assert machine.gpus == ("NVIDIA H100 80GB HBM3", "NVIDIA L4")
    assert [gpu.memory_bytes for gpu in machine.nvidia] == [None, None]
    assert not (tmp_path / "asked").exists(), "asking takes long, and no name needs it"


def test_a_container_sees_the_hosts_gpus_and_has_those_it_was_given(tmp_path: Path) -> None:
    write(gpu_server(tmp_path / "none", "NVIDIA L4"), {".dockerenv": ""})
    assert seen(tmp_path / "none").gpus == ()
    write(gpu_server(tmp_path / "one", "NVIDIA H100 PCIe", "NVIDIA L4"), {".dockerenv": "", "dev/nvidia1": ""})
    assert seen(tmp_path / "one").gpus == ("NVIDIA L4",)


def test_details_come_from_the_driver(tmp_path: Path) -> None:
    gpu_server(tmp_path, "NVIDIA H100 80GB HBM3", "NVIDIA L4")
    rows = "NVIDIA H100 80GB HBM3, 81559, 9.0\\nNVIDIA L4, 23034, 8.9"
    machine = seen(smi(tmp_path, f'[ "$2" = --format=csv,noheader,nounits ] && printf "{rows}\\n"'), details=True)
    assert machine.gpus == ("NVIDIA H100 80GB HBM3", "NVIDIA L4")
    assert [(gpu.memory_bytes, gpu.compute_capability) for gpu in machine.nvidia] == [
        (81559 * 2**20, "9.0"), (23034 * 2**20, "8.9"),
    ]  # fmt: skip


def test_an_old_driver_knows_no_compute_capability(tmp_path: Path) -> None:
    gpu_server(tmp_path, "Tesla T4")
    script = 'case "$1" in *compute_cap*) echo "Field compute_cap is not a valid field to query."; exit 2;; esac'
    (gpu,) = seen(smi(tmp_path, f"{script}\necho Tesla T4, 15109"), details=True).nvidia
    assert (gpu.memory_bytes, gpu.compute_capability) == (15109 * 2**20, None)


@pytest.mark.parametrize(
    "script",
    [
        "echo Failed to initialize NVML: Driver/library version mismatch; exit 18",
        "echo 'NVIDIA L4, [N/A], [Not Supported]'",
        "exit 0",
        "kill -9 $$",
    ],
)
def test_a_driver_that_does_not_answer_leaves_the_names(tmp_path: Path, script: str) -> None:
    (gpu,) = seen(smi(gpu_server(tmp_path, "NVIDIA L4"), script), details=True).nvidia
    assert (gpu.name, gpu.memory_bytes, gpu.compute_capability) == ("NVIDIA L4", None, None)


def test_a_driver_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "SMI_SECONDS", 0.1)
    (gpu,) = seen(smi(gpu_server(tmp_path, "NVIDIA L4"), "exec sleep 30"), details=True).nvidia
    assert (gpu.name, gpu.memory_bytes) == ("NVIDIA L4", None)


def test_where_the_driver_has_no_list_it_is_asked_for_the_names(tmp_path: Path) -> None:
    """Windows' Subsystem for Linux has /dev/dxg and no /proc/driver/nvidia."""
    small(tmp_path)
    assert seen(smi(tmp_path / "no-driver", "echo NVIDIA L4, 1, 8.9")).gpus == ()
    write(tmp_path, {"dev/dxg": ""})
    assert seen(smi(tmp_path, "echo NVIDIA GeForce RTX 4060 Laptop GPU, 8188, 8.9")).gpus == (
        "NVIDIA GeForce RTX 4060 Laptop GPU",
    )


def test_limits_of_version_2_anywhere_above_count(tmp_path: Path) -> None:
    own = "kubepods.slice/kubepods-pod1.slice/cri-containerd-abc.scope"
    write(small(tmp_path), {"proc/self/cgroup": f"0::/{own}\n"})
    slices = {
        f"sys/fs/cgroup/{own}/cpu.max": "max 100000\n",
        f"sys/fs/cgroup/{own}/memory.max": "9000000000\n",
        "sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cpu.max": "250000 100000\n",
        "sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/memory.max": "4294967296\n",
        "sys/fs/cgroup/kubepods.slice/memory.max": "max\n",
        "sys/fs/cgroup/another.slice/memory.max": "1\n",
    }
    machine = seen(write(tmp_path, slices))
    assert (machine.cores, machine.host_cores, machine.container) == (2, 8, "kubernetes")
    assert (machine.memory_bytes, machine.host_memory_bytes) == (4294967296, 16_000_000 * 1024)


def test_limits_of_version_1_anywhere_above_count(tmp_path: Path) -> None:
    groups = "12:memory:/docker/3f1c9a0b7d21/inner\n4:cpu,cpuacct:/docker/3f1c9a0b7d21\n1:name=systemd:/\n0::/\n"
    write(small(tmp_path), {"proc/self/cgroup": groups, "proc/self/mountinfo": CGROUP_1})
    limits = {
        "sys/fs/cgroup/cpu,cpuacct/docker/3f1c9a0b7d21/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/3f1c9a0b7d21/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "300000\n",
        "sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/docker/3f1c9a0b7d21/inner/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/docker/3f1c9a0b7d21/memory.limit_in_bytes": "2147483648\n",
    }
    machine = seen(write(tmp_path, limits))
    assert (machine.cores, machine.memory_bytes, machine.container) == (3, 2147483648, "docker")


def test_a_container_may_show_its_own_group_as_the_top(tmp_path: Path) -> None:
    """Version 1 without a namespace: the mounted folder is the container's, the path is the host's."""
    mounts = CGROUP_1.replace("0:31 / ", "0:31 /docker/3f1c9a0b7d21 ").replace("0:30 / ", "0:30 /docker/3f1c9a0b7d21 ")
    groups = "12:memory:/docker/3f1c9a0b7d21\n4:cpu,cpuacct:/docker/3f1c9a0b7d21/inner\n"
    write(small(tmp_path), {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts})
    limits = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
        "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us": "100000\n",
    }
    machine = seen(write(tmp_path, limits))
    assert (machine.cores, machine.memory_bytes) == (1, 1073741824), "half a processor is one core"


def test_a_limit_that_changes_is_seen_and_one_above_the_computer_is_none(tmp_path: Path) -> None:
    write(small(tmp_path), {"sys/fs/cgroup/cpu.max": "6400000 100000\n", "sys/fs/cgroup/memory.max": f"{2**50}\n"})
    machine = seen(tmp_path)
    assert (machine.cores, machine.memory_bytes) == (8, machine.host_memory_bytes)
    write(tmp_path, {"sys/fs/cgroup/cpu.max": "400000 100000\n"})
    assert seen(tmp_path).cores == 4


def test_processors_that_are_allowed_but_not_there_do_not_count(tmp_path: Path) -> None:
    """A virtual machine may name every processor it could be given."""
    computer(tmp_path, cpuinfo=x86("Some Processor", 8), cores=8, memory_kb=1, allowed="2-5,7,8-239")
    assert seen(tmp_path).cores == 5


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, ""),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": 'engine="podman-4.9"\n'}, "podman"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"proc/self/cgroup": "0::/user.slice/libpod-3f1c9a0b7d21.scope\n"}, "podman"),
        ({"proc/self/cgroup": "0::/system.slice/docker.service\n"}, ""),
        ({".dockerenv": "", "var/run/secrets/kubernetes.io/serviceaccount/token": "x"}, "kubernetes"),
    ],
)
def test_that_one_is_in_a_container(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    assert seen(write(small(tmp_path), files)).container == kind


@pytest.mark.parametrize(
    "damage",
    [
        {"proc/self/mountinfo": "1 2 3\n - cgroup2\n36 35 98:0 /mnt1 /mnt2 rw - cgroup2\n" + CGROUP_2},
        {"proc/self/cgroup": "nonsense\n::\n0::/../../elsewhere\n"},
        {"sys/fs/cgroup/cpu.max": "", "sys/fs/cgroup/memory.max": "lots"},
        {"sys/fs/cgroup/cpu.max": "100000 0\n"},
        {"proc/meminfo": "MemTotal: many kB\n"},
        {"proc/cpuinfo": "\0\xff model name"},
    ],
)
def test_files_that_say_nothing_useful_limit_nothing(tmp_path: Path, damage: dict[str, str]) -> None:
    machine = seen(write(small(tmp_path), damage))
    assert machine.cores == 8 and machine.memory_bytes == machine.host_memory_bytes


def test_an_empty_world_is_survived(tmp_path: Path) -> None:
    machine = seen(tmp_path)
    assert machine.cores >= 1 and (machine.cpu, machine.memory_bytes, machine.gpus) == ("", 0, ())


def test_a_machine_written_before_there_were_more_fields_is_the_same_hardware() -> None:
    here = detect()
    old = ("system", "arch", "cpu", "features", "cores", "memory_bytes", "board", "gpus")
    written = msgspec.json.encode({name: getattr(here, name) for name in old})
    assert same_hardware(msgspec.json.decode(written, type=Machine), here)
    assert msgspec.json.decode(msgspec.json.encode(here), type=Machine) == here
