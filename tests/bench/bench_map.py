"""Maps: fitting one, moving P and new rows by it, against POT's transports and NumPy; files against a copy.

CPU seconds, medians of interleaved runs in one process with one BLAS thread. Ours fits and maps without
the figures before and after and without the Monge gap, as the peers do. The last row is the whole command against pyarrow alone
reading and writing the same Parquet file, each in a process of its own, with its peak memory.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from divmatch.kernels.execution import executing, one_blas_thread
from divmatch.matcher import Watch, task
from divmatch.samples import as_samples
from tests.bench.measure import DIVMATCH, interleaved

RUNS = 3
COPY = """
import sys
from pyarrow import parquet
source, target = sys.argv[1:]
with parquet.ParquetFile(source) as file, parquet.ParquetWriter(target, file.schema_arrow) as writer:
    for batch in file.iter_batches(batch_size=65536):
        writer.write_batch(batch)
"""


def rows() -> list[dict[str, object]]:
    """One row a method, then a file."""
    with one_blas_thread(), executing(memory=4 << 30):
        found = [_gaussian(), _quantile(), _exact(), _entropic()]
    return [*found, _file()]


def _samples(n: int, d: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(d, d)) / d**0.5
    return rng.normal(size=(n, d)), rng.normal(size=(n, d)) @ mixed + 1, rng.normal(size=(n, d))


def _ours(method: str, x: Any, y: Any, z: Any, **settings: object) -> Callable[[], Any]:
    chosen = task("map").methods[method]
    hidden: dict[str, object] = {"rng": np.random.default_rng(0), "watch": Watch()}
    hidden = hidden if chosen.random else {}

    def work() -> Any:
        p, q = as_samples(x, "x"), as_samples(y, "y")
        found = chosen(p, q, **chosen.checked(settings), **hidden)
        return found.points, found.mapping and found.mapping(z)

    return work


def _against(
    work: str, peer: str, ours: Callable[[], Any], base: Callable[[], Any], note: str = ""
) -> dict[str, object]:
    pairs = zip(ours(), base(), strict=True)  # also the first runs, which compile
    far = max(float(np.abs(one - other).max()) for one, other in pairs)
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(RUNS):
        for kept, one in zip(seconds, (ours, base), strict=True):
            start = time.process_time()
            one()
            kept.append(time.process_time() - start)
    own, other = map(statistics.median, seconds)
    told = f"CPU s; largest difference of a number {far:.2g}{note}"
    return {
        "work": work, "ours_s": own, "peer": peer, "peer_s": other, "ratio": other / own, "note": told
    }  # fmt: skip


def _gaussian() -> dict[str, object]:
    import ot

    x, y, z = _samples(50_000, 50)

    def peer() -> Any:
        made = ot.da.LinearTransport(reg=1e-12).fit(Xs=x, Xt=y)
        return made.transform(Xs=x), made.transform(Xs=z)

    work = "map gaussian, n = m = 50,000 and as many new rows, d = 50"
    return _against(work, "POT LinearTransport", _ours("gaussian", x, y, z), peer)


def _quantile() -> dict[str, object]:
    x, y, z = _samples(1_000_000, 1)

    def peer() -> Any:
        low, high = np.sort(x[:, 0]), np.sort(y[:, 0])
        return tuple(np.interp(rows[:, 0], low, high)[:, None] for rows in (x, z))

    work = "map quantile, n = m = 1,000,000 and as many new rows, d = 1"
    note = ", beyond the ends, where NumPy's is constant"
    return _against(work, "numpy.sort and interp", _ours("quantile", x, y, z), peer, note)


def _exact() -> dict[str, object]:
    import ot

    x, y, z = _samples(3_000, 10)

    def peer() -> Any:
        made = ot.da.EMDTransport(norm=None, max_iter=10**8, out_of_sample_map="ferradans")
        made.fit(Xs=x, Xt=y)
        return made.transform(Xs=x), made.transform(Xs=z)

    work = "map ot, n = m = 3,000 and as many new rows, d = 10"
    return _against(work, "POT EMDTransport", _ours("ot", x, y, z), peer)


def _entropic() -> dict[str, object]:
    import ot

    x, y, z = _samples(3_000, 10)
    eps = 0.05 * float(np.mean(ot.dist(x, y)))

    def peer() -> Any:
        made = ot.da.SinkhornTransport(
            reg_e=eps, norm=None, max_iter=5000, tol=1e-7, out_of_sample_map="continuous"
        )
        made.fit(Xs=x, Xt=y)
        return made.transform(Xs=x), made.transform(Xs=z)

    ours = _ours("sinkhorn", x, y, z, eps=f"abs:{eps!r}", debiased=False)
    work = (
        "map sinkhorn, plain, eps .05 of the mean cost, n = m = 3,000 and as many new rows, d = 10"
    )
    return _against(work, "POT SinkhornTransport", ours, peer)


def _file() -> dict[str, object]:
    import pyarrow as pa
    from pyarrow import parquet

    n, d = 1_000_000, 10
    rng = np.random.default_rng(0)
    names = [f"c{k}" for k in range(d)]
    with TemporaryDirectory() as folder:
        large, kept, out = (
            str(Path(folder) / name) for name in ("l.parquet", "m.npz", "o.parquet")
        )
        table = pa.table(
            {"id": [f"row {k}" for k in range(n)]} | {name: rng.normal(size=n) for name in names}
        )
        parquet.write_table(table, large, row_group_size=1 << 17)
        small = str(Path(folder) / "s.parquet")
        parquet.write_table(table.slice(0, 2000).select(names), small)
        fit = [DIVMATCH, "match", "map", small, small, "--metric", "none", "--fit", kept]
        interleaved({"fit": fit}, runs=1)
        found = interleaved(
            {
                "ours": [DIVMATCH, "match", "map", "--apply", kept, large, "-o", out, "-q"],
                "copy": [sys.executable, "-c", COPY, large, out],
            }
        )
    ours, copy = found["ours"], found["copy"]
    return {
        "work": "map --apply, gaussian, Parquet of 1,000,000 rows, 10 numbers and a text",
        "ours_s": ours["cpu"],
        "ours_mb": ours["mb"],
        "peer": "pyarrow reads and writes it",
        "peer_s": copy["cpu"],
        "peer_mb": copy["mb"],
        "ratio": copy["cpu"] / ours["cpu"],
        "note": "CPU s; what a copy costs, of which the map is a part",
    }


if __name__ == "__main__":
    for row in rows():
        print(row)
