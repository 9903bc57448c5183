"""What `divmatch match project` does with the blocks of its file: new rows out, means kept."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.cli.progress import Progress

BLOCK_NUMBERS = 1 << 20  # of a block: it and its buffers stay small


class Totals:
    """Means over the rows, as they come."""

    def __init__(self) -> None:
        from divmatch.estimators.row_means import Mean

        self.divergence, self.classes, self.mass, self.beta = Mean(), Mean(), Mean(), Mean()
        self.tied = self.unconverged = 0
        self.fewest, self.most = np.inf, 0.0
        self.mark: str | None = None

    def add(self, start: int, found: Any) -> None:
        """Take in the rows of a block."""
        numbers = np.arange(start, start + len(found.q))
        ones = np.ones(len(numbers))
        for mean, values in (
            (self.divergence, found.divergence),
            (self.classes, found.counts),
            (self.mass, found.kept),
            (self.beta, found.beta),
        ):
            mean.add(values, ones, numbers)
        self.tied += found.tied
        self.unconverged += int((~found.converged).sum())
        self.fewest = min(self.fewest, float(found.counts.min()))
        self.most = max(self.most, float(found.counts.max()))


def streamed(
    matrix: Any, wanted: Any, options: Mapping[str, Any], write: Any, *, marked: bool
) -> tuple[Totals, dict[str, Any]]:
    """All blocks, on the threads in force, results in their order."""
    from divmatch.estimators.row_means import fault
    from divmatch.kernels.execution import in_order, one_blas_thread
    from divmatch.projection import applied

    size = max(1, BLOCK_NUMBERS // matrix.classes)

    mark = blake2b(repr((matrix.rows, matrix.classes)).encode(), digest_size=8)

    def one(item: tuple[int, Any]) -> tuple[int, Any, bytes]:
        start, load = item
        block = load()
        with np.errstate(all="ignore"):  # what is undefined is refused
            found = applied(block, wanted, matrix.name, start, fault)
        seen = np.ascontiguousarray(block).view(np.uint8).data if marked else b""
        return start, found, blake2b(seen, digest_size=16).digest()

    totals = Totals()
    blocks = ((k * size, load) for k, load in enumerate(matrix.blocks(size)))
    with (
        Progress(options["progress"], -(-matrix.rows // size), "match project") as progress,
        one_blas_thread(),
    ):
        work = 20.0 * matrix.rows * matrix.classes
        for start, found, seen in in_order(one, blocks, work=work):
            totals.add(start, found)
            write(found.q)
            mark.update(seen)
            progress.at(f"row {start + len(found.q) - 1}")
            progress.done()
    if marked:
        totals.mark = f"blake2b:{mark.hexdigest()}"
    return totals, settings_of(options, wanted)


def settings_of(options: Mapping[str, Any], wanted: Any) -> dict[str, Any]:
    """What the record says."""
    made = {"from": options["source"], "generator": wanted.generator.name}
    if options["source"] == "logits":
        made["temperature"] = options["temperature"]
    if options["source"] == "probabilities":
        made["tolerance"] = wanted.rows.tolerance
    if options["dual"]:
        made["dual"] = True
    for name in ("top_k", "penalty", "entropy"):
        if options[name] is not None:
            made[name] = options[name]
    if options["constraint"]:
        made["constraint"] = list(options["constraint"])
    return made


@contextmanager
def writers(paths: list[str], matrix: Any, mkdir: bool) -> Iterator[Any]:
    """Write blocks of rows into each file, as wide as P's numbers."""
    from divmatch.outputs import whole_file

    kind = np.dtype(np.float32 if matrix.bits <= 32 else np.float64)
    with ExitStack() as stack:
        files = [stack.enter_context(whole_file(path, mkdir=mkdir)) for path in paths]
        head = {"descr": kind.str, "fortran_order": False, "shape": (matrix.rows, matrix.classes)}
        for file in files:
            np.lib.format.write_array_header_1_0(file, head)

        def write(rows: NDArray[np.float64]) -> None:
            if files:
                data = np.ascontiguousarray(rows, dtype=kind).data
                for file in files:
                    file.write(data)

        yield write
