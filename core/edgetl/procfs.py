"""Reads the small text files in which Linux tells about itself (/proc, /sys); what is not there reads as empty."""

import re
from pathlib import Path


def text(path: Path) -> str:
    """The whole file; "" when it is missing or may not be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def field(content: str, *keys: str) -> str:
    """The value of the first line `KEY : VALUE` for the first of `keys` that has one; "" without any."""
    for key in keys:
        if found := re.search(rf"^{re.escape(key)}[^\S\n]*:[^\S\n]*(.*)$", content, re.MULTILINE):
            return found.group(1).strip()
    return ""


def memory_bytes(path: Path, key: str) -> int | None:
    """The size in a line `KEY: N kB` of the file, in bytes; None without one (proc(5))."""
    size = field(text(path), key).split()
    return 1024 * int(size[0]) if size and size[0].isdigit() else None


def cpu_list(content: str) -> set[int]:
    """The kernel's list format `0-3,8`, as in /sys/devices/system/cpu/online (admin-guide/cputopology.rst)."""
    found: set[int] = set()
    for part in content.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last if last.isdigit() else first) + 1))
    return found
