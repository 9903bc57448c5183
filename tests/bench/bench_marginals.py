"""Wide Parquet tables column by column: python tests/bench/bench_marginals.py."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.measure import DIVMATCH, run

ROWS = 1_000_000
WIDTHS = (5, 20)  # what a column more costs tells of 1,000; memory must not grow with them
PEER = """
import sys
import pyarrow.parquet as parquet
from scipy import stats
p, q = (parquet.ParquetFile(path) for path in sys.argv[1:])
for name in p.schema_arrow.names:
    x, y = (f.read([name]).column(0).to_numpy() for f in (p, q))
    stats.ks_2samp(x, y), stats.wasserstein_distance(x, y)
"""


def write(path: Path, columns: int, rows: int, shift: float) -> None:
    """Normal columns, a row group each 100,000 rows."""
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(columns)
    names = [f"c{k}" for k in range(columns)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for _ in range(rows // 100_000):
            blocks = [rng.normal(size=100_000) + shift for _ in names]
            writer.write_table(pa.table(dict(zip(names, blocks, strict=True)), schema=schema))


def rows(widths: tuple[int, ...] = WIDTHS, count: int = ROWS) -> list[dict[str, Any]]:
    """One row a width; the peer reads column by column too and makes two statistics of six."""
    import sys

    table, last, before = [], None, 0
    with tempfile.TemporaryDirectory() as folder:
        for columns in widths:
            paths = [Path(folder) / f"{name}{columns}.parquet" for name in "pq"]
            for path, shift in zip(paths, (0.0, 0.01), strict=True):
                write(path, columns, count, shift)
            files = [str(path) for path in paths]
            ours = run([DIVMATCH, "marginals", *files, "-q", "--max-memory", "1GiB"])
            made = {"ours_s": ours["wall"], "ours_mb": ours["mb"], "peer": "SciPy, ks and W1"}
            if find_spec("scipy") is not None and columns == widths[0]:
                peer = run([sys.executable, "-c", PEER, *files])
                made |= {"peer_s": peer["wall"], "peer_mb": peer["mb"]}
                made["ratio"] = peer["wall"] / ours["wall"]
            size = sum(path.stat().st_size for path in paths) >> 20
            note = f"files of {size} MB; CPU seconds {ours['cpu']:.1f}"
            if last is not None:
                more = (ours["cpu"] - last["cpu"]) / (columns - before)
                note += (
                    f"; {more:.3f} CPU seconds a column more, so 1,000 columns in {1000 * more:.0f}"
                )
            last, before = ours, columns
            table.append({"work": f"marginals of {columns} x {count}", **made, "note": note})
            for path in paths:
                path.unlink()
    return table


if __name__ == "__main__":
    for row in rows():
        print(row)
