"""`make bench`: every benchmark in one run, written to RESULTS.md with machine and versions."""

import os
import platform
import sys
from datetime import date
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SUITES = (
    "bench_startup",
    "bench_neighbours",
    "bench_pairwise",
    "bench_line",
    "bench_dependence",
    "bench_sinkhorn",
    "bench_sliced",
    "bench_frechet",
    "bench_mixture",
    "bench_ot",
    "bench_map",
    "bench_flow",
    "bench_sample",
    "bench_probs",
    "bench_select",
    "bench_critics",
    "bench_kl",
    "bench_accuracy",
    "bench_coverage",
    "bench_prdc",
    "bench_marginals",
    "bench_explain",
    "bench_score",
    "bench_weights",
)
PACKAGES = (
    "divmatch",
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "pot",
    "faiss-cpu",
    "hyppo",
    "dcor",
    "prdc",
)
HEAD = """# Benchmarks

Medians of interleaved runs; both sides of a row come from one run. `ratio` is peer / ours: larger is
better for us; for start-up it is ours / peer. Written by `tests/bench/run.py`, a section a suite; suites
named on its command line are run again and the other sections stay.
"""
SECTION = """
## {suite}

{machine}

| work | ours s | ours MB | peer | peer s | peer MB | ratio | note |
|---|--:|--:|---|--:|--:|--:|---|
{lines}
"""


def main() -> None:
    """Run the suites named, or all, and write their sections of the table."""
    path = Path(__file__).with_name("RESULTS.md")
    sections = known(path.read_text() if path.exists() else "")
    for suite in sys.argv[1:] or SUITES:
        lines = []
        for row in import_module(f"tests.bench.{suite}").rows():
            lines.append(line(row))
            print(lines[-1], flush=True)
        sections[suite] = SECTION.format(suite=suite, machine=machine(), lines="\n".join(lines))
        order = [name for name in SUITES if name in sections]
        path.write_text(HEAD + "".join(sections[name] for name in order))


def known(text: str) -> dict[str, str]:
    """The sections of an earlier table."""
    parts = text.split("\n## ")[1:]
    return {part.partition("\n")[0]: f"\n## {part.rstrip()}\n" for part in parts}


def line(row: dict) -> str:
    """One row of the table."""
    keys = ("work", "ours_s", "ours_mb", "peer", "peer_s", "peer_mb", "ratio", "note")
    return "| " + " | ".join(cell(row.get(key)) for key in keys) + " |"


def cell(value: object) -> str:
    """A cell: three digits for numbers, nothing for what was not measured."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def machine() -> str:
    """Processor, cores, versions."""
    names = [
        text for text in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in text
    ]
    processor = names[0].partition(":")[2].strip() if names else platform.processor()
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} absent")
    cores = len(os.sched_getaffinity(0))
    return (
        f"{date.today()}, {processor}, {cores} cores, Python {platform.python_version()}; "
        + ", ".join(found)
    )


if __name__ == "__main__":
    main()
