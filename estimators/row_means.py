"""Means of row-wise numbers over files of any length, from one pass in bounded memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SampleError
from divmatch.estimators.rows import RowKind, row_values, term_count
from divmatch.estimators.sinkd import Sinkd, sinkd_terms
from divmatch.kernels.execution import in_order, one_blas_thread
from divmatch.kernels.rows import WRONG_P, Rows, distributions, work_of
from divmatch.matrices import Load, Matrix

Array = NDArray[np.float64]
Sink = Callable[[NDArray[np.int64], Array], None]  # row numbers, values (rows, kinds)

BLOCK_NUMBERS = 1 << 19  # 2 MiB of float32 from each file: a block and its buffers stay small
TOLERANCES = {16: 1e-2, 32: 1e-4, 64: 1e-6}  # what rounding may do to a sum of 1


@dataclass(frozen=True)
class Batches:
    """The kind whose rows come in batches of ``size``: `sinkd`, in the column ``place`` of the values.

    The mean is that of a batch's total, smaller batches counted by their rows; with ``per_row`` it is
    divided by the rows.
    """

    settings: Sinkd
    place: int
    size: int
    per_row: bool = False


@dataclass(frozen=True, eq=False)
class Job:
    """What to compute for each row. ``factors`` multiply the kinds; ``keep`` and ``weights`` are (n,)."""

    kinds: Sequence[RowKind | None]  # None holds the place of the batches
    factors: Array
    rows: Rows = field(default_factory=Rows)
    smooth: float = 0.0
    keep: NDArray[np.bool_] | None = None
    weights: NDArray[Any] | None = None
    batches: Batches | None = None
    marked: bool = False  # make fingerprints


@dataclass(eq=False)
class Mean:
    """A weighted mean that grows block by block, with what its standard error needs."""

    count: int = 0
    weight: float = 0.0
    squares: float = 0.0  # Σ w²
    value: float = 0.0
    first: float = 0.0  # Σ w² (t − value)
    second: float = 0.0  # Σ w² (t − value)²
    infinite: int = 0
    first_infinite: int = -1

    def add(self, terms: Array, weights: Array, numbers: NDArray[np.int64]) -> None:
        """Take in some terms with their row numbers."""
        known = np.isfinite(terms)
        if not known.all():
            if self.infinite == 0:
                self.first_infinite = int(numbers[~known][0])
            self.infinite += int((~known).sum())
            terms, weights = terms[known], weights[known]
        if len(terms) == 0:
            return
        weight = float(weights.sum())
        value = float((weights * terms).sum()) / weight
        gaps, squared = terms - value, weights * weights
        other = Mean(len(terms), weight, float(squared.sum()), value)
        other.first = float((squared * gaps).sum())
        other.second = float((squared * gaps * gaps).sum())
        moved = (self.weight * self.value + weight * value) / (self.weight + weight)
        mine, theirs = self._about(moved), other._about(moved)
        self.first, self.second = mine[0] + theirs[0], mine[1] + theirs[1]
        self.count, self.value = self.count + other.count, moved
        self.weight, self.squares = self.weight + weight, self.squares + other.squares

    def _about(self, centre: float) -> tuple[float, float]:
        """The sums of deviations, about another centre."""
        shift = self.value - centre
        first = self.first + shift * self.squares
        return first, self.second + 2.0 * shift * self.first + shift * shift * self.squares

    def multiply(self, factor: float) -> None:
        """Multiply every term by a number."""
        self.value, self.first = self.value * factor, self.first * factor
        self.second *= factor * factor

    @property
    def mean(self) -> float:
        """The mean; inf where a term is."""
        return math.inf if self.infinite else self.value

    @property
    def se(self) -> float | None:
        """sqrt(Σ aᵢ² (tᵢ − t̄)² / (1 − Σ aᵢ²)) with weights aᵢ that sum to 1; s/√n for equal ones."""
        if self.infinite or self.count < 2:
            return None
        left = 1.0 - self.squares / self.weight**2
        return math.sqrt(max(self.second, 0.0) / left) / self.weight if left > 0 else None


@dataclass(frozen=True, eq=False)
class Means:
    """The means of all kinds, and what was seen on the way."""

    means: list[Mean]
    used: int
    marks: tuple[str, str] | None


def check_partners(p: Matrix, q: Matrix) -> None:
    """Both need the same rows and the same classes."""
    for what, left, right in (("classes", p.classes, q.classes), ("rows", p.rows, q.rows)):
        if left != right:
            raise SampleError(
                f"{p.name} has {left} {what}, {q.name} has {right}; rows are compared one by one, "
                "so both need the same"
            )


def tolerance_for(p: Matrix, q: Matrix) -> float:
    """What a row may sum to beside 1: 1e-6, 1e-4 or 1e-2 as float64, float32 or float16 round."""
    return TOLERANCES.get(min(p.bits, q.bits), TOLERANCES[64])


def block_size(matrix: Matrix) -> int:
    """Rows of a block of a few MiB, by the number of classes alone."""
    return max(1, BLOCK_NUMBERS // matrix.classes)


def block_rows(p: Matrix, job: Job) -> int:
    """Rows of a block: by the number of classes alone, and whole batches."""
    size = block_size(p)
    return size if job.batches is None else -(-size // job.batches.size) * job.batches.size


def row_means(p: Matrix, q: Matrix, job: Job, sink: Sink | None = None) -> Means:
    """The mean of every kind over the rows, and each row's values to ``sink`` in their order.

    Blocks depend on the shape alone and are added up in their order: the digits depend neither on
    the number of threads nor on the memory.
    """
    check_partners(p, q)
    size = block_rows(p, job)
    own = [kind for kind in job.kinds if kind is not None]
    work = work_of(p.rows, p.classes, term_count(own))
    block = _Blocks(p, q, job, own, work)
    means = [Mean() for _ in job.kinds]
    marks = blake2b(digest_size=8), blake2b(digest_size=8)
    used = largest = 0
    with one_blas_thread():
        for numbers, values, weights, seen in in_order(block, _blocks(p, q, size), work=work):
            used += len(numbers)
            for k, mean in enumerate(means):
                if job.batches is not None and k == job.batches.place:
                    largest = max(largest, _add_batches(mean, values[:, k], numbers, job.batches))
                else:
                    mean.add(values[:, k], weights, numbers)
            if sink is not None and len(numbers):
                sink(numbers, values)
            for mark, part in zip(marks, seen, strict=True):
                mark.update(part)
    if job.batches is not None and not job.batches.per_row:
        means[job.batches.place].multiply(largest)
    return Means(means, used, _named(p, marks) if job.marked else None)


def _named(p: Matrix, marks: Any) -> tuple[str, str]:
    shape = repr((p.rows, p.classes)).encode()
    for mark in marks:
        mark.update(shape)
    return f"blake2b:{marks[0].hexdigest()}", f"blake2b:{marks[1].hexdigest()}"


def _blocks(p: Matrix, q: Matrix, size: int) -> Iterator[tuple[int, Load, Load]]:
    for k, (left, right) in enumerate(zip(p.blocks(size), q.blocks(size), strict=True)):
        yield k * size, left, right


def _add_batches(mean: Mean, terms: Array, numbers: NDArray[np.int64], of: Batches) -> int:
    """Take in the means of the batches, each with its rows as weight; the rows of the largest."""
    if len(numbers) == 0:
        return 0
    starts = np.flatnonzero(np.diff(numbers // of.size, prepend=-1))
    sizes = np.diff(np.append(starts, len(numbers)))
    mean.add(np.add.reduceat(terms, starts) / sizes, sizes.astype(np.float64), numbers[starts])
    return int(sizes.max())


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The work on one block, on whichever thread."""

    p: Matrix
    q: Matrix
    job: Job
    own: Sequence[RowKind]
    work: float

    def __call__(
        self, item: tuple[int, Load, Load]
    ) -> tuple[NDArray[np.int64], Array, Array, tuple[bytes, bytes]]:
        start, load_p, load_q = item
        p, q = load_p(), load_q()
        here = slice(start, start + len(p))
        keep = np.ones(len(p), dtype=np.bool_) if self.job.keep is None else self.job.keep[here]
        marks = (_digest(p), _digest(q)) if self.job.marked else (b"", b"")
        if self.job.smooth:
            p, q = p + np.float64(self.job.smooth), q + np.float64(self.job.smooth)
        values = self._values(p, q, keep, start)[keep]
        if self.job.weights is None:
            weights = np.ones(len(values))
        else:
            weights = self.job.weights[here][keep].astype(np.float64)
        return start + np.flatnonzero(keep), values * self.job.factors, weights, marks

    def _values(
        self, p: NDArray[Any], q: NDArray[Any], keep: NDArray[np.bool_], start: int
    ) -> Array:
        values, wrong = row_values(p, q, self.own, self.job.rows, keep=keep, work=self.work)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            name, block = (self.p.name, p) if wrong[row] == WRONG_P else (self.q.name, q)
            raise SampleError(f"{name}: row {start + row} {fault(block[row], self.job.rows)}")
        of = self.job.batches
        return values if of is None else np.insert(values, of.place, self._batches(p, q, keep), 1)

    def _batches(self, p: NDArray[Any], q: NDArray[Any], keep: NDArray[np.bool_]) -> Array:
        of = self.job.batches
        terms = np.zeros(len(p))
        for start in range(0, len(p), of.size if of else 1):
            rows = start + np.flatnonzero(keep[start : start + of.size]) if of else keep
            if of and len(rows):
                left, _ = distributions(p[rows], self.job.rows)
                right, _ = distributions(q[rows], self.job.rows)
                terms[rows] = sinkd_terms(left, right, of.settings)
        return terms


def _digest(block: NDArray[Any]) -> bytes:
    return blake2b(np.ascontiguousarray(block).view(np.uint8).data, digest_size=16).digest()


def fault(row: NDArray[Any], rows: Rows) -> str:
    """Why a row is no distribution, and what to do about it."""
    numbers = row.astype(np.float64)
    undefined = np.flatnonzero(np.isnan(numbers))
    if len(undefined):
        return f"has NaN at class {undefined[0]}; correct the row, or leave it out with --mask"
    if rows.source == "logits":
        most = np.flatnonzero(numbers == np.inf)
        if len(most):
            return f"has the logit inf at class {most[0]}; expected finite logits, or -inf"
        return "rules out every class (all logits are -inf); leave it out with --mask"
    negative = np.flatnonzero(numbers < 0)
    if len(negative):
        value = f"{numbers[negative[0]]:.6g} at class {negative[0]}"
        advice = "; for logits choose --from logits" if rows.source == "probabilities" else ""
        return f"has {value}, expected numbers of at least 0{advice}"
    total = float(numbers.sum())
    if rows.source == "counts":
        return "has no counts; leave it out with --mask" if total == 0 else "has infinite counts"
    return (
        f"sums to {total:.9g}, expected 1 within {rows.tolerance:g}; choose --from counts or "
        "--from logits, or a larger --tolerance"
    )
