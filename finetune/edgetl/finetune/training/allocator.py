"""Tells glibc to keep large blocks: a training step that gets them back from the kernel each time waits for pages."""

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Of malloc.h; see mallopt(3)."""

KEPT_BYTES = 2**30
PAD_BYTES = 2**26


def keep_large_blocks() -> bool:
    """Whether the C library took the settings; only glibc knows them. For this process, until it ends."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    asked = ((M_MMAP_THRESHOLD, KEPT_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, PAD_BYTES))
    return all(mallopt(option, value) == 1 for option, value in asked)
