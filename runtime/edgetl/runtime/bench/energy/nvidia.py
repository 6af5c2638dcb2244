"""The energy counter of an NVIDIA GPU, read from the driver's own library.

Reference: NVML API, nvmlDeviceGetTotalEnergyConsumption: millijoules since the driver was loaded, Volta and later.
"""

import ctypes

LIBRARY = "libnvidia-ml.so.1"


class GpuMeter:
    """The counter of GPU 0, which is the one that engines use unless told otherwise."""

    name = "NVML GPU 0"

    def __init__(self, library: ctypes.CDLL, device: ctypes.c_void_p) -> None:
        self._library, self._device = library, device

    def joules(self) -> float:
        value = ctypes.c_ulonglong()
        if code := self._library.nvmlDeviceGetTotalEnergyConsumption(self._device, ctypes.byref(value)):
            raise OSError(f"NVML answered {code}")
        return value.value / 1000


def gpu_meter() -> tuple[GpuMeter | None, str]:
    """The meter, or why there is none."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None, f"`{LIBRARY}` of NVIDIA's driver is not here"
    device = ctypes.c_void_p()
    code = library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device))
    if code:
        return None, f"NVML shows no GPU (code {code})"
    meter = GpuMeter(library, device)
    try:
        meter.joules()
    except OSError as error:
        return None, f"the GPU has no energy counter ({error})"
    return meter, ""
