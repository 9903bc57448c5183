"""Measure child processes: CPU seconds, wall seconds, peak memory; medians of interleaved runs."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

RUNS = 3
DIVMATCH = str(Path(sys.executable).parent / "divmatch")


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, float]:
    """One run of a command: wall and CPU seconds, peak resident MB."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**clean(), **(env or {})})
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} exited with {child.returncode}")
    return {
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "mb": usage.ru_maxrss / 1024,
    }


def clean() -> dict[str, str]:
    """The environment of a user: byte code may be written."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def interleaved(
    commands: Mapping[str, Sequence[str]], runs: int = RUNS
) -> dict[str, dict[str, float]]:
    """Medians of each command, run in turns so that a noisy minute touches all of them."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(run(command))
    return {
        name: {key: statistics.median(one[key] for one in many) for key in many[0]}
        for name, many in found.items()
    }
