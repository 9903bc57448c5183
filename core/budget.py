"""How much memory and how many threads a command may use."""

import os
import re

from divmatch.errors import SettingError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
LEAST = 16 << 20


def memory_budget(text: str | None) -> int:
    """Bytes from text such as 2GiB, 500MB or 25%; without text a quarter of what is free."""
    if text is None:
        return max(free_memory() // 4, LEAST)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%|[kmgt]?i?)b?\s*", text, re.IGNORECASE)
    if found is None:
        raise SettingError(f"--max-memory {text}: expected a size such as 2GiB, 500MB or 25%")
    number, unit = float(found[1]), found[2].lower()
    if unit == "%" and number > 100:
        raise SettingError(f"--max-memory {text}: is more than what is free; give at most 100%")
    size = int(number * (free_memory() / 100 if unit == "%" else (UNITS | BINARY).get(unit, 1)))
    if size < LEAST:
        raise SettingError(f"--max-memory {text}: at least 16MiB are needed")
    return size


def free_memory() -> int:
    """Bytes that can be taken without swapping, within the container's limit where there is one."""
    limits = [_meminfo(), _cgroup()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else 4 << 30


def available_threads() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _meminfo() -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _cgroup() -> int | None:
    try:
        with (
            open("/sys/fs/cgroup/memory.max") as most,
            open("/sys/fs/cgroup/memory.current") as now,
        ):
            limit = most.read().strip()
            return None if limit == "max" else max(int(limit) - int(now.read()), 0)
    except (OSError, ValueError):
        return None
