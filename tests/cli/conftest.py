"""Files that the tests of the command line read, written once a session."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from divmatch.cli.main import run as run_here

DIVMATCH = str(Path(sys.executable).parent / "divmatch")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Pairs p, q of 500 rows and 4 columns as .npy and tables, and files that are wrong."""
    made = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(500, 4)), rng.normal(0.2, 1.0, size=(500, 4))
    np.save(made / "p.npy", p)
    np.save(made / "q.npy", q)
    np.save(made / "near.npy", p[:200] + 0.05 * rng.normal(size=(200, 4)))
    np.save(made / "line-p.npy", p[:, 0])
    np.save(made / "line-q.npy", q[:, 0])
    np.save(made / "constant.npy", np.ones((50, 4)))
    np.save(made / "narrow.npy", p[:, :3])
    np.savez(made / "both.npz", p=p, q=q)
    for name, block in (("p", p), ("q", q)):
        table = pa.table({letter: block[:, k] for k, letter in enumerate("abcd")})
        table = table.append_column("mass", pa.array(np.arange(1.0, 501.0)))
        parquet.write_table(table, made / f"{name}.parquet")
        csv.write_csv(table, made / f"{name}.csv")
        rows = (json.dumps(row) + "\n" for row in table.to_pylist())
        (made / f"{name}.ndjson").write_text("".join(rows))
        parts = made / f"parts-{name}"
        parts.mkdir()
        parquet.write_table(table.slice(0, 200), parts / "0.parquet")
        parquet.write_table(table.slice(200), parts / "1.parquet")
    np.save(made / "mass.npy", np.arange(1.0, 501.0))
    (made / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00")
    return made


@pytest.fixture
def run(data) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run divmatch, or a line of bash, in a process of its own and in the folder of the data."""

    def start(*arguments, shell=None, cwd=data, stdin=None, **changes):
        path = f"{Path(DIVMATCH).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path} | changes
        command = ["bash", "-c", shell] if shell else [DIVMATCH, *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=env, input=stdin or "", capture_output=True, text=True
        )

    return start


@pytest.fixture
def here(data, monkeypatch, capfd) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Run a command line in this process: its code, standard output and standard error."""
    monkeypatch.chdir(data)
    before = signal.getsignal(signal.SIGTERM)

    def start(line):
        capfd.readouterr()
        code = run_here(line.split() if isinstance(line, str) else list(line))
        return code, *capfd.readouterr()

    yield start
    signal.signal(signal.SIGTERM, before)
