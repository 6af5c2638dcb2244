"""Computers as they show themselves in /proc and /sys, laid out below a folder."""

from pathlib import Path

from edgetl.machine import Machine, detect

X86_FLAGS = "fpu vme de pse tsc msr sse4_2 avx f16c rdrand avx2 bmi2 erms sha_ni avx_vnni vaes vpclmulqdq"

CGROUP_2 = "24 1 0:22 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

CGROUP_1 = (
    "31 23 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755\n"
    "35 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:12 - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:13 - cgroup cgroup rw,memory\n"
)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def computer(root: Path, *, cpuinfo: str, cores: int, memory_kb: int, allowed: str = "") -> Path:
    status = f"Name:\tpython3\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed or f'0-{cores - 1}'}\n"
    return write(
        root,
        {
            "proc/cpuinfo": cpuinfo,
            "proc/meminfo": f"MemTotal:       {memory_kb:8} kB\nMemFree:         1234567 kB\n",
            "proc/thread-self/status": status,
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": CGROUP_2,
            "sys/devices/system/cpu/online": f"0-{cores - 1}\n",
        },
    )


def x86(model: str, cores: int, flags: str = X86_FLAGS) -> str:
    core = "processor\t: {}\nvendor_id\t: GenuineIntel\nmodel\t\t: 170\nmodel name\t: {}\nflags\t\t: {}\n\n"
    return "".join(core.format(i, model, flags) for i in range(cores))


def arm(parts: list[str], features: str, end: str = "") -> str:
    core = (
        "processor\t: {}\nBogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        "CPU variant\t: 0x4\nCPU part\t: {}\nCPU revision\t: 1\n\n"
    )
    return "".join(core.format(i, features, part) for i, part in enumerate(parts)) + end


def raspberry_pi_5(root: Path) -> Path:
    """8 GB, Raspberry Pi OS: kernel 6.12, outside of a container."""
    features = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
    end = "Revision\t: d04170\nSerial\t\t: 0000000000000000\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
    computer(root, cpuinfo=arm(["0xd0b"] * 4, features, end), cores=4, memory_kb=8256448)
    return write(root, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})


def jetson_orin_nano(root: Path) -> Path:
    """The developer kit with 8 GB and JetPack 6.2."""
    features = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
    computer(root, cpuinfo=arm(["0xd42"] * 6, features), cores=6, memory_kb=7802880)
    release = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 2025\n"
    model = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"
    return write(root, {"proc/device-tree/model": model, "etc/nv_tegra_release": release})


def core_ultra_laptop(root: Path, *, nodes: bool = True) -> Path:
    """Core Ultra 7 155H with its GPU and NPU, and a second card of another maker; 32 GB."""
    computer(root, cpuinfo=x86("Intel(R) Core(TM) Ultra 7 155H", 22), cores=22, memory_kb=32385536)
    write(root, pci("sys/class/drm/card1", "0x7d55", "i915") | pci("sys/class/drm/card0", "0x2000", "ast", "0x1a03"))
    write(root, {"sys/class/drm/card1/device/drm/renderD128/dev": "226:128\n"})
    write(root, {"sys/class/drm/card1-eDP-1/status": "connected\n", "sys/class/drm/renderD128/dev": "226:128\n"})
    write(root, pci("sys/class/accel/accel0", "0x7d1d", "intel_vpu"))
    return write(root, {"dev/dri/renderD128": "", "dev/accel/accel0": ""}) if nodes else root


def pci(place: str, device: str, driver: str, vendor: str = "0x8086") -> dict[str, str]:
    number = f"{vendor[2:]}:{device[2:]}".upper()
    return {
        f"{place}/device/vendor": f"{vendor}\n",
        f"{place}/device/device": f"{device}\n",
        f"{place}/device/uevent": f"DRIVER={driver}\nPCI_CLASS=30000\nPCI_ID={number}\nPCI_SLOT_NAME=0000:00:02.0\n",
    }


def gpu_server(root: Path, *models: str) -> Path:
    """A server with AMX and NVIDIA GPUs of these names, driver 570."""
    flags = f"{X86_FLAGS} avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8"
    computer(root, cpuinfo=x86("Intel(R) Xeon(R) Platinum 8480+", 8, flags), cores=8, memory_kb=528280576)
    form = (
        "Model: \t\t {}\nIRQ:   \t\t {}\nGPU UUID: \t GPU-{}\nVideo BIOS: \t 96.00.99.00.01\nBus Type: \t PCIe\n"
        "Device Minor: \t {}\n"
    )
    return write(
        root,
        {
            f"proc/driver/nvidia/gpus/0000:{i:02x}:00.0/information": form.format(model, i, i, i)
            for i, model in enumerate(models)
        },
    )


def smi(root: Path, script: str) -> Path:
    """An `nvidia-smi` that is this shell script."""
    write(root, {"usr/bin/nvidia-smi": f"#!/bin/sh\n{script}\n"})
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    return root


def seen(root: Path, arch: str = "x86_64", *, details: bool = False) -> Machine:
    return detect(root, arch=arch, details=details)
