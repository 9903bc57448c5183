"""Measure child processes: CPU seconds, wall seconds, peak memory; medians of interleaved runs."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RUNS = 3
DIVMATCH = str(Path(sys.executable).parent / "divmatch")


# A process of its own: a child's peak memory starts with that of the process that forked it.
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps({
    "code": child.returncode,
    "wall": time.perf_counter() - start,
    "cpu": usage.ru_utime + usage.ru_stime,
    "mb": usage.ru_maxrss / 1024,
}))
"""


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, float]:
    """One run of a command: wall and CPU seconds, peak resident MB."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        stdout=subprocess.PIPE,
        check=True,
        env={**clean(), **(env or {})},
    )
    found: dict[str, float] = json.loads(done.stdout)
    if found.pop("code"):
        raise RuntimeError(f"{command} failed")
    return found


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


def peak_mb() -> float:
    """This process's own peak: the kernel's counter for children starts with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
